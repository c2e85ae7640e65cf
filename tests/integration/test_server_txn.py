#!/usr/bin/python3
"""Transactions over RESP: every command, what waits for what, every refusal leaving things as they
were, and what becomes of a transaction whose client is gone or slow."""

import os
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import redis  # noqa: E402

from lib import report  # noqa: E402
from lib.process import Server, scratch, wait_until  # noqa: E402
from lib.report import equal, refused  # noqa: E402
from lib.resp import pairs  # noqa: E402


def new_server(given, *flags):
    return Server(given.build, scratch("txn") / "data", *flags)


def put(client, **values):
    parts = [part for key, value in values.items() for part in ("PUT", key, value)]
    client.must("TXN.RUN", len(values), *parts)


def get(client, *keys):
    values = client.must("TXN.GET", *keys)
    return values[0] if len(keys) == 1 else values


def begin(client, *words):
    reply = client.must("TXN.BEGIN", *words)
    assert len(reply) == 2, reply
    return reply


def counters(client):
    text = client.must("INFO", "transactions").decode()
    return {name: int(value) for name, value in
            (line.split(":") for line in text.split("\r\n") if ":" in line) if value.isdigit()}


def waits(server, command):
    """A client that sent a command which is not answered; and the server has taken it."""
    client = server.client()
    with server.client() as other:
        before = counters(other)["waiting"]
        client.send(*command)
        wait_until(lambda: counters(other)["waiting"] > before, f"{command} to wait")
    return client


def operations_of_one_round_trip(given):
    with new_server(given) as server:
        for hello in (None, 3):
            with server.client(hello=hello) as client:
                equal(client.must("TXN.RUN", 8, "PUT", "a", "1", "GET", "a", "INCRBY", "n", "5", "INCRBY",
                                  "n", "-7", "GET", "n", "DEL", "n", "GET", "n", "CHECK", "a", "1"),
                      [b"OK", b"1", 5, -2, b"-2", b"OK", None, b"OK"], "results")
                equal(get(client, "a", "n", "never"), [b"1", None, None], "after")
                equal(client.must("txn.run", 1, "get", "a"), [b"1"], "lower case")


def begin_read_commit(given):
    with new_server(given) as server, server.client() as client:
        put(client, a="1", b="2")
        timestamp, values = begin(client, "EAGER", 2, "b", "a", "LAZY", 2, "c", "b2", "WILL", 1, "a",
                                  "MAY", 2, "d", "e")
        equal(values, [b"2", b"1"], "eager values, in the order given")
        equal(client.must("TXN.READ", timestamp, "c"), None, "a lazy value")
        equal(client.must("TXN.COMMIT", timestamp, 2, "a", "new", "d", "may"), b"OK", "commit")
        equal(get(client, "a", "b", "c", "d", "e"), [b"new", b"2", None, b"may", None], "after")
        assert client.must("CLOCK.GET") >= timestamp, "the timestamp is a clock value"
        timestamp, values = begin(client, "EAGER", 1, "a", "WILL", 1, "a")
        equal(values, [b"new"], "reads what is before its own write")
        equal(client.must("TXN.ABORT", timestamp), b"OK", "abort")
        equal(get(client, "a"), b"new", "nothing was written")
        timestamp, values = begin(client, "WILL", 2, "a", "d", "MAY", 1, "b")
        equal(client.must("TXN.COMMIT", timestamp, 1, "a", "newer", "DEL", 2, "b", "d"), b"OK",
              "deletes")
        equal(get(client, "a", "b", "d"), [b"newer", None, None], "after deletions")
        timestamp, values = begin(client, "MAY", 1, "a")
        equal(client.must("TXN.COMMIT", timestamp, 0, "del", 1, "a"), b"OK", "only deletes")
        equal(get(client, "a"), None, "after the deletion")
        timestamp, values = begin(client, "LAZY", 1, "a")
        equal(values, [], "no eager values")
        equal(client.must("TXN.COMMIT", timestamp), b"OK", "a commit that writes nothing")


