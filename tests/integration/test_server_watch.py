#!/usr/bin/python3
"""What lockstepd pushes: every watch sees exactly what was committed, in order, whatever happens."""

import os
import random
import select
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from lib import cbor, report  # noqa: E402
from lib.process import Server, scratch, wait_until  # noqa: E402
from lib.report import equal, refused  # noqa: E402
from lib.resp import Closed, pairs, read_box  # noqa: E402


def new_server(given, *flags):
    return Server(given.build, scratch("watch") / "data", "--sync", "no", *flags)


def delivered(client, count):
    """The next messages of a watch, in either protocol."""
    frames = [client.read() for _ in range(count)]
    for frame in frames:
        equal(frame[0], b"message", "the word of a push")
    return [frame[1] for frame in frames]


def no_more(client):
    """Nothing was pushed beyond what was read: the next thing to come is the answer to PING."""
    reply = client.call("PING", "end")
    assert reply in (b"end", [b"pong", b"end"]), f"one push too many: {reply}"
    equal(client.pushes, [], "pushes")


def a_watch_delivers_from_where_it_says(given):
    with new_server(given) as server, server.client() as poster:
        poster.pipeline([("MSG.POST", "user", "-", "TEXT", str(i)) for i in range(1, 6)])
        for hello in (None, 3):
            for since, first in (("-", 1), ("0", 0), ("3", 3), ("$", 6), ("100", 100)):
                with server.client(hello=hello) as client:
                    equal(client.must("MSG.WATCH", since), first, f"the reply to MSG.WATCH {since}")
                    if first < 6:
                        expected = read_box(poster, first)
                        equal(delivered(client, len(expected)), expected, f"messages from {since}")
                    no_more(client)


def watches_filter_as_reads_do(given):
    filters = [(), ("FOR", "a"), ("TYPE", "U"), ("TYPE", "OD"), ("KEY", "k/"), ("KEY", ""),
               ("KEY", b"N\x11"), ("FOR", "b", "TYPE", "UD"), ("JSON",), ("TYPE", "D", "JSON"),
               ("KEY", "k/1", "FOR", "x", "JSON")]
    dice = random.Random(given.seed)
    with new_server(given) as server, server.client() as poster:
        poster.must("NODE.JOIN", "node")

        def change():
            return dice.choice([
                ("MSG.POST", "user", "-", "TEXT", "x" * dice.randrange(3000)),
                ("MSG.POST", "user", "-", "TO", dice.choice("ab"), "JSON", '{"a":[1]}'),
                ("MSG.POST", "database", "U", "TO", dice.choice("ab"), "TEXT", "y"),
                ("OBJ.PUT", dice.choice(["k/1", "k/2", "x"]), "v"),
                ("OBJ.DEL", dice.choice(["k/1", "k/2", "x"])),
                ("CLOCK.NEXT",), ("NODE.STATE", dice.choice(["up", "leaving"])),
            ])
        poster.pipeline([change() for _ in range(300)])
        watches = []
        for words in filters:
            for hello in (None, 3):
                client = server.client(hello=hello)
                client.must("MSG.WATCH", "-", *words)
                watches.append((client, words))
        for _ in range(20):
            poster.pipeline([change() for _ in range(50)])
        for client, words in watches:
            expected = read_box(poster, only=words)
            equal(delivered(client, len(expected)), expected, f"what came with {words}")
            no_more(client)


