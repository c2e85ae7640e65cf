#!/usr/bin/python3
"""What waits for transactions, and the replies behind it: bounded for each connection and for all
of them, and a hold-up for nobody else."""

import os
import random
import socket
import struct
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from lib import report  # noqa: E402
from lib.process import Server, scratch, wait_until  # noqa: E402
from lib.report import equal  # noqa: E402

MIB = 1 << 20
REFUSED = ("OBJ.PUT", "o", b"x" * 1000000, "IF", 99999)  # a long request with a short reply
PIECE = 100000


def new_server(given, queue_max="1mb"):
    return Server(given.build, scratch("held") / "data", "--queue-max", queue_max)


def begin(client, key):
    return client.must("TXN.BEGIN", "WILL", 1, key, "TTL", 60000)[0]


def commit(client, timestamp, key, value="v"):
    equal(client.must("TXN.COMMIT", timestamp, 1, key, value), b"OK", f"the commit of {key}")


def info(client, name):
    section = "transactions" if name in ("waiting", "open") else "memory"
    lines = client.must("INFO", section).decode().split("\r\n")
    return int(dict(line.split(":", 1) for line in lines if ":" in line)[name])


def parks(client, other, command):
    before = info(other, "waiting")
    client.send(*command)
    wait_until(lambda: info(other, "waiting") > before, f"{command} to wait")


def is_served(server):
    """A stranger is, with all that it may ask for, long before the time of what is waited for."""
    began = time.monotonic()
    with server.client() as stranger:
        equal(stranger.must("PING"), b"PONG", "a stranger's PING")
        stranger.must("OBJ.PUT", "stranger", "v")
        equal(stranger.must("TXN.RUN", 1, "PUT", "stranger", "v"), [b"OK"], "a stranger's TXN.RUN")
    took = time.monotonic() - began
    assert took < 10, f"a stranger waited for {took:.1f} s"


def requests_behind_a_wait_take_no_memory(given):
    with new_server(given) as server, server.client() as other, server.client() as client:
        timestamp = begin(client, "w")
        parks(client, other, ("TXN.GET", "w"))
        client.send_all([REFUSED] * 10)
        client.send("TXN.COMMIT", timestamp, 1, "w", "v")
        equal(client.reply(), [b"v"], "what waited")
        for _ in range(10):
            equal(client.reply().word, "CONFLICT", "a reply behind it")
        equal(client.reply(), b"OK", "the commit behind it")


def one_that_waits_does_not_freeze_the_server(given):
    with new_server(given) as server, server.client() as other, server.client() as client:
        timestamp = begin(other, "w")
        parks(client, other, ("TXN.GET", "w"))
        client.send_all([REFUSED] * 10)
        is_served(server)
        commit(other, timestamp, "w")
        equal(client.reply(), [b"v"], "what waited")
        for _ in range(10):
            equal(client.reply().word, "CONFLICT", "a reply behind it")


def many_that_wait_do_not_lift_the_bound_of_the_queue(given):
    with new_server(given, "4mb") as server, server.client() as other, server.client() as client:
        timestamp = begin(other, "w")
        client.send_all([("TXN.GET", "w")] * 500)
        wait_until(lambda: info(other, "waiting") == 500, "all to wait")
        with server.client() as writer:
            writer.send_all([REFUSED] * 40)
            for _ in range(40):
                equal(writer.reply().word, "CONFLICT", "a write")
        peak = info(other, "queue_peak_bytes")
        assert peak < 8 * MIB, f"{peak} bytes were queued"
        commit(other, timestamp, "w")
        for _ in range(500):
            equal(client.reply(), [b"v"], "what waited")