def reads_of_the_past(given):
    with new_server(given) as server, server.client() as client:
        clocks = []
        for value in ("one", "two", "three"):
            clocks.append(client.must("CLOCK.NEXT"))
            put(client, k=value)
        put(client, k="four")
        for clock, value in zip(clocks, (None, b"one", b"two")):
            equal(client.must("TXN.GET", "AT", clock, "k"), [value], f"as of {clock}")
        equal(get(client, "k"), b"four", "as of now")
        refused(client.call("TXN.GET", "AT", client.must("CLOCK.GET") + 1000, "k"), "ERR")


def a_check_that_fails_writes_nothing(given):
    with new_server(given) as server, server.client() as client:
        put(client, a="1", n="x")
        for word, part, *operations in (
                ("CONFLICT", "b", "PUT", "a", "2", "CHECK", "b", "1"),
                ("CONFLICT", "a", "CHECK", "a", "2", "PUT", "a", "3"),
                ("ERR", "n", "PUT", "a", "2", "INCRBY", "n", "1"),
                ("ERR", "", "PUT", "n", str(2 ** 63 - 1), "INCRBY", "n", "1"),
                ("ERR", "", "PUT", "a", "2", "INCRBY", "a", "y")):
            refused(client.call("TXN.RUN", 2, *operations), word, part)
            equal(get(client, "a", "b", "n"), [b"1", None, b"x"], f"after {operations}")


def every_refusal_changes_nothing(given):
    with new_server(given, "--object-max", "100") as server, server.client() as client:
        put(client, a="1")
        ours, _ = begin(client, "LAZY", 1, "l", "WILL", 1, "w", "MAY", 1, "m", "TTL", 60000)
        before = counters(client)
        for word, part, *command in (
                ("ERR", "wrong number", "TXN.RUN", 1),
                ("ERR", "", "TXN.RUN", 2, "GET", "a"),
                ("ERR", "", "TXN.RUN", 1, "GET", "a", "GET", "b"),
                ("ERR", "", "TXN.RUN", 0, "GET", "a"),
                ("ERR", "", "TXN.RUN", "x", "GET", "a"),
                ("ERR", "GETS", "TXN.RUN", 1, "GETS", "a"),
                ("ERR", "", "TXN.RUN", 1, "PUT", "a"),
                ("ERR", "", "TXN.RUN", 1, "INCRBY", "a", "1.5"),
                ("ERR", "", "TXN.RUN", 1, "GET", ""),
                ("TOOBIG", "", "TXN.RUN", 1, "GET", "k" * 600),
                ("TOOBIG", "100", "TXN.RUN", 1, "PUT", "a", "x" * 101),
                ("ERR", "follow", "TXN.BEGIN", "EAGER", 2, "a"),
                ("ERR", "twice", "TXN.BEGIN", "EAGER", 1, "a", "EAGER", 1, "b"),
                ("ERR", "", "TXN.BEGIN", "EAGER", 2, "a", "a"),
                ("ERR", "", "TXN.BEGIN", "WILL", 1, "a", "MAY", 1, "a"),
                ("ERR", "EAGER", "TXN.BEGIN", "SOME", 1, "a"),
                ("ERR", "TTL", "TXN.BEGIN", "TTL", "x"),
                ("ERR", "TTL", "TXN.BEGIN", "TTL"),
                ("ERR", "", "TXN.BEGIN", "WILL", 1, "a", "TTL", 0),
                ("NOLOCK", "", "TXN.READ", ours, "a"),
                ("NOLOCK", "", "TXN.READ", ours, "w"),
                ("ERR", "timestamp", "TXN.READ", "x", "a"),
                ("NOLOCK", "", "TXN.COMMIT", ours, 2, "w", "1", "a", "2"),
                ("ERR", "", "TXN.COMMIT", ours, 1, "m", "1"),
                ("ERR", "", "TXN.COMMIT", ours),
                ("ERR", "", "TXN.COMMIT", ours, 2, "w", "1", "w", "2"),
                ("ERR", "", "TXN.COMMIT", ours, 1, "w"),
                ("ERR", "", "TXN.COMMIT", ours, 1, "w", "1", "DEL"),
                ("ERR", "", "TXN.COMMIT", ours, 0, "DEL", 2, "w"),
                ("ERR", "", "TXN.COMMIT", ours, 0, "DEL", 1, "w", "x"),
                ("ERR", "", "TXN.COMMIT", ours, 1, "w", "1", "DEL", 1, "w"),
                ("NOLOCK", "", "TXN.COMMIT", ours, 1, "w", "1", "DEL", 1, "x"),
                ("ERR", "", "TXN.COMMIT", ours, 1, "w", "1", "m"),
                ("TOOBIG", "100", "TXN.COMMIT", ours, 1, "w", "x" * 101),
                ("ERR", "", "TXN.GET", "AT", "x", "a"),
                ("ERR", "", "TXN.GET", "AT", 1)):
            refused(client.call(*command), word, part)
            now = counters(client)
            equal((now["open"], now["committed"]), (before["open"], before["committed"]),
                  f"open and committed after {' '.join(map(str, command))[:100]}")
        equal(client.must("TXN.COMMIT", ours, 1, "w", "done"), b"OK", "it is still open")
        equal(get(client, "w"), b"done", "its write")
        equal(get(client, "a", "m"), [b"1", None], "what was refused")
        for word in ("TXN.READ", "TXN.COMMIT", "TXN.ABORT"):
            refused(client.call(word, ours, *(["l"] if word == "TXN.READ" else [])), "TXNEXPIRED")