def a_connection_has_one_watch_of_each_kind(given):
    with new_server(given) as server, server.client() as two, server.client(hello=3) as three:
        two.must("MSG.WATCH", "$")
        for args in (("MSG.WATCH", "$"), ("GET", "k"), ("MSG.POST", "user", "-", "TEXT", "x"), ("HELLO", 3)):
            refused(two.call(*args), "ERR", "are allowed in this context")
        equal(two.must("PING"), [b"pong", b""], "PING")
        equal(two.must("MSG.UNWATCH"), b"OK", "MSG.UNWATCH")
        equal(two.must("GET", "k"), None, "GET after that")
        equal(two.must("OBJ.UNWATCH"), b"OK", "OBJ.UNWATCH without a watch")
        three.must("MSG.WATCH", "$")
        refused(three.call("MSG.WATCH", "$"), "ERR", "MSG.UNWATCH first")
        equal(three.must("OBJ.WATCH", ""), 0, "OBJ.WATCH")
        refused(three.call("OBJ.WATCH", ""), "ERR", "OBJ.UNWATCH first")
        equal(three.must("OBJ.PUT", "k", "v"), 1, "a put while watching in RESP3")
        came = sorted(three.push()[0] for _ in range(3))
        equal(came, [b"message", b"object", b"synced"], "what both watches push")
        equal(three.must("MSG.UNWATCH"), b"OK", "MSG.UNWATCH")
        three.must("OBJ.PUT", "k", "w")
        equal(three.push(), [b"object", b"k", b"w", 1, 2], "what the other watch pushes")
        no_more(three)
        for args in (("MSG.WATCH", "x"), ("MSG.WATCH", "-", "COUNT", "1"), ("MSG.WATCH", "-", "BLOCK", "1")):
            refused(three.call(*args), "ERR")
        refused(three.call("MSG.UNWATCH", "x"), "ERR")
        three.must("OBJ.UNWATCH")
        refused(three.call("OBJ.WATCH", "k" * 481), "TOOBIG")


def a_watch_that_lost_its_place_says_so(given):
    """A client that reads nothing, while everything behind what its socket took is discarded."""
    with new_server(given) as server, server.client(hello=3) as slow, server.client() as poster:
        slow.must("MSG.WATCH", "-")
        count = 0
        for _ in range(60):
            poster.pipeline([("MSG.POST", "user", "-", "TEXT", "x" * 50000)] * 20)
            count += 20
        equal(poster.must("MSG.TRIM", "BEFORE", count), count - 1, "discarded")
        seen = 0
        while True:
            frame = slow.push()
            if frame[0] == b"lost":
                break
            seen += 1
            equal(frame[1][0], seen, "the clock of the next message")
        equal(frame, [b"lost", seen + 1, count], "the last push")
        assert 0 < seen < count - 1, f"{seen} of {count} messages"
        no_more(slow)
        equal(slow.must("MSG.WATCH", "-"), count, "a watch from the oldest")
        equal(slow.push()[1][0], count, "its first message")


def a_watch_that_keeps_up_survives_trims(given):
    with new_server(given, "--retention-count", "200") as server, server.client(hello=3) as watcher, \
            server.client() as poster:
        watcher.must("MSG.WATCH", "-")
        seen = 0
        for _ in range(100):
            poster.pipeline([("MSG.POST", "user", "-", "TEXT", "x" * 100)] * 100)
            for _ in range(100):
                seen += 1
                equal(watcher.push()[1][0], seen, "the clock of the next message")
            poster.must("MSG.TRIM", "BEFORE", seen + 1)
        no_more(watcher)


def large_messages_are_watched_whole(given):
    with new_server(given) as server, server.client(hello=3) as watcher, server.client() as poster:
        watcher.must("MSG.WATCH", "$", "TYPE", "U")
        sizes = [1, 61300, 61440, 65536, 10, 200000, 0, 1 << 19, 7, 1048000, 3]
        for size in sizes * 3:
            poster.must("MSG.POST", "user", "-", "TEXT", "z" * size)
        for size in sizes * 3:
            equal(len(cbor.decode(watcher.push()[1][6])), size, "the size of the next message")
        no_more(watcher)


