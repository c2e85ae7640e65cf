#!/usr/bin/env python3
"""Deliberate defects, each of which the simulation must find.

A mutation is a piece of a source file and what stands in its place; the copy that is mutated is made
when the tests are built. A piece that is not there exactly once any more changes nothing: the build
goes on, and the run fails and says so.

  mutations.py --list               the names and the source files, one of each a line
  mutations.py --make ROOT DIR      writes the mutated copies of the sources in ROOT
  mutations.py --run DIR [NAME...]  runs the mutants in DIR: each must fail, and say why
"""
import concurrent.futures
import os
import re
import subprocess
import sys

# Seeds tried on each mutant, the same as the test of the simulation runs.
SEEDS = 200

# Those that few seeds find: where to begin.
FIRST_SEED = {"stored_read_of_its_own_time": 400, "collected_in_spite_of_an_open_one": 1000}
TIMEOUT_S = 120

# name: (file, what is there, what stands there instead)
MUTATIONS = {
    # the clock
    "clock_given_twice": (
        "src/coordinator/coordinator.c",
        "request->clock = before + 1;",
        "request->clock = before;"),
    "carried_clock_ignored": (
        "src/coordinator/box.c",
        "? clock_witness(&c->now.clock, request->in.post.clock, error)",
        "? clock_tick(&c->now.clock, 1, error)"),
    "other_processes_ignored": (
        "src/coordinator/coordinator.c",
        "c->known_number == 0 || number != c->known_number + 1",
        "c->known_number == 0"),
    "epoch_given_twice": (
        "src/coordinator/coordinator.c",
        "*out = ++epoch.value[0];",
        "*out = epoch.value[0];"),
    # durability
    "reply_before_the_flush": (
        "src/sequencer/batch.c",
        "    rc = coordinator_commit(coordinator, error);",
        "    s->done.first = first;\n    rc = coordinator_commit(coordinator, error);\n"
        "    s->done.first = NULL;"),
    "reply_whatever_the_flush_says": (
        "src/sequencer/batch.c",
        "rc = coordinator_commit(coordinator, error);",
        "(void)coordinator_commit(coordinator, error);"),
    "lost_race_is_a_success": (
        "src/sequencer/batch.c",
        "        if (rc != LS_ERETRY || races++ == RETRIES_MAX) {",
        "        if (rc == LS_ERETRY) {\n            return 0;\n        }\n"
        "        if (races++ == RETRIES_MAX || rc < 0) {"),
    "half_a_batch": (
        "src/sequencer/batch.c",
        "if (coordinator_apply(coordinator, request) < 0 && coordinator_broken(coordinator)) {",
        "if (request != first && request->next == NULL) {\n            break;\n        }\n"
        "        if (coordinator_apply(coordinator, request) < 0 && "
        "coordinator_broken(coordinator)) {"),
    "answers_out_of_order": (
        "src/sequencer/batch.c",
        "            list_push(&done, request);\n",
        "            request->next = done.first;\n            done.first = request;\n"
        "            done.last = done.last == NULL ? request : done.last;\n"
        "            done.count++;\n"),
    # the box
    "chain_not_continued": (
        "src/coordinator/coordinator.c",
        "    c->now.chain = message->check;\n",
        ""),
    "messages_not_counted": (
        "src/coordinator/coordinator.c",
        "    c->now.count++;\n",
        ""),
    "trim_not_a_prefix": (
        "src/coordinator/box.c",
        "if (rc < 0 || !cut_takes(cut, &c->now, &message)) {\n            break;",
        "if (rc >= 0 && !cut_takes(cut, &c->now, &message)) {\n            continue;\n        }\n"
        "        if (rc < 0) {\n            break;"),
    "trim_without_a_trace": (
        "src/coordinator/box.c",
        "        c->now.discarded = message.clock;\n",
        ""),
    "retention_ignores_hold": (
        "src/coordinator/box.c",
        "if (keep->hold) {",
        "if (false) {"),
    "retention_takes_one_more": (
        "src/coordinator/box.c",
        "now->count > cut->keep_count)",
        "now->count >= cut->keep_count)"),
    "numbered_post_done_twice": (
        "src/coordinator/box.c",
        "if (rc == 0 && last.seq == request->in.post.seq) {",
        "if (false) {"),
    "number_not_remembered": (
        "src/coordinator/box.c",
        "rc = producer_write(c, request, message.clock);",
        "rc = 0;"),
    "gap_in_numbers_ignored": (
        "src/coordinator/box.c",
        "if (seq - out->seq > 1) {",
        "if (false) {"),
    # readers
    "lost_messages_not_told": (
        "src/coordinator/read.c",
        "if (from <= discarded.value[DISCARDED_CLOCK] &&",
        "if (from < discarded.value[DISCARDED_CLOCK] &&"),
    "watcher_skips": (
        "src/client/embedded_box.c",
        "place->next = message.clock + 1;",
        "place->next = message.clock + 2;"),
    "watcher_sees_twice": (
        "src/client/embedded_box.c",
        "place->next = message.clock + 1;",
        "place->next = message.clock;"),
    "object_watch_skips": (
        "src/client/embedded_objects.c",
        "watch->place.next = watch->snapshot_clock + 1;",
        "watch->place.next = watch->snapshot_clock + 2;"),
    "object_watch_never_resyncs": (
        "src/client/embedded_objects.c",
        "    if (result == LS_ECOMPACTED) {\n        watch->phase = BEGIN;\n"
        "        watch->resync = true;\n        return 0;\n    }",
        "    if (result == LS_ECOMPACTED) {\n        watch->place.next = error->number;\n"
        "        return 0;\n    }"),
    # nodes
    "expiry_early_by_the_holder": (
        "src/sequencer/presence.c",
        "left(now_ms, entry->beat_ms, node->ttl_ms)",
        "left(now_ms, entry->beat_ms, node->ttl_ms / 2)"),
    "expiry_early_by_another": (
        "src/sequencer/presence.c",
        "left(now_ms, entry->seen_since_ms, node->ttl_ms)",
        "left(now_ms, entry->seen_since_ms, node->ttl_ms - node->ttl_ms / 4)"),
    "beats_of_others_not_seen": (
        "src/sequencer/presence.c",
        "entry->seen_joined != node->joined || entry->seen_beat != node->beat",
        "entry->seen_joined != node->joined"),
    "expiry_in_spite_of_a_beat": (
        "src/coordinator/node.c",
        "        stored.node.joined != request->in.expire.joined ||\n"
        "        stored.node.beat != request->in.expire.beat) {",
        "        stored.node.joined != request->in.expire.joined) {"),
    "expiry_of_the_next_life": (
        "src/coordinator/node.c",
        "        stored.node.joined != request->in.expire.joined ||\n",
        ""),
    "owned_objects_outlive_a_late_node": (
        "src/coordinator/node.c",
        "rc = objects_disown(c, request->in.expire.host, error);",
        "rc = 0;"),
    "owned_objects_outlive_a_leaving_node": (
        "src/coordinator/node.c",
        "rc = objects_disown(c, binding_host(request->as), request->error);",
        "rc = 0;"),
    "old_life_goes_on": (
        "src/coordinator/node.c",
        "stored->there && stored->node.joined == as->joined && stored->node.state != NODE_DOWN",
        "stored->there"),
    "verified_lives_not_forgotten": (
        "src/coordinator/node.c",
        "    memset(c->verified, 0, sizeof(c->verified));\n    rc = objects_disown(",
        "    rc = objects_disown("),
    "host_in_use_is_given": (
        "src/coordinator/node.c",
        "if (request->in.join.held || node->via != request->in.join.via) {",
        "if (false) {"),
    "late_node_stays_among_the_live": (
        "src/coordinator/node.c",
        "rc = live_remove(c, request->in.expire.host, error);",
        "rc = 0;"),
    "node_that_joins_is_not_among_the_live": (
        "src/coordinator/node.c",
        "return rc < 0 || was_live ? rc : live_add(c, node.host, error);",
        "return rc;"),
    # objects
    "condition_ignored": (
        "src/coordinator/object.c",
        "(request->in.put.has_if && request->in.put.modified != stored.modified) ||",
        ""),
    "condition_of_a_transaction_ignored": (
        "src/coordinator/object.c",
        "if (stored.modified != condition->modified) {",
        "if (false) {"),
    "put_if_absent_puts": (
        "src/coordinator/object.c",
        "(request->in.put.nx && stored.there) ||",
        ""),
    "half_a_transaction": (
        "src/coordinator/object.c",
        "rc == 0 && i < request->in.txn.operation_count; i++",
        "rc == 0 && i < (request->in.txn.operation_count + 1) / 2; i++"),
    "change_not_told": (
        "src/coordinator/object.c",
        "        rc = state_tell(c, &stored->key, NULL, stored->modified, as, *clock, error);",
        "        rc = 0;"),
    "index_of_owners_not_kept": (
        "src/coordinator/object.c",
        "rc = index_move(c, stored, name, bytes_of(NULL, 0), 0, error);",
        "rc = 0;"),
    # transactions
    "read_ignores_open_writes": (
        "src/txn/index.c",
        "if (content != LS_SHARD_OPEN) {",
        "if (true) {"),
    "read_ignores_an_open_may_write": (
        "src/txn/index.c",
        "((held->kinds & TXN_MAY) != 0 ? LS_SHARD_MAY : 0u)",
        "0u"),
    "read_of_its_own_time": (
        "src/txn/recent.c",
        "version_at(r, g, key, below - 1)",
        "version_at(r, g, key, below)"),
    "stored_read_of_its_own_time": (
        "src/txn/version.c",
        "put_be64(to.data + to.size - 8, timestamp);",
        "put_be64(to.data + to.size - 8, timestamp + 1);"),
    "late_version_hides_a_newer_one": (
        "src/txn/recent.c",
        "out->last = best != NULL && best->timestamp > generations[i]->base;",
        "out->last = best != NULL;"),
    "log_of_others_not_read": (
        "src/txn/vlog.c",
        "if (recent_next(recent) == known->logged) {",
        "if (!whole) {"),
    "oldest_version_not_moved": (
        "src/txn/merge.c",
        "if (version->timestamp < from ||",
        "if (version->timestamp <= from ||"),
    "step_that_was_undone_is_not_repeated": (
        "src/txn/merge.c",
        "        recent_take_again(txn->recent);\n",
        ""),
    "moved_over_what_can_still_be_read": (
        "src/txn/merge.c",
        "put_be64(to.data + to.size - 8, txn->now.collected + 1);",
        "put_be64(to.data + to.size - 8, UINT64_MAX);"),
    "log_deleted_before_it_is_merged": (
        "src/txn/vlog.c",
        "logged_key(&to, now->merged);",
        "logged_key(&to, now->merged + 1);"),
    "transactions_of_others_not_seen": (
        "src/txn/txn.c",
        "if (rc == 0 && (txn->dirty || txn->fresh || generation != txn->known.generation)) {",
        "if (rc == 0 && (txn->dirty || txn->fresh)) {"),
    "undone_batch_stays_in_the_index": (
        "src/txn/txn.c",
        "    if (txn->touched) {\n        txn->dirty = true;",
        "    if (txn->touched) {"),
    "half_of_the_writes": (
        "src/txn/interactive.c",
        "vlog_write(txn, c, timestamp, call->write_count, error)",
        "vlog_write(txn, c, timestamp, (call->write_count + 1) / 2, error)"),
    "expired_early": (
        "src/txn/txn.c",
        "        uint64_t end_ms = open->seen_ms + open->ttl_ms;\n        if (end_ms > now_ms) {",
        "        uint64_t end_ms = open->seen_ms + open->ttl_ms / 2;\n        if (end_ms > now_ms) {"),
    "check_of_a_value_ignored": (
        "src/txn/run.c",
        "if (slot->absent || !bytes_equal(slot_value(slot, call), op->value)) {",
        "if (false) {"),
    "collected_too_early": (
        "src/txn/version.c",
        "replaced = last->any && same_key(&last->key, key) && timestamp_of(&next.key) <= collected;",
        "replaced = last->any && same_key(&last->key, key);"),
    "deletion_collected_too_early": (
        "src/txn/version.c",
        "last->any && last->deletes && timestamp_of(&last->key) <= collected) {",
        "last->any && last->deletes) {"),
    "deletion_collected_above_an_older_one": (
        "src/txn/version.c",
        "recent_has_below(txn->recent, parts.name, parts.clock);",
        "false;"),
    "collected_in_spite_of_an_open_one": (
        "src/txn/txn.c",
        "if (oldest != NULL && limit >= oldest->timestamp) {",
        "if (false) {"),
    "too_old_is_not_told": (
        "src/txn/look.c",
        "if (call->timestamp < txn->now.collected) {",
        "if (false) {"),
    # the shard engine, in a simulation of its own
    "one_worker_speaks_for_all": (
        "src/shard/watermark.c",
        "i < shard->worker_count; i++) {\n        writes =",
        "i < 1; i++) {\n        writes ="),
    "mark_goes_back": (
        "src/shard/watermark.c",
        "shard->heard_all_reads = reads;",
        "shard->heard_all_reads = shard->heard_all_reads == 0 ? reads : reads / 2;"),
    "read_is_forgotten": (
        "src/shard/read.c",
        "    } else if (mark->read == READ_ASKED) {\n        ls_bytes value;",
        "    } else if (false) {\n        ls_bytes value;"),
    "read_does_not_wait": (
        "src/shard/read.c",
        "    if (version != NULL && version_is_open(version)) {\n        link_add(",
        "    if (version != NULL && version_is_open(version) && mark->read != READ_ASKED) {\n"
        "        link_add("),
    "lock_too_late_is_placed": (
        "src/shard/transaction.c",
        "if ((all & WRITES) != 0 && timestamp < shard->heard_all_writes) {",
        "if (false) {"),
}


ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")