def no_reply_has_more_than_a_request_may(given):
    """However short the request is."""
    with new_server(given) as server, server.client() as client:
        put(client, k="v" * (1 << 20))
        equal(len(client.must("TXN.RUN", 16, *["GET", "k"] * 16)), 16, "values in 16 MiB")
        for command in (("TXN.RUN", 18, "PUT", "w", "v", *["GET", "k"] * 17),
                        ("TXN.GET", *["k"] * 17), ("TXN.BEGIN", "EAGER", 17, *["k"] * 17)):
            refused(client.call(*command), "TOOBIG", "16777216")
        equal(get(client, "w"), None, "what was refused")


def a_transaction_is_its_connections_own(given):
    with new_server(given) as server, server.client() as one, server.client() as two:
        timestamp, _ = begin(one, "LAZY", 1, "a", "WILL", 1, "a")
        for command in (("TXN.COMMIT", timestamp, 1, "a", "x"), ("TXN.ABORT", timestamp),
                        ("TXN.READ", timestamp, "a")):
            refused(two.call(*command), "TXNEXPIRED", "another")
        equal(one.must("TXN.COMMIT", timestamp, 1, "a", "y"), b"OK", "its own")
        equal(get(two, "a"), b"y", "after")


def a_read_waits_for_the_write_before_it(given):
    with new_server(given) as server, server.client() as writer:
        put(writer, a="old", b="free")
        for ending in ("commit", "abort", "close", "expire"):
            first = server.client()
            timestamp, _ = begin(first, "WILL", 1, "a", "TTL", 500 if ending == "expire" else 30000)
            waiting = [waits(server, command) for command in (
                ("TXN.BEGIN", "EAGER", 1, "a"), ("TXN.GET", "a"), ("TXN.RUN", 1, "GET", "a"),
                ("TXN.RUN", 2, "GET", "a", "PUT", "c", "x"))]
            equal(get(writer, "b"), b"free", "another key")
            if ending == "commit":
                first.must("TXN.COMMIT", timestamp, 1, "a", "new")
            elif ending == "abort":
                first.must("TXN.ABORT", timestamp)
            elif ending == "close":
                first.close()
            value = b"new" if ending == "commit" else b"old"
            replies = [client.reply() for client in waiting]
            equal(replies[0][1], [value], f"BEGIN after {ending}")
            equal(replies[1:], [[value], [value], [value, b"OK"]], f"after {ending}")
            for client in (*waiting, first):
                client.close()
            put(writer, a="old")


