#!/usr/bin/python3
"""Shards over RESP: each message of the engine, who gets what, every refusal leaving it as it was,
and what becomes of an executor whose connection ends."""

import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from lib import report  # noqa: E402
from lib.process import Server, scratch, wait_until  # noqa: E402
from lib.report import equal, refused  # noqa: E402
from lib.resp import Closed, pairs  # noqa: E402


def new_server(given, *flags):
    return Server(given.build, scratch("shard") / "data", *flags)


def create(client, name="s", workers=("w",)):
    equal(client.must("SHARD.CREATE", name, "LEARNER", "l", "WORKERS", len(workers), *workers),
          b"OK", "create")


def acquire(client, timestamp, *keys, name="s", worker="w", executor="e"):
    equal(client.must("SHARD.ACQUIRE", name, timestamp, "WORKER", worker, "EXECUTOR", executor,
                      *keys), b"LOCKED", f"the locks of {timestamp}")


def seen(client, timestamp, worker="w", name="s"):
    for what in ("WRITES", "READS"):
        equal(client.must("SHARD.SEEN", name, "WORKER", worker, timestamp, what), b"OK", what)


def info(client, name="s"):
    return pairs(client.must("SHARD.INFO", name))


def read(timestamp, key, value, name=b"s"):
    return [b"shard-read", name, timestamp, key, value]


def a_transaction_goes_through_the_messages_of_the_engine(given):
    with new_server(given) as server, server.client() as worker, server.client(hello=3) as executor:
        create(worker)
        equal(executor.must("SHARD.LISTEN", "s", "e"), b"OK", "listen")
        acquire(worker, 10, "WILL", 1, "a")
        acquire(worker, 20, "EAGER", 1, "a", "LAZY", 1, "b", "WILL", 1, "a", "MAY", 1, "c")
        seen(worker, 30)
        equal(executor.must("SHARD.WRITE", "s", 10, "a", "VALUE", "one"), b"OK", "the write before")
        equal(executor.push(), read(20, b"a", b"one"), "an eager read")
        equal(executor.must("SHARD.READ", "s", 20, "b"), b"OK", "asking")
        equal(executor.push(), read(20, b"b", None), "a lazy read of nothing")
        equal(executor.must("SHARD.WRITE", "s", 20, "a", "VALUE", "two"), b"OK", "its write")
        equal(info(worker)["open"], 1, "open: the may-write")
        equal(executor.must("SHARD.WRITE", "s", 20, "c", "NONE"), b"OK", "no write")
        now = info(worker)
        equal((now["open"], now["heard-all-writes"], now["heard-all-reads"]), (0, 30, 30), "after")
        equal(list(now)[:6], ["heard-all-writes", "heard-all-reads", "keys", "open", "versions",
                              "anchors"], "what it tells")
        equal(worker.must("SHARD.DROP", "s"), b"OK", "drop")
        refused(worker.call("SHARD.INFO", "s"), "ERR", "no shard 's'")


def what_is_said_twice_does_no_harm(given):
    with new_server(given) as server, server.client() as client:
        create(client)
        keys = ("EAGER", 1, "a", "WILL", 1, "b")
        acquire(client, 10, *keys)
        before = info(client)
        acquire(client, 10, *keys)
        equal(info(client), before, "the same locks again")
        seen(client, 20)
        before = info(client)
        seen(client, 5)
        equal(info(client), before, "a watermark that would go back")
        anchor = ("SHARD.ANCHOR", "s", "chain", "l", 7, "anchor", 40)
        equal(client.must(*anchor), b"OK", "an anchor")
        equal(client.must(*anchor), b"OK", "the same anchor")
        equal(info(client)["anchors"], 1, "anchors")
        equal(info(client)["heard-all-writes"], 40, "the anchor's mark")