def fast_and_slow_watchers_share_a_server(given):
    """Some read at once, some in small sips, some begin in the middle: all see the same."""
    dice = random.Random(given.seed)
    with new_server(given) as server, server.client() as poster:
        watchers = [server.client(hello=3) for _ in range(12)]
        starts = []
        for number, watcher in enumerate(watchers):
            starts.append(watcher.must("MSG.WATCH", "$" if number % 3 else "-"))
        for _ in range(200):
            poster.pipeline([("MSG.POST", "user", "-", "TEXT", "x" * dice.randrange(2000))] * 20)
        late = server.client(hello=3)
        starts.append(late.must("MSG.WATCH", 2000))
        watchers.append(late)
        messages = read_box(poster)
        for watcher, start in zip(watchers, starts):
            expected = [message for message in messages if message[0] >= start]
            for message in expected:
                equal(watcher.push()[1], message, "the next message")
            no_more(watcher)


class Mirror:
    """The objects as one watch tells them."""

    def __init__(self, client, prefix):
        self.client = client
        self.objects = {}
        self.fresh = {}
        self.clock = 0
        self.synced = False
        self.resyncs = 0
        client.must("OBJ.WATCH", prefix)

    def follow(self, clock):
        """Takes pushes until a change with this clock was told."""
        while self.clock < clock:
            self.take(self.client.push())

    def take(self, frame):
        word = frame[0]
        if word == b"resync":
            self.resyncs += 1
            self.synced, self.fresh = False, {}
        elif word == b"synced":
            assert not self.synced, "synced twice"
            self.synced, self.objects = True, self.fresh
            self.clock = frame[1]
        elif word == b"object":
            if self.synced:
                assert frame[4] > self.clock, f"{frame[4]} after {self.clock}"
                self.clock = frame[4]
                self.objects[frame[1]] = frame[2:]
            else:
                assert frame[1] not in self.fresh, "twice in a snapshot"
                self.fresh[frame[1]] = frame[2:]
        elif word == b"deleted":
            assert self.synced and frame[2] > self.clock, frame
            self.clock = frame[2]
            del self.objects[frame[1]]
        else:
            raise AssertionError(frame)


def objects(client, prefix):
    found, after = {}, b""
    while True:
        some = client.must("OBJ.SCAN", prefix, "COUNT", 1000, *(["AFTER", after] if after else []))
        if not some:
            return found
        found.update({item[0]: item[1:] for item in some})
        after = some[-1][0]


def an_object_watch_mirrors_the_objects(given):
    dice = random.Random(given.seed)
    with new_server(given) as server, server.client() as writer:
        keys = [f"{p}/{i}" for p in "ab" for i in range(200)]

        def change():
            key = dice.choice(keys)
            return ("OBJ.DEL", key) if dice.random() < 0.3 else ("OBJ.PUT", key, "v" * dice.randrange(900))
        writer.pipeline([change() for _ in range(1000)])
        mirrors = [Mirror(server.client(hello=3), prefix) for prefix in ("", "a/", "a/1", "none")]
        for _ in range(10):
            writer.pipeline([change() for _ in range(100)])
        for mirror, prefix in zip(mirrors, ("", "a/", "a/1", "none")):
            marker = f"{prefix}zz"
            mirror.follow(writer.must("OBJ.PUT", marker, "end"))
            equal(mirror.objects, objects(writer, prefix), f"the mirror of '{prefix}'")
            writer.must("OBJ.DEL", marker)


def a_snapshot_is_of_one_clock(given):
    """A snapshot that a slow client takes, while what it has not taken yet is changed."""
    with new_server(given) as server, server.client() as writer:
        value = "v" * 5000
        for number in range(2000):
            writer.send("OBJ.PUT", f"k{number:04}", value)
        equal([writer.reply() for _ in range(2000)][-1], 2000, "the last put")
        mirror = Mirror(server.client(hello=3), "k")
        writer.pipeline([("OBJ.PUT", f"k{number:04}", "new") for number in range(2000)])
        while not mirror.synced:
            mirror.take(mirror.client.push())
        equal(mirror.clock, 2000, "the clock of the snapshot")
        equal(len(mirror.objects), 2000, "objects in the snapshot")
        assert all(item[0] == value.encode() for item in mirror.objects.values()), "a later value in it"
        mirror.follow(4000)
        equal(mirror.objects, objects(writer, ""), "the mirror in the end")