def a_may_write_between_holds_and_lets_go(given):
    """An unresolved may-write between a read and its value."""
    with new_server(given) as server, server.client() as client:
        put(client, a="1")
        timestamp, _ = begin(client, "MAY", 1, "a", "WILL", 1, "z")
        reader = waits(server, ("TXN.GET", "a"))
        client.must("TXN.COMMIT", timestamp, 1, "z", "2")
        equal(reader.reply(), [b"1"], "the value behind it")
        reader.close()


def replies_keep_the_order_of_their_connection(given):
    """What is behind a command that waits takes effect, and is answered after it."""
    with new_server(given) as server, server.client() as client, server.client() as other:
        timestamp, _ = begin(client, "WILL", 1, "a")
        client.send_all([("TXN.RUN", 1, "GET", "a"), ("TXN.RUN", 1, "PUT", "b", "1"),
                         ("MSG.POST", "user", "-", "TEXT", "x"),
                         ("TXN.COMMIT", timestamp, 1, "a", "v"), ("PING",), ("TXN.GET", "a")])
        equal(client.reply(), [b"v"], "the one that waited")
        equal(client.reply(), [b"OK"], "the one behind it")
        assert isinstance(client.reply(), int)
        equal([client.reply() for _ in range(3)], [b"OK", b"PONG", [b"v"]], "the others")
        timestamp, _ = begin(other, "WILL", 1, "a")
        client.send_all([("TXN.GET", "a"), ("TXN.RUN", 1, "PUT", "c", "behind"), ("PING",)])
        wait_until(lambda: get(other, "c") == b"behind", "what is behind to take effect")
        other.must("TXN.ABORT", timestamp)
        equal([client.reply() for _ in range(3)], [[b"v"], [b"OK"], b"PONG"], "in order")


def commit_after_the_time_limit(given):
    with new_server(given, "--txn-ttl", "200") as server, server.client() as client:
        for ttl in ((), ("TTL", 300)):
            timestamp, _ = begin(client, "WILL", 1, "a", "LAZY", 1, "b", *ttl)
            with server.client() as reader:
                equal(get(reader, "a"), None, "released on time")
            for command in (("TXN.READ", timestamp, "b"), ("TXN.COMMIT", timestamp, 1, "a", "late"),
                            ("TXN.ABORT", timestamp)):
                refused(client.call(*command), "TXNEXPIRED")
            equal(get(client, "a"), None, "nothing was written")


def explain_says_who_waits_for_whom(given):
    with new_server(given) as server, server.client() as client:
        first, _ = begin(client, "MAY", 1, "a", "TTL", 60000)
        second, _ = begin(client, "LAZY", 1, "a", "WILL", 1, "b", "TTL", 60000)
        said = pairs(client.must("TXN.EXPLAIN", second))
        assert 0 < said["expires"] <= 60000 and said["began"] > 0 and said["waiting"] == 0, said
        held, free = said["keys"]
        equal(held[:4], [b"a", b"lazy", first, b"may"], "the lazy read")
        equal(free, [b"b", b"will", None, None, None], "the write")
        reader = waits(server, ("TXN.GET", "b"))
        equal(pairs(client.must("TXN.EXPLAIN", second))["waiting"], 1, "who waits for it")
        reader.close()
        client.must("TXN.ABORT", first)
        client.must("TXN.ABORT", second)
        refused(client.call("TXN.EXPLAIN", second), "TXNEXPIRED")


def redis_clients_speak_it(given):
    with new_server(given) as server:
        for single in (True, False):
            client = redis.Redis(port=server.port, single_connection_client=single)
            timestamp, values = client.execute_command("TXN.BEGIN", "EAGER", 1, "a", "WILL", 1, "a")
            equal(values, [None], "the value")
            equal(client.execute_command("TXN.ABORT", timestamp), b"OK", "abort")
            with client.pipeline(transaction=False) as pipeline:
                for number in range(100):
                    pipeline.execute_command("TXN.RUN", 2, "INCRBY", "n", 1, "PUT", number, "x")
                replies = pipeline.execute()
            equal(len(replies), 100, "replies")
            client.close()


