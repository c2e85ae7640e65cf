/* SPDX-License-Identifier: Apache-2.0 */
/* INFO: what an operator wants to know, as lines of name:value in sections. */
#include <unistd.h>

#include "server/handlers.h"

typedef int info_section(struct server *server, struct buf *out);

static unsigned long long number(uint64_t value)
{
    return (unsigned long long)value;
}

static int info_server(struct server *server, struct buf *out)
{
    uint64_t up_s = (server_now_ms(server) - server->stats.started_ms) / 1000;
    return buf_printf(out,
                      "lockstep_version:%s\r\nprocess_id:%d\r\nuv_version:%s\r\n"
                      "uptime_in_seconds:%llu\r\nlisten:%s\r\n",
                      LS_VERSION, (int)getpid(), uv_version_string(), number(up_s),
                      server->config.listen);
}

static int info_clients(struct server *server, struct buf *out)
{
    size_t waiting = 0;
    size_t output = 0;
    size_t closing = 0;
    LIST_EACH(at, after, &server->conns)
    {
        const struct conn *conn = LINK_OWNER(at, struct conn, all);
        waiting += conn->read_wait != NULL;
        output += conn_waiting(conn);
        closing += conn->closing;
    }
    return buf_printf(out,
                      "connected_clients:%zu\r\nmaxclients:%llu\r\nblocked_clients:%zu\r\n"
                      "closing_clients:%zu\r\nwatchers:%zu\r\nobject_watchers:%zu\r\n"
                      "snapshots:%zu\r\noutput_waiting_bytes:%zu\r\n",
                      server->conn_count, number(server->conn_max), waiting, closing,
                      server->box_watch_count, server->object_watch_count, server->snapshot_count,
                      output);
}

static int info_memory(struct server *server, struct buf *out)
{
    size_t resident = 0;
    uv_resident_set_memory(&resident);
    return buf_printf(out,
                      "resident_bytes:%zu\r\nframes_bytes:%zu\r\nqueue_bytes:%zu\r\n"
                      "queue_peak_bytes:%zu\r\nqueue_max_bytes:%llu\r\nparked_bytes:%zu\r\n"
                      "held_bytes:%zu\r\n",
                      resident, frames_memory(server->frames), server->queue.bytes,
                      server->queue.bytes_peak, number(server->config.queue_max),
                      txns_parked_bytes(server), server->held);
}

static int info_store(struct server *server, struct buf *out)
{
    struct store_stat stat;
    struct ls_error error;
    int rc = server->store->driver->stat(server->store, &stat, &error);
    if (rc != 0) {
        return buf_printf(out, "store:%s\r\nstore_error:%s\r\n", server->config.store, error.text);
    }
    return buf_printf(out,
                      "store:%s\r\nsync:%s\r\nbytes_used:%llu\r\nbytes_file:%llu\r\n"
                      "bytes_free:%llu\r\nbytes_limit:%llu\r\nquota:%llu\r\ncommits:%llu\r\n"
                      "flushes:%llu\r\nreaders:%llu\r\n",
                      server->config.store, server->config.sync ? "yes" : "no",
                      number(stat.bytes_used), number(stat.bytes_file), number(stat.bytes_free),
                      number(stat.bytes_limit), number(server->config.quota), number(stat.commits),
                      number(stat.flushes), number(stat.readers));
}

static int info_sequencer(struct server *server, struct buf *out)
{
    struct sequencer_counters counters;
    sequencer_counters(server->sequencer, &counters);
    return buf_printf(out,
                      "batches:%llu\r\nrequests:%llu\r\nrefused:%llu\r\nretries:%llu\r\n"
                      "batch_max:%llu\r\ncommit_us:%llu\r\nqueued:%llu\r\n",
                      number(counters.batches), number(counters.requests), number(counters.refused),
                      number(counters.retries), number(counters.batch_max),
                      number(counters.commit_us), number(counters.queued));
}

static int info_box(struct server *server, struct buf *out)
{
    struct ls_error error;
    const struct box_state *box = reads_box(&server->reads, &error);
    if (box == NULL) {
        return buf_printf(out, "box_error:%s\r\n", error.text);
    }
    return buf_printf(out,
                      "clock:%llu\r\noldest:%llu\r\nnewest:%llu\r\ncount:%llu\r\nbytes:%llu\r\n"
                      "discarded_to:%llu\r\n",
                      number(box->clock), number(box->oldest), number(box->newest),
                      number(box->count), number(box->bytes), number(box->discarded));
}