def calls_of_one_connection_do_not_use_up_the_queue(given):
    with new_server(given, "4mb") as server, server.client() as other, server.client() as client:
        timestamp = begin(other, "w")
        count = 200
        client.send_all([("TXN.RUN", 2, "GET", "w", "PUT", "b", b"x" * 20000)] * count)
        wait_until(lambda: info(other, "parked_bytes") > MIB // 2, "much to wait")
        is_served(server)
        parked = info(other, "parked_bytes")
        assert parked < 2 * MIB, f"{parked} bytes of one connection wait"
        commit(other, timestamp, "w")
        for _ in range(count):
            equal(client.reply(), [b"v", b"OK"], "what waited")
        equal(info(other, "parked_bytes"), 0, "what waits at the end")


def calls_that_all_wait_let_the_others_on(given):
    """A queue full of calls is empty once they are parked, though none of them was answered."""
    with new_server(given) as server, server.client() as other:
        timestamp = begin(other, "w")
        clients = [server.client() for _ in range(8)]
        for client in clients:
            client.send("TXN.RUN", 2, "GET", "w", "PUT", "b", b"x" * 1000000)
        with server.client() as stranger:
            equal(stranger.must("PING"), b"PONG", "a stranger's PING")
        commit(other, timestamp, "w")
        for client in clients:
            reply = client.reply()
            assert reply == [b"v", b"OK"] or reply.word == "NOSPACE", reply
            client.close()


def hold(client, other, pieces):
    """Long replies behind what waits, one after the other; what is not read yet does not count."""
    before = info(other, "held_bytes")
    for _ in range(pieces):
        client.send("TXN.GET", "big")
        other.must("OBJ.PUT", "after", "v")  # what was read before it has been answered by then
        held = info(other, "held_bytes")
    return held - before


def held_replies_are_bounded_for_each_and_for_all(given):
    with new_server(given, "2mb") as server, server.client() as other:
        other.must("TXN.RUN", 1, "PUT", "big", b"x" * PIECE)
        timestamp = begin(other, "w")
        clients = [server.client() for _ in range(12)]
        for client in clients:
            parks(client, other, ("TXN.GET", "w"))
        held = hold(clients[0], other, 30)
        assert MIB // 2 < held < 1.5 * MIB, f"one connection holds {held} bytes"
        for client in clients[1:]:
            hold(client, other, 9)
        held = info(other, "held_bytes")
        assert 2 * MIB < held < 4 * MIB, f"all hold {held} bytes"
        clients[-1].send("OBJ.PUT", "small", "v")  # it is not read
        with server.client() as little:
            parks(little, other, ("TXN.GET", "w"))
            little.send("TXN.RUN", 1, "PUT", "little", "v")
            wait_until(lambda: other.must("TXN.GET", "little") == [b"v"], "who holds little")
        is_served(server)
        commit(other, timestamp, "w")
        for client, count in zip(clients, [30] + [9] * 11):
            equal(client.reply(), [b"v"], "what waited")
            for _ in range(count):
                equal(len(client.reply()[0]), PIECE, "a reply behind it")
        assert isinstance(clients[-1].reply(), int)
        for client in clients:
            client.close()
        wait_until(lambda: info(other, "held_bytes") == 0, "nothing to be held")


def who_is_paused_for_all_goes_on_when_others_are_gone(given):
    """Its own call still waits then."""
    with new_server(given) as server, server.client() as other:
        other.must("TXN.RUN", 1, "PUT", "big", b"x" * PIECE)
        stays, goes = begin(other, "stays"), begin(other, "goes")
        one, two = server.client(), server.client()
        parks(one, other, ("TXN.GET", "stays"))
        parks(two, other, ("TXN.GET", "goes"))
        hold(two, other, 9)
        hold(one, other, 3)
        one.send("TXN.RUN", 1, "PUT", "one", "v")
        is_served(server)
        equal(other.must("TXN.GET", "one"), [None], "the write of one that is paused")
        commit(other, goes, "goes")
        wait_until(lambda: other.must("TXN.GET", "one") == [b"v"], "it to go on")
        commit(other, stays, "stays")
        equal(one.reply(), [b"v"], "what waited")
        one.close()
        two.close()


def who_breaks_off_holds_nothing(given):
    with new_server(given) as server, server.client() as other, server.client() as client:
        other.must("TXN.RUN", 1, "PUT", "big", b"x" * PIECE)
        begin(other, "w")
        parks(client, other, ("TXN.GET", "w"))
        assert hold(client, other, 3) > 3 * PIECE
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()
        wait_until(lambda: info(other, "held_bytes") == 0, "it to be dropped")


def who_breaks_off_is_noticed_while_it_is_not_read_from(given):
    """A command that may not be sent on behind one that waits: nothing is read until that is over."""
    with new_server(given) as server, server.client() as other:
        begin(other, "w")
        client = server.client()
        begin(client, "m")
        parks(client, other, ("TXN.GET", "w"))
        client.send("PING")
        other.must("PING")
        equal(info(other, "open"), 2, "open transactions")
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()
        wait_until(lambda: info(other, "open") == 1, "its transaction to be released")


def replies_come_in_order_whatever_ends_first(given):
    with new_server(given, "64mb") as server, server.client() as other, server.client() as client:
        dice = random.Random(7)
        stamps = {f"k{i}": begin(other, f"k{i}") for i in range(40)}
        commands, expected = [], []
        for number in range(2000):
            key = dice.choice(list(stamps))
            if dice.random() < 0.1:
                commands.append(("TXN.GET", key))
                expected.append([f"value of {key}".encode()])
            else:
                size = dice.choice((1, 10, 300))
                commands.append(("TXN.RUN", 2, "PUT", f"n{number}", f"{number}" * size,
                                 "GET", f"n{number}"))
                expected.append([b"OK", (f"{number}" * size).encode()])
        client.send_all(commands)
        order = list(stamps)
        dice.shuffle(order)
        for key in order:
            commit(other, stamps[key], key, f"value of {key}")
        for number, reply in enumerate(expected):
            equal(client.reply(), reply, f"reply {number}")
        equal(info(other, "held_bytes"), 0, "what is held at the end")


TESTS = (requests_behind_a_wait_take_no_memory, one_that_waits_does_not_freeze_the_server,
         many_that_wait_do_not_lift_the_bound_of_the_queue,
         calls_of_one_connection_do_not_use_up_the_queue, calls_that_all_wait_let_the_others_on,
         held_replies_are_bounded_for_each_and_for_all,
         who_is_paused_for_all_goes_on_when_others_are_gone, who_breaks_off_holds_nothing,
         who_breaks_off_is_noticed_while_it_is_not_read_from, replies_come_in_order_whatever_ends_first)

if __name__ == "__main__":
    report.run(TESTS, report.arguments(__doc__))