def two_servers_on_one_directory(given):
    directory = scratch("txn-two") / "data"
    with Server(given.build, directory) as a, Server(given.build, directory) as b, \
            a.client() as one, b.client() as two:
        put(one, k="1")
        equal(get(two, "k"), b"1", "the other's write")
        timestamp, values = begin(one, "EAGER", 1, "k", "WILL", 1, "k", "TTL", 60000)
        reader = waits(b, ("TXN.RUN", 2, "INCRBY", "k", 10, "GET", "k"))
        one.must("TXN.COMMIT", timestamp, 1, "k", int(values[0]) + 1)
        equal(reader.reply(), [12, b"12"], "it waited for the other server's transaction")
        reader.close()
        timestamp, _ = begin(two, "WILL", 1, "k", "TTL", 1000)
        b.kill()
        began = time.monotonic()
        equal(get(one, "k"), b"12", "after the other one was killed")
        assert time.monotonic() - began < 10, "it took too long"


def a_server_that_stops_answers_what_waits(given):
    with new_server(given) as server, server.client() as client:
        begin(client, "WILL", 1, "a", "TTL", 60000)
        waiting = waits(server, ("TXN.GET", "a"))
        server.stop()
        refused(waiting.reply(), "SHUTDOWN")


def a_begin_that_waits_ends_with_its_connection(given):
    """Also one that was answered already, but for what waits before it on its connection."""
    with new_server(given) as server, server.client() as client:
        begin(client, "WILL", 1, "a", "TTL", 3600000)
        waiting = waits(server, ("TXN.BEGIN", "EAGER", 1, "a", "WILL", 1, "b", "TTL", 3600000))
        behind = waits(server, ("TXN.GET", "a"))
        behind.send("TXN.BEGIN", "WILL", 1, "c", "TTL", 3600000)
        wait_until(lambda: counters(client)["open"] == 3, "all to be open")
        waiting.close()
        behind.close()
        equal(get(client, "b", "c"), [None, None], "behind those that are gone")
        equal(counters(client)["released"], 2, "released")
        equal(counters(client)["open"], 1, "open")


def a_server_that_stops_leaves_nothing_open(given):
    with new_server(given) as server:
        with server.client() as client:
            begin(client, "WILL", 1, "a", "TTL", 3600000)
            waiting = [waits(server, ("TXN.BEGIN", "EAGER", 1, "a", "WILL", 1, "b", "TTL", 3600000)),
                       waits(server, ("TXN.RUN", 2, "GET", "a", "PUT", "c", "1"))]
            server.stop()
            refused(waiting[1].reply(), "SHUTDOWN")
        server.kill()
        server.start()
        with server.client() as client:
            equal(get(client, "a", "b", "c"), [None] * 3, "what was to be written")
            equal(counters(client)["open"], 0, "open")


def a_call_that_waits_ends_with_its_transaction(given):
    with new_server(given) as server, server.client() as client, server.client() as other:
        begin(client, "WILL", 1, "a", "TTL", 3600000)
        refused(other.call("TXN.BEGIN", "EAGER", 1, "a", "TTL", 100), "TXNEXPIRED")
        timestamp, _ = begin(other, "LAZY", 1, "a", "WILL", 1, "b")
        other.send_all([("TXN.READ", timestamp, "a"), ("TXN.COMMIT", timestamp, 1, "b", "x")])
        refused(other.reply(), "TXNEXPIRED")
        equal(other.reply(), b"OK", "the commit, which did not wait for the read")
        equal(get(client, "b"), b"x", "what it wrote")


def what_was_open_at_a_crash_is_released(given):
    with new_server(given) as server:
        with server.client() as client:
            put(client, a="1")
            begin(client, "WILL", 1, "a", "TTL", 500)
            server.kill()
        server.start()
        with server.client() as client:
            equal(get(client, "a"), b"1", "its write is none")
            equal(counters(client)["open"], 0, "open")