def read(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


def make(root, name, out):
    """Leaves alone what is there already, so that only what changed is compiled again."""
    path, old, new = MUTATIONS[name]
    source = os.path.join(root, path)
    text = read(source)
    if text.count(old) == 1:
        text = text.replace(old, new)
    text = f'#line 1 "{source}"\n{text}'
    if not os.path.exists(out) or read(out) != text:
        with open(out, "w", encoding="utf-8") as file:
            file.write(text)


def run(directory, name):
    """None where the mutant was found, else what is wrong."""
    source, old, _ = MUTATIONS[name]
    times = read(os.path.join(ROOT, source)).count(old)
    if times != 1:
        return f"{name}: what it changes is in {source} {times} times, not once"
    command = [os.path.join(directory, "mutant_" + name), "--runs", str(SEEDS), "--seed",
               str(FIRST_SEED.get(name, 1))]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired:
        return f"{name}: still running after {TIMEOUT_S} s"
    if done.returncode == 0:
        return f"{name}: survived {SEEDS} seeds"
    said = [line for line in done.stderr.splitlines() if re.search(r"^seed \d+|Assertion", line)]
    if not said:
        return f"{name}: ended with {done.returncode} and did not say why:\n{done.stderr[-2000:]}"
    print(f"{name}: {said[-1]}", flush=True)
    return None


def main(arguments):
    if arguments == ["--list"]:
        print("\n".join(f"{name} {path}" for name, (path, _, _) in MUTATIONS.items()))
    elif len(arguments) == 3 and arguments[0] == "--make":
        for name in MUTATIONS:
            make(arguments[1], name, os.path.join(arguments[2], f"mutated_{name}.c"))
    elif len(arguments) >= 2 and arguments[0] == "--run":
        names = arguments[2:] or list(MUTATIONS)
        with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
            wrong = [text for text in pool.map(lambda name: run(arguments[1], name), names) if text]
        print(f"{len(names) - len(wrong)} of {len(names)} mutants found")
        if wrong:
            sys.exit("\n".join(wrong))
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])