def every_refusal_changes_nothing(given):
    with new_server(given, "--object-max", "100") as server, server.client() as client:
        create(client, workers=("w", "v"))
        seen(client, 100, "w")
        seen(client, 100, "v")
        acquire(client, 200, "LAZY", 1, "r", "WILL", 1, "a", "MAY", 1, "b")
        client.must("SHARD.ANCHOR", "s", "chain", "l", 5, "x", 110)

        def state():
            return {name: value for name, value in info(client).items() if name != "memory"}
        before = state()
        lock = ("SHARD.ACQUIRE", "s")
        who = ("WORKER", "w", "EXECUTOR", "e")
        for word, part, *command in (
                ("TOOOLD", "", *lock, 90, *who, "WILL", 1, "a"),
                ("TOOOLD", "", *lock, 90, *who, "EAGER", 1, "a"),
                ("CONFLICT", "", *lock, 200, *who, "WILL", 1, "a"),
                ("CONFLICT", "", *lock, 200, "WORKER", "v", "EXECUTOR", "e", "LAZY", 1, "r", "WILL",
                 1, "a", "MAY", 1, "b"),
                ("ERR", "", *lock, 300, "WORKER", "x", "EXECUTOR", "e", "WILL", 1, "a"),
                ("ERR", "", *lock, 300, *who),
                ("ERR", "", *lock, 300, *who, "WILL", 2, "a", "a"),
                ("ERR", "follow", *lock, 300, *who, "WILL", 2, "a"),
                ("ERR", "twice", *lock, 300, *who, "WILL", 1, "a", "WILL", 1, "b"),
                ("ERR", "followed", *lock, 300, *who, "WILL"),
                ("ERR", "EAGER, LAZY", *lock, 300, *who, "SOME", 1, "a"),
                ("ERR", "timestamp", *lock, "x", *who, "WILL", 1, "a"),
                ("ERR", "WORKER", *lock, 300, *who[2:], *who[:2], "WILL", 1, "a"),
                ("TOOBIG", "65536", *lock, 300, *who, "WILL", 65537, "a"),
                ("NOLOCK", "", "SHARD.READ", "s", 200, "a"),
                ("NOLOCK", "", "SHARD.READ", "s", 300, "a"),
                ("ERR", "ACTUAL", "SHARD.READ", "s", 200, "r", "ACTUAL", 2),
                ("ERR", "ACTUAL", "SHARD.READ", "s", 200, "r", "ACTUAL"),
                ("NOLOCK", "", "SHARD.WRITE", "s", 200, "r", "VALUE", "x"),
                ("NOLOCK", "", "SHARD.WRITE", "s", 300, "a", "VALUE", "x"),
                ("ERR", "", "SHARD.WRITE", "s", 200, "a", "NONE"),
                ("ERR", "VALUE", "SHARD.WRITE", "s", 200, "a", "VALUE"),
                ("ERR", "VALUE", "SHARD.WRITE", "s", 200, "a", "NONE", "x"),
                ("TOOBIG", "100", "SHARD.WRITE", "s", 200, "a", "VALUE", "x" * 101),
                ("ERR", "", "SHARD.SEEN", "s", "WORKER", "x", 1, "READS"),
                ("ERR", "READS or WRITES", "SHARD.SEEN", "s", "WORKER", "w", 1, "BOTH"),
                ("ERR", "WORKER", "SHARD.SEEN", "s", "LEARNER", "w", 1, "READS"),
                ("CONFLICT", "", "SHARD.ANCHOR", "s", "chain", "l", 7, "y", 120),
                ("CONFLICT", "", "SHARD.ANCHOR", "s", "chain", "l", 5, "y", 110),
                ("ERR", "", "SHARD.ANCHOR", "s", "chain", "m", 6, "y", 120),
                ("ERR", "height", "SHARD.ANCHOR", "s", "chain", "l", "x", "y", 120),
                ("NOLOCK", "", "SHARD.RELEASE", "s", 300),
                ("INUSE", "", "SHARD.CREATE", "s", "LEARNER", "l", "WORKERS", 1, "w"),
                ("ERR", "follow", "SHARD.CREATE", "t", "LEARNER", "l", "WORKERS", 2, "w"),
                ("ERR", "", "SHARD.CREATE", "t", "LEARNER", "l", "WORKERS", 2, "w", "w"),
                ("ERR", "LEARNER", "SHARD.CREATE", "t", "WORKERS", 1, "w", "LEARNER", "l"),
                ("ERR", "255", "SHARD.CREATE", "", "LEARNER", "l", "WORKERS", 1, "w"),
                ("ERR", "255", "SHARD.LISTEN", "s", ""),
                ("ERR", "no shard", "SHARD.LISTEN", "t", "e"),
                ("ERR", "no shard", "SHARD.SEEN", "t", "WORKER", "w", 1, "READS"),
                ("ERR", "no shard", "SHARD.DROP", "t")):
            refused(client.call(*command), word, part)
            equal(state(), before, f"the shard after {' '.join(map(str, command))[:100]}")
        client.must("SHARD.WRITE", "s", 200, "a", "VALUE", "x")
        refused(client.call("SHARD.WRITE", "s", 200, "a", "VALUE", "y"), "NOLOCK")
        client.must("SHARD.READ", "s", 200, "r", "ACTUAL", 0)
        refused(client.call("SHARD.READ", "s", 200, "r"), "NOLOCK")