def an_object_watch_that_fell_behind_begins_again(given):
    with new_server(given) as server, server.client() as writer:
        writer.must("OBJ.PUT", "stays", "1")
        writer.must("OBJ.PUT", "goes", "1")
        mirror = Mirror(server.client(hello=3), "")
        while not mirror.synced:
            mirror.take(mirror.client.push())
        for _ in range(40):
            writer.pipeline([("OBJ.PUT", "big", "x" * 50000)] * 20)
        writer.must("OBJ.DEL", "goes")
        writer.must("MSG.TRIM", "BEFORE", writer.must("CLOCK.GET"))
        mirror.follow(writer.must("OBJ.PUT", "end", "1"))
        equal(mirror.resyncs, 1, "new snapshots")
        equal(mirror.objects, objects(writer, ""), "the mirror")


def a_snapshot_that_nobody_takes_is_given_up(given):
    """It would keep the pages of the store from being used again. The client gets another one later."""
    with new_server(given) as server, server.client() as writer:
        writer.pipeline([("OBJ.PUT", f"k{number:03}", "v" * 100000) for number in range(200)])
        mirror = Mirror(server.client(hello=3), "k")
        assert b"snapshots:1\r\n" in writer.must("INFO", "clients"), "the snapshot is not under way"
        wait_until(lambda: b"snapshots:0\r\n" in writer.must("INFO", "clients"), "it to be given up", 30)
        mirror.follow(writer.must("OBJ.PUT", "kz", "end"))
        equal(mirror.resyncs, 1, "new snapshots")
        equal(mirror.objects, objects(writer, ""), "the mirror")


def more_snapshots_than_at_a_time_take_turns(given):
    with new_server(given) as server, server.client() as writer:
        writer.pipeline([("OBJ.PUT", f"k{number:03}", "v" * 50000) for number in range(200)])
        clients = [server.client(hello=3) for _ in range(80)]
        for client in clients:
            client.send("OBJ.WATCH", "k")
        wait_until(lambda: b"snapshots:64\r\n" in writer.must("INFO", "clients"), "64 snapshots")
        for client in clients:
            equal(client.read(), 200, "the clock of a snapshot")
            for number in range(200):
                equal(client.push()[1], f"k{number:03}".encode(), "the next key")
            equal(client.push(), [b"synced", 200], "the end of the snapshot")
        equal(b"snapshots:0\r\n" in writer.must("INFO", "clients"), True, "no snapshot is left")


def every_place_for_a_snapshot_is_taken(given):
    """Some places become free at once, and the first that waits for one is gone with them."""
    with new_server(given) as server, server.client() as writer:
        writer.pipeline([("OBJ.PUT", f"k{number:03}", "v" * 50000) for number in range(200)])
        clients = [server.client(hello=3) for _ in range(80)]
        numbers = [client.must("CLIENT", "ID") for client in clients]
        for client in clients:
            client.send("OBJ.WATCH", "k")
        wait_until(lambda: b"object_watchers:80\r\n" in writer.must("INFO", "clients"), "80 watches")
        assert b"snapshots:64\r\n" in writer.must("INFO", "clients"), "there are not 64 snapshots"
        equal(writer.pipeline([("CLIENT", "KILL", "ID", number) for number in numbers[60:65]]), [1] * 5,
              "four with a snapshot and one that waits are gone")
        for _ in range(100):
            writer.must("PING")
        info = writer.must("INFO", "clients")
        assert b"snapshots:64\r\n" in info, f"turns later a place is still free: {info}"