static int info_nodes(struct server *server, struct buf *out)
{
    struct ls_error error;
    struct reading *reading = reads_get(&server->reads, &error);
    size_t states[3] = {0};
    uint64_t all = 0;
    struct node_cursor cursor;
    if (reading == NULL ||
        reading->store->driver->count(reading->txn, KEY_NODE, &all, &error) != 0 ||
        nodes_open(&cursor, reading, NODES_LIVE, &error) != 0) {
        return buf_printf(out, "nodes_error:%s\r\n", error.text);
    }
    struct node node;
    while (nodes_next(&cursor, &node, &error) > 0) {
        states[node.state]++;
    }
    nodes_end(&cursor);
    return buf_printf(
        out,
        "up:%zu\r\nleaving:%zu\r\ndown:%llu\r\nbound_here:%zu\r\nepoch:%llu\r\n"
        "expired_here:%llu\r\n",
        states[NODE_UP], states[NODE_LEAVING], number(all - states[NODE_UP] - states[NODE_LEAVING]),
        server->nodes.star.count, number(server->nodes.epoch), number(server->stats.expired));
}

static int info_transactions(struct server *server, struct buf *out)
{
    struct txn_counters counters;
    txn_counters(server->txns.txn, &counters);
    return buf_printf(
        out,
        "open:%llu\r\nopen_here:%zu\r\nwaiting:%llu\r\noldest:%llu\r\ncollected_to:%llu\r\n"
        "begun:%llu\r\ncommitted:%llu\r\nrun:%llu\r\naborted:%llu\r\nreleased:%llu\r\n"
        "expired:%llu\r\nconflicts:%llu\r\nwaited:%llu\r\nversions_written:%llu\r\n"
        "versions_dropped:%llu\r\nversions_merged:%llu\r\nrecent_versions:%llu\r\n"
        "recent_bytes:%llu\r\nrebuilt:%llu\r\nsynced:%llu\r\n",
        number(counters.open), server->txns.open.count, number(counters.parked),
        number(counters.oldest), number(counters.collected), number(counters.begun),
        number(counters.committed), number(counters.run), number(counters.aborted),
        number(counters.released), number(counters.expired), number(counters.conflicts),
        number(counters.waited), number(counters.written), number(counters.dropped),
        number(counters.merged), number(counters.recent), number(counters.recent_bytes),
        number(counters.rebuilt), number(counters.synced));
}

static int info_shards(struct server *server, struct buf *out)
{
    ls_shard_info sum;
    size_t kept;
    shards_sum(&server->shards, &sum, &kept);
    return buf_printf(out,
                      "shards:%zu\r\nkeys:%llu\r\nversions:%llu\r\nopen:%llu\r\nwaiting:%llu\r\n"
                      "anchors:%llu\r\nmemory_bytes:%llu\r\nkept_bytes:%zu\r\nreleased:%llu\r\n",
                      server->shards.count, number(sum.keys), number(sum.versions),
                      number(sum.open), number(sum.waiting), number(sum.anchors),
                      number(sum.memory), kept, number(server->shards.released));
}

static int info_stats(struct server *server, struct buf *out)
{
    const struct server_stats *stats = &server->stats;
    return buf_printf(out,
                      "total_connections_received:%llu\r\nrejected_connections:%llu\r\n"
                      "total_commands_processed:%llu\r\ntotal_error_replies:%llu\r\n"
                      "total_net_input_bytes:%llu\r\ntotal_net_output_bytes:%llu\r\n"
                      "output_limit_disconnections:%llu\r\nmessages_delivered:%llu\r\n"
                      "messages_relayed:%llu\r\nmessages_discarded:%llu\r\n",
                      number(stats->connections), number(stats->connections_refused),
                      number(stats->commands), number(stats->errors), number(stats->bytes_in),
                      number(stats->bytes_out), number(stats->output_closed),
                      number(stats->delivered), number(stats->relayed), number(stats->discarded));
}

static const struct {
    const char *name;
    const char *title;
    info_section *write;
} sections[] = {
    {"server", "Server", info_server},
    {"clients", "Clients", info_clients},
    {"memory", "Memory", info_memory},
    {"store", "Store", info_store},
    {"sequencer", "Sequencer", info_sequencer},
    {"box", "Box", info_box},
    {"nodes", "Nodes", info_nodes},
    {"transactions", "Transactions", info_transactions},
    {"shards", "Shards", info_shards},
    {"stats", "Stats", info_stats},
};

static bool is_asked(const char *name, size_t argc, const ls_bytes *argv)
{
    for (size_t i = 0; i < argc; i++) {
        if (arg_is(argv[i], name) || arg_is(argv[i], "all") || arg_is(argv[i], "everything") ||
            arg_is(argv[i], "default")) {
            return true;
        }
    }
    return argc == 0;
}

int info_write(struct server *server, size_t argc, const ls_bytes *asked, struct buf *out)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < sizeof sections / sizeof sections[0]; i++) {
        if (is_asked(sections[i].name, argc, asked)) {
            rc = buf_printf(out, "%s# %s\r\n", out->size > 0 ? "\r\n" : "", sections[i].title);
            rc = rc != 0 ? rc : sections[i].write(server, out);
        }
    }
    return rc;
}