def there_are_as_many_shards_and_bytes_as_allowed(given):
    with new_server(given, "--shards-max", "2", "--shard-memory", "1mb") as server, \
            server.client() as client:
        create(client, "a")
        create(client, "b")
        refused(client.call("SHARD.CREATE", "c", "LEARNER", "l", "WORKERS", 1, "w"), "NOSPACE",
                "shards-max")
        client.must("SHARD.DROP", "a")
        create(client, "c")
        timestamp = 0
        while True:
            timestamp += 1
            reply = client.call("SHARD.ACQUIRE", "b", timestamp, "WORKER", "w", "EXECUTOR", "e",
                                "WILL", 1, f"key{timestamp}")
            if reply != b"LOCKED":
                break
            if timestamp < 300:
                client.must("SHARD.WRITE", "b", timestamp, f"key{timestamp}", "VALUE", "x" * 999)
        refused(reply, "NOSPACE")
        assert info(client, "b")["memory"] <= 1 << 20, "it holds more than allowed"
        equal(client.must("SHARD.RELEASE", "b", timestamp - 1), b"OK", "what frees goes on")


def what_is_read_while_nobody_listens_is_kept(given):
    with new_server(given) as server, server.client() as client:
        create(client)
        acquire(client, 10, "WILL", 2, "a", "b")
        acquire(client, 20, "EAGER", 3, "a", "b", "c")
        client.must("SHARD.WRITE", "s", 10, "a", "VALUE", "1")
        client.must("SHARD.WRITE", "s", 10, "b", "VALUE", "")
        seen(client, 30)
        assert info(client)["kept"] > 0, "nothing is kept"
        for hello in (None, 3):
            with server.client(hello=hello) as executor:
                if hello is None:
                    equal(executor.must("SHARD.LISTEN", "s", "e"), b"OK", "listen")
                    got = [executor.read() for _ in range(3)]
                    equal({frame[3]: frame[4] for frame in got}, {b"a": b"1", b"b": b"", b"c": None},
                          "the values")
                else:
                    equal(executor.must("SHARD.LISTEN", "s", "e"), b"OK", "listen again")
                    equal(executor.must("PING"), b"PONG", "nothing twice")
        equal(info(client)["kept"], 0, "kept after")


def one_that_is_never_fetched_is_bounded(given):
    with new_server(given, "--shard-memory", "1mb") as server, server.client() as client:
        create(client)
        acquire(client, 1, "WILL", 1, "a")
        for timestamp in range(2, 60):
            acquire(client, timestamp, "EAGER", 1, "a", "WILL", 1, f"b{timestamp}")
        acquire(client, 100, "EAGER", 1, "b2", executor="other")
        client.must("SHARD.WRITE", "s", 1, "a", "VALUE", "x" * 40000)
        seen(client, 200)
        now = info(client)
        assert now["kept"] <= 1 << 20, now
        equal(now["open"], 0, "the executor was given up: nothing of it is open")
        with server.client(hello=3) as other:
            other.must("SHARD.LISTEN", "s", "other")
            equal(other.push(), read(100, b"b2", None), "who waited for it goes on")
        assert "is given up" in server.log(), "the log says nothing"


def an_executor_that_ends_is_released(given):
    """Before, between and after its writes."""
    for writes in range(3):
        with new_server(given) as server, server.client() as client:
            create(client)
            executor = server.client(hello=3)
            executor.must("SHARD.LISTEN", "s", "e")
            acquire(client, 10, "WILL", 2, "a", "b", "EAGER", 1, "c")
            acquire(client, 20, "EAGER", 2, "a", "b", executor="later")
            seen(client, 30)
            for key in ("a", "b")[:writes]:
                executor.must("SHARD.WRITE", "s", 10, key, "VALUE", "new")
            later = server.client(hello=3)
            later.must("SHARD.LISTEN", "s", "later")
            executor.close()
            got = dict(later.push()[3:5] for _ in range(2))
            equal(got, {b"a": b"new" if writes > 0 else None, b"b": b"new" if writes > 1 else None},
                  f"after {writes} writes")
            equal(info(client)["open"], 0, "open")
            later.close()


def only_one_listens_as_an_executor(given):
    with new_server(given) as server, server.client(hello=3) as one, server.client(hello=3) as two:
        create(one)
        create(one, "t")
        one.must("SHARD.LISTEN", "s", "e")
        one.must("SHARD.LISTEN", "s", "e")
        one.must("SHARD.LISTEN", "s", "f")
        one.must("SHARD.LISTEN", "t", "e")
        refused(two.call("SHARD.LISTEN", "s", "e"), "INUSE")
        acquire(two, 10, "WILL", 1, "a")
        equal(one.must("RESET"), b"RESET", "reset")
        equal(info(two)["open"], 0, "released by RESET")
        two.must("SHARD.LISTEN", "s", "e")