def there_are_as_many_open_as_allowed(given):
    with new_server(given, "--txn-open-max", "10") as server, server.client() as client:
        stamps = [begin(client, "WILL", 1, f"k{i}", "TTL", 60000)[0] for i in range(10)]
        refused(client.call("TXN.BEGIN", "WILL", 1, "x"), "NOSPACE")
        put(client, y="1")
        client.must("TXN.ABORT", stamps[0])
        begin(client, "WILL", 1, "x")


def as_many_versions_are_in_memory_as_are_to_be(given):
    """The memory for them can be changed while the server runs, and all can be read after."""
    def write(client, words):
        for first in range(0, 20000, 1000):
            put(client, **{f"{words}{i}": i for i in range(first, first + 1000)})

    with new_server(given) as server, server.client() as client:
        write(client, "a")
        equal(counters(client)["recent_versions"], 20000, "versions in memory")
        client.must("CONFIG", "SET", "txn-memory", "100kb")
        equal(client.must("CONFIG", "GET", "txn-memory"), [b"txn-memory", b"102400"], "the setting")
        write(client, "b")
        assert counters(client)["recent_versions"] < 10000, counters(client)
        for words in ("a", "b"):
            names = [f"{words}{i}" for i in range(0, 20000, 7)]
            equal(client.must("TXN.GET", *names), [b"%d" % i for i in range(0, 20000, 7)], words)


def ten_thousand_clients_begin_and_vanish(given):
    with new_server(given) as server, server.client() as client:
        put(client, a="1")
        memory = None
        for batch in range(100):
            clients = [server.client() for _ in range(100)]
            for number, one in enumerate(clients):
                one.send("TXN.BEGIN", "WILL", 1, f"k{number}", "EAGER", 1, "a", "TTL", 60000)
            if batch % 2 == 0:
                for one in clients:
                    one.reply()
            for one in clients:
                one.close()
            if batch == 20:
                wait_until(lambda: counters(client)["open"] == 0, "the first to be released")
                memory = server.memory()
        began = time.monotonic()
        equal(get(client, *(f"k{number}" for number in range(100))), [None] * 100, "behind them")
        assert time.monotonic() - began < 5, "readers behind them waited"
        wait_until(lambda: counters(client)["open"] == 0, "all to be released")
        grown = server.memory() - memory
        if "SANITIZED" not in os.environ:  # a sanitizer keeps what was freed
            assert grown < 8 << 20, f"grown by {grown} bytes"


def many_that_wait_do_not_choke_the_server(given):
    """What they wait for can still be committed, and they are all answered."""
    with new_server(given, "--queue-max", "1mb") as server, server.client() as client:
        timestamp, _ = begin(client, "WILL", 1, "a", "TTL", 60000)
        clients = [server.client() for _ in range(40)]
        for one in clients:
            one.send_all([("TXN.RUN", 2, "GET", "a", "PUT", "b", "x" * 1000)] * 100)
        time.sleep(0.3)
        equal(client.must("TXN.COMMIT", timestamp, 1, "a", "v"), b"OK", "the commit")
        for one in clients:
            for _ in range(100):
                reply = one.reply()
                assert reply == [b"v", b"OK"] or reply.word == "NOSPACE", reply
            one.close()


TESTS = (operations_of_one_round_trip, begin_read_commit, reads_of_the_past,
         a_check_that_fails_writes_nothing, every_refusal_changes_nothing, no_reply_has_more_than_a_request_may,
         a_transaction_is_its_connections_own, a_read_waits_for_the_write_before_it,
         a_may_write_between_holds_and_lets_go, replies_keep_the_order_of_their_connection,
         commit_after_the_time_limit, explain_says_who_waits_for_whom, redis_clients_speak_it,
         two_servers_on_one_directory, a_server_that_stops_answers_what_waits,
         a_begin_that_waits_ends_with_its_connection, a_server_that_stops_leaves_nothing_open,
         a_call_that_waits_ends_with_its_transaction,
         what_was_open_at_a_crash_is_released, there_are_as_many_open_as_allowed,
         as_many_versions_are_in_memory_as_are_to_be, ten_thousand_clients_begin_and_vanish,
         many_that_wait_do_not_choke_the_server)

if __name__ == "__main__":
    report.run(TESTS, report.arguments(__doc__))