def watchers_of_another_server_see_posts_soon(given):
    directory = scratch("two") / "data"
    with Server(given.build, directory) as one, Server(given.build, directory) as two:
        with one.client() as poster, two.client(hello=3) as watcher, two.client() as reader:
            watcher.must("MSG.WATCH", "$")
            longest = 0
            for number in range(50):
                reader.send("MSG.READ", number + 1, "BLOCK", 10000)
                began = time.monotonic()
                clock = poster.must("MSG.POST", "user", "-", "TEXT", "x")
                equal(watcher.push()[1][0], clock, "what the watch got")
                longest = max(longest, time.monotonic() - began)
                equal(reader.reply()[0][0], clock, "what the blocked read got")
                equal(reader.must("MSG.READ", clock, "COUNT", 1)[0][0], clock, "a read at once")
            print(f"    from a post on one server to its sight on another: at most {longest * 1e3:.1f} ms")
            poster.must("NODE.JOIN", "host", "TTL", 60000)
            refused(reader.call("NODE.JOIN", "host"), "INUSE")
            poster.must("NODE.LEAVE")
            poster.must("NODE.JOIN", "host", "TTL", 300)
            poster.close()
            wait_until(lambda: reader.must("NODE.GET", "host")[3] == b"down", "the node to go down")


def many_that_look_through_a_long_box_hold_up_nobody(given):
    """They all look for the one message that comes last. Others are served meanwhile."""
    with new_server(given) as server, server.client() as client:
        for _ in range(100):
            client.pipeline([("MSG.POST", "user", "-", "TEXT", "x" * 20)] * 2000)
        last = client.must("MSG.POST", "database", "C", "TEXT", "last")
        for command, *block in (("MSG.READ", "BLOCK", 1), ("MSG.WATCH",)):
            seekers = [server.client(hello=3) for _ in range(100)]
            for i, seeker in enumerate(seekers):
                seeker.send(command, 1 + i * 1500, "TYPE", "D", *block)
            served = 0
            left = {seeker.socket: seeker for seeker in seekers}
            while left:
                equal(client.must("PING"), b"PONG", "PING")
                served += 1
                for ready in select.select(list(left), [], [], 0)[0]:
                    frame = left[ready].read()
                    if isinstance(frame, list):
                        message = frame[1] if command == "MSG.WATCH" else frame[0]
                        equal(message[0], last, f"what {command} found")
                        del left[ready]
            assert served > 15, f"only {served} commands were served during {command}"
            for seeker in seekers:
                seeker.close()


def a_watch_ends_when_its_client_does(given):
    with new_server(given) as server, server.client() as client:
        for _ in range(50):
            with server.client(hello=3) as watcher:
                watcher.must("MSG.WATCH", "-")
                watcher.must("OBJ.WATCH", "")
        wait_until(lambda: pairs(client.must("MSG.INFO"))["watchers"] == 0, "the watches to end")
        assert b"object_watchers:0\r\nsnapshots:0\r\n" in client.must("INFO", "clients")
        watcher = server.client(hello=3)
        watcher.must("MSG.WATCH", "-")
        server.process.terminate()
        try:
            raise AssertionError(f"a push after the end: {watcher.read()}")
        except Closed:
            pass
        equal(server.ended(), 0, "the exit code")


if __name__ == "__main__":
    report.run([
        a_watch_delivers_from_where_it_says,
        watches_filter_as_reads_do,
        a_connection_has_one_watch_of_each_kind,
        a_watch_that_lost_its_place_says_so,
        a_watch_that_keeps_up_survives_trims,
        large_messages_are_watched_whole,
        fast_and_slow_watchers_share_a_server,
        an_object_watch_mirrors_the_objects,
        a_snapshot_is_of_one_clock,
        an_object_watch_that_fell_behind_begins_again,
        a_snapshot_that_nobody_takes_is_given_up,
        more_snapshots_than_at_a_time_take_turns,
        every_place_for_a_snapshot_is_taken,
        watchers_of_another_server_see_posts_soon,
        many_that_look_through_a_long_box_hold_up_nobody,
        a_watch_ends_when_its_client_does,
    ], report.arguments(__doc__))