def in_resp2_it_takes_only_what_a_watcher_takes(given):
    with new_server(given) as server, server.client() as client:
        create(client)
        client.must("SHARD.LISTEN", "s", "e")
        refused(client.call("SHARD.INFO", "s"), "ERR", "only")
        equal(client.must("PING"), [b"pong", b""], "ping")
        client.must("RESET")
        equal(client.must("PING"), b"PONG", "after")


def a_slow_executor_is_closed_and_released(given):
    with new_server(given, "--output-max", "1mb") as server, server.client() as client:
        create(client)
        executor = server.client(hello=3)
        executor.must("SHARD.LISTEN", "s", "e")
        acquire(client, 1, "WILL", 1, "a")
        client.must("SHARD.WRITE", "s", 1, "a", "VALUE", "x" * 100000)
        for timestamp in range(2, 200):
            acquire(client, timestamp, "EAGER", 1, "a", "MAY", 1, "b")
        seen(client, 300)
        wait_until(lambda: info(client)["open"] == 0, "its transactions to be released")
        try:
            while True:
                executor.read()
        except Closed:
            pass


def a_silent_worker_holds_reads_and_an_anchor_lets_them_go(given):
    with new_server(given) as server, server.client() as client, server.client(hello=3) as executor:
        create(client, workers=("w", "silent"))
        executor.must("SHARD.LISTEN", "s", "e")
        acquire(client, 10, "EAGER", 1, "a")
        seen(client, 50)
        equal(info(client)["heard-all-writes"], 0, "held by the silent one")
        equal(executor.must("PING"), b"PONG", "no read yet")
        equal(executor.pushes, [], "no read yet")
        client.must("SHARD.ANCHOR", "s", "chain", "l", 1, "block", 20)
        equal(executor.push(), read(10, b"a", None), "the anchor spoke for it")


def a_dropped_shard_leaves_its_executors_alone(given):
    with new_server(given) as server, server.client() as client, server.client(hello=3) as executor:
        create(client)
        executor.must("SHARD.LISTEN", "s", "e")
        acquire(client, 10, "WILL", 1, "a")
        client.must("SHARD.DROP", "s")
        equal(executor.must("PING"), b"PONG", "it lives")
        create(client)
        equal(info(client)["open"], 0, "a new one is empty")


def info_tells_of_all_shards(given):
    with new_server(given) as server, server.client() as client:
        create(client, "a")
        create(client, "b")
        acquire(client, 10, "WILL", 1, "x", name="a")
        acquire(client, 10, "WILL", 2, "x", "y", name="b")
        text = client.must("INFO", "shards").decode()
        for line in ("shards:2", "keys:3", "open:2", "released:0"):
            assert f"{line}\r\n" in text, f"{line} is missing in {text}"


def ten_thousand_executors_come_and_go(given):
    with new_server(given) as server, server.client() as client:
        create(client)
        before = server.memory()
        for batch in range(100):
            base = batch * 100 + 1
            clients = [server.client(hello=3) for _ in range(100)]
            for number, executor in enumerate(clients):
                executor.send("SHARD.LISTEN", "s", f"e{base + number}")
            for executor in clients:
                executor.reply()
            client.pipeline([("SHARD.ACQUIRE", "s", base + number, "WORKER", "w", "EXECUTOR",
                              f"e{base + number}", "WILL", 1, f"k{number}") for number in range(100)])
            for executor in clients:
                executor.close()
            seen(client, base + 99)
        wait_until(lambda: info(client)["open"] == 0, "all to be released")
        text = client.must("INFO", "shards").decode()
        assert "released:10000\r\n" in text, text
        grown = server.memory() - before
        if "SANITIZED" not in os.environ:  # a sanitizer keeps what was freed
            assert grown < 8 << 20, f"grown by {grown} bytes"


TESTS = (a_transaction_goes_through_the_messages_of_the_engine, what_is_said_twice_does_no_harm,
         every_refusal_changes_nothing, there_are_as_many_shards_and_bytes_as_allowed,
         what_is_read_while_nobody_listens_is_kept, one_that_is_never_fetched_is_bounded,
         an_executor_that_ends_is_released, only_one_listens_as_an_executor,
         in_resp2_it_takes_only_what_a_watcher_takes, a_slow_executor_is_closed_and_released,
         a_silent_worker_holds_reads_and_an_anchor_lets_them_go,
         a_dropped_shard_leaves_its_executors_alone, info_tells_of_all_shards,
         ten_thousand_executors_come_and_go)

if __name__ == "__main__":
    report.run(TESTS, report.arguments(__doc__))
