#!/usr/bin/python3
"""What clients may do to a server: garbage, claims, silence, greed, sloth, depth, haste. Each gets
a clear error or nothing; the others do not notice; memory stays bounded."""

import errno
import hashlib
import os
import random
import re
import resource
import selectors
import socket
import sys
import threading
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from lib import cbor, report  # noqa: E402
from lib.process import Server, scratch, wait_until  # noqa: E402
from lib.report import equal, refused  # noqa: E402
from lib.resp import Closed, encode, pairs, read_box  # noqa: E402

KIB = 1024
MIB = 1024 * KIB


def new_server(given, *flags):
    return Server(given.build, scratch("torture") / "data", *flags)


def raise_file_limit():
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return most


def post_rate(client, tries=5, seconds=0.15):
    """Posts a second, one at a time, in the best of a few tries."""
    best = 0
    for _ in range(tries):
        began, count = time.monotonic(), 0
        while time.monotonic() - began < seconds:
            assert client.must("MSG.POST", "user", "-", "TEXT", "steady") > 0
            count += 1
        best = max(best, count / (time.monotonic() - began))
    return best


class Neighbour(threading.Thread):
    """A client that posts and reads at leisure and notes the longest time it had to wait."""

    def __init__(self, server):
        super().__init__(daemon=True)
        self.client = server.client()
        self.over = threading.Event()
        self.longest = 0
        self.fault = None

    def run(self):
        try:
            while not self.over.wait(0.002):
                began = time.monotonic()
                clock = self.client.must("MSG.POST", "user", "-", "TEXT", "neighbour")
                found = self.client.must("MSG.READ", clock, "COUNT", 1)
                assert found[0][0] == clock, f"posted {clock}, read {found[0]}"
                self.longest = max(self.longest, time.monotonic() - began)
        except Exception as reason:  # pylint: disable=broad-except
            self.fault = reason

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.join(30)
        assert not self.is_alive() and self.fault is None, f"the neighbour: {self.fault!r}"
        assert self.longest < 5, f"the neighbour waited {self.longest:.1f} s"


# ---- bytes that are no commands ----------------------------------------------------------------

COMMANDS = [
    ["MSG.POST", "user", "-", "JSON", '{"a":[1,2,3]}'], ["MSG.READ", "-", "COUNT", 3], ["PING"],
    ["OBJ.PUT", "k", "v", "IF", 0], ["OBJ.TXN", "IF", 0, "THEN", 1, "PUT", "a", "b"],
    ["HELLO", 3], ["MSG.WATCH", "$"], ["OBJ.WATCH", ""], ["NODE.JOIN", "garbler", "TTL", 1000],
    ["RELAY.SEND", "BROADCAST", "TEXT", "x"], ["CONFIG", "GET", "*"], ["CLIENT", "LIST"], ["INFO"],
]
SPECIAL = [
    b"", b"\r\n" * 1000, b"\0" * 5000, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\xff" * 300,
    b"*", b"*-1\r\n", b"'unbalanced\r\n", b"PING " + b"x" * 100000,
    b"*0\r\n" * 100, b"*1\r\n$-1\r\n", b"*1\r\n$4\r\nPING", b"*1\r\n$4\r\nPINGxx", b"*1\r\n:1\r\n",
    b"*99999999999999999999\r\n", b"*2\r\n$3\r\nGET\r\n$536870913\r\n", b"$5\r\nhello\r\n",
    b"*1048577\r\n", b"*1\r\n$1048577000\r\n", b"*-9223372036854775808\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"MSG.POST user - TEXT \"\\x00\\xff\"\r\n",
]


def garble(chance):
    """Commands with a few bytes changed, cut, doubled, or nothing but noise."""
    if chance.random() < 0.3:
        return chance.choice(SPECIAL)
    if chance.random() < 0.2:
        return chance.randbytes(chance.randint(1, 3000))
    data = bytearray(b"".join(encode(chance.choice(COMMANDS)) for _ in range(chance.randint(1, 5))))
    for _ in range(chance.randint(1, 6)):
        at = chance.randrange(len(data))
        kind = chance.random()
        if kind < 0.5:
            data[at] = chance.randrange(256)
        elif kind < 0.7:
            del data[at:at + chance.randint(1, 10)]
        elif kind < 0.9:
            data[at:at] = data[at:at + chance.randint(1, 20)]
        else:
            del data[at + 1:]
        if not data:
            break
    return bytes(data)


def say_and_listen(port, data, pieces):
    """Sends the bytes, ends the stream, and reads until the server has ended it too."""
    with socket.create_connection(("127.0.0.1", port), 20) as peer:
        try:
            for piece in pieces:
                peer.sendall(data[:piece])
                data = data[piece:]
            peer.sendall(data)
            peer.shutdown(socket.SHUT_WR)
            while peer.recv(1 << 16):
                pass
        except ConnectionError:
            pass
        except OSError as reason:
            assert reason.errno == errno.ENOTCONN, reason


def garbage_on_the_port_harms_nobody(given):
    chance = random.Random(given.seed)
    with new_server(given) as server, Neighbour(server):
        for number in range(given.garbage):
            data = garble(chance)
            pieces = sorted(chance.randint(0, 40) for _ in range(chance.randint(0, 3)))
            try:
                say_and_listen(server.port, data, pieces)
            except TimeoutError:
                raise AssertionError(f"number {number}: the server did not end {data!r}") from None
            assert server.process.poll() is None, f"number {number}: {data!r} ended the server"
        given.build.check(server.directory)


def claims_of_length_take_no_memory(given):
    """A command that says it is long costs what has arrived of it; past its limit it is refused."""
    with new_server(given) as server, server.client() as client:
        client.must("PING")
        before = server.memory()
        peers = [server.client() for _ in range(200)]
        for peer in peers[:100]:
            peer.send_raw(b"*3\r\n$7\r\nOBJ.PUT\r\n$1\r\nk\r\n$16000000\r\nabc")
        for peer in peers[100:]:
            peer.send_raw(b"*1000000\r\n$4\r\nPING\r\n")
        client.must("PING")
        grown = server.memory() - before
        assert grown < 16 * MIB, f"200 claims took {grown} bytes"
        for peer in peers:
            peer.close()
        with server.client() as peer:
            peer.send_raw(b"*3\r\n$7\r\nOBJ.PUT\r\n$1\r\nk\r\n$%d\r\n" % (16 * MIB))
            refused(peer.reply(), "TOOBIG", str(16 * MIB))
            try:
                peer.read()
                raise AssertionError("the connection goes on after a request that is too big")
            except Closed:
                pass
        client.must("PING")


# ---- many, and silent --------------------------------------------------------------------------

def ten_thousand_silent_connections_slow_nobody(given):
    """They cost little; a client among them works as before; one more than allowed is told so."""
    most = raise_file_limit()
    wanted = min(10000, most - 500)
    server = new_server(given, "--connections-max", str(wanted + 1))
    with server, server.client() as client:
        alone = post_rate(client)
        before = server.memory()
        silent = [socket.create_connection(("127.0.0.1", server.port), 20) for _ in range(wanted)]
        try:
            wait_until(lambda: b"connected_clients:%d\r\n" % (wanted + 1) in
                       client.must("INFO", "clients"), f"{wanted} connections")
            each = (server.memory() - before) / wanted
            among = post_rate(client)
            with server.client() as late:
                refused(late.reply(), "ERR", "max number of clients")
        finally:
            for peer in silent:
                peer.close()
    print(f"    {wanted} silent connections: {each:.0f} bytes each, {alone:.0f} posts/s alone, "
          f"{among:.0f} among them")
    assert each < 8 * KIB, f"{each:.0f} bytes for a silent connection"
    assert among > alone * 0.4, f"{among:.0f} posts/s among {wanted} connections, {alone:.0f} alone"


def a_client_that_never_reads_is_bounded(given):
    """It asks for 2 GB of replies and takes none of them."""
    with new_server(given) as server, Neighbour(server), server.client() as client:
        client.must("OBJ.PUT", "large", b"x" * 500000)
        before = server.memory()
        greedy = server.client(timeout=1)
        try:
            for _ in range(40):
                greedy.send_all([["OBJ.GET", "large"]] * 100)
        except (TimeoutError, Closed):
            pass
        for _ in range(20):
            time.sleep(0.02)
            grown = server.memory() - before
            assert grown < 80 * MIB, f"replies that nobody reads took {grown} bytes"
        greedy.close()
        wait_until(lambda: server.memory() - before < 8 * MIB, "its memory to be given back")


def held_by(client, name):
    """What the connections of this name hold, in bytes, each."""
    found = re.findall(rf" name={name} .* tot-mem=(\d+) ", client.must("CLIENT", "LIST").decode())
    return [int(bytes) for bytes in found]


def a_watcher_that_never_reads_costs_nothing(given):
    """Much is posted past watchers of messages and of objects that read nothing; then they read,
    and nothing was skipped."""
    with new_server(given) as server, server.client() as client:
        watcher = server.client(hello=3)
        watcher.must("CLIENT", "SETNAME", "silent")
        watcher.must("MSG.WATCH", "$", "TYPE", "U")
        objects = server.client(hello=3)
        objects.must("OBJ.WATCH", "")
        payload, clocks, before = "w" * 4000, [], 0
        for number in range(8 + given.megabytes // 4):
            if number == 8:
                before = server.memory()  # by now what the posts themselves take is there
            commands = [["MSG.POST", "user", "-", "TEXT", payload]] * 1000
            commands += [["OBJ.PUT", f"o{i}", payload + str(number)] for i in range(20)]
            clocks += client.pipeline(commands)[:1000]
        grown = server.memory() - before
        held = held_by(client, "silent")
        print(f"    {given.megabytes} MB past a silent watcher: RssAnon grew by {grown} bytes, "
              f"it holds {held}")
        assert grown < 2 * MIB, f"{given.megabytes} MB past a silent watcher took {grown} bytes"
        assert 30000 < held[0] < 64000, f"a silent watcher holds {held} bytes"
        for clock in clocks:
            seen = watcher.push()
            assert (seen[0], seen[1][0]) == (b"message", clock), f"expected {clock}: {seen[:40]}"
        last = {}
        newest = (payload + str(number)).encode()
        while len(last) < 20 or any(value != newest for value in last.values()):
            frame = objects.push()
            if frame[0] == b"object":
                last[frame[1]] = frame[2]


def silent_watchers_hold_what_is_said(given, count=200):
    """Each is stuck at a place of its own, so that the memory of the process tells them apart from
    what comes and goes."""
    path = scratch("unix") / "socket"  # takes less before it is full than TCP
    with new_server(given, "--listen", f"unix:{path}") as server, server.client() as client:
        posted = []
        for _ in range(count):
            posted += client.pipeline([["MSG.POST", "user", "-", "TEXT", "s" * 200]] * 400)
        with server.client(hello=3) as reader:  # fills the cache that all watchers share
            reader.must("MSG.WATCH", "-")
            while reader.push()[1][0] < posted[-1]:
                pass
        before = server.memory()
        silent = [socket.socket(socket.AF_UNIX) for _ in range(count)]
        for number, peer in enumerate(silent):
            peer.connect(str(path))
            peer.sendall(b"CLIENT SETNAME silent\r\nMSG.WATCH %d\r\n" % posted[number * 400])
        wait_until(lambda: sum(held > 30000 for held in held_by(client, "silent")) >= count - 20,
                   "the watchers to be stuck")
        said, grown = sum(held_by(client, "silent")), server.memory() - before
        print(f"    {count} silent watchers: {said} bytes by CLIENT LIST, RssAnon grew by {grown}")
        assert abs(grown - said) < MIB, f"{grown} bytes, said were {said}"
        for peer in silent:
            peer.close()


def a_thousand_watchers_see_one_sequence(given, count=1000, posts=300):
    """Byte for byte, whoever reads at once and whoever comes late."""
    raise_file_limit()
    with new_server(given) as server, server.client() as client:
        watchers = [server.client(hello=3) for _ in range(count)]
        for watcher in watchers:
            equal(watcher.must("MSG.WATCH", 1), 1, "the start of a watch")
        began = time.monotonic()
        chance = random.Random(given.seed)
        for _ in range(posts // 10):
            client.pipeline([["MSG.POST", "user", "-", "TEXT", "s" * chance.randint(0, 2000)]
                             for _ in range(10)])
        with server.client(hello=3) as first:
            first.must("MSG.WATCH", 1)
            began_at = first.received - len(first.buffer) + first.at
            frames = [first.push() for _ in range(posts)]
            size = first.received - len(first.buffer) + first.at - began_at
        clocks = [frame[1][0] for frame in frames]
        assert clocks == sorted(set(clocks)), f"out of order: {clocks}"
        equal([frame[1] for frame in frames], read_box(client), "the watch and the box")
        digests = read_streams(watchers, size)
        print(f"    {count} watchers, {posts} messages: {time.monotonic() - began:.2f} s")
        equal(len(set(digests)), 1, f"different streams for {count} watchers")


def read_streams(watchers, size):
    """The hash of what each watcher is sent, so many bytes."""
    selector = selectors.DefaultSelector()
    state = {}
    for watcher in watchers:
        state[watcher] = bytearray(watcher.buffer[watcher.at:])
        selector.register(watcher.socket, selectors.EVENT_READ, watcher)
    waiting = set(watchers)
    deadline = time.monotonic() + 60
    while waiting:
        assert time.monotonic() < deadline, f"{len(waiting)} watchers did not get everything"
        for key, _ in selector.select(1):
            watcher = key.data
            data = watcher.socket.recv(1 << 18)
            assert data, "a watcher was closed"
            state[watcher] += data
            if len(state[watcher]) >= size:
                waiting.discard(watcher)
    selector.close()
    return [hashlib.sha256(data).hexdigest() for data in state.values()]


# ---- limits ------------------------------------------------------------------------------------

def a_post_of_one_mebibyte_is_taken_and_one_byte_more_is_not(given):
    with new_server(given) as server, server.client() as client:
        fits = b"m" * (MIB - 5)
        equal(len(cbor.head(3, len(fits))) + len(fits), MIB, "the size of the item")
        clock = client.must("MSG.POST", "user", "-", "TEXT", fits)
        refused(client.call("MSG.POST", "user", "-", "TEXT", fits + b"m"), "TOOBIG", str(MIB))
        found = client.must("MSG.READ", clock)
        equal(len(found), 1, "messages")
        assert cbor.decode(found[0][6]).encode() == fits, "the message came back different"
        put = client.must("OBJ.PUT", "k", b"v" * MIB)
        refused(client.call("OBJ.PUT", "k", b"v" * (MIB + 1)), "TOOBIG", str(MIB))
        equal(client.must("OBJ.GET", "k"), [b"v" * MIB, put, put], "the object")
        refused(client.call("OBJ.PUT", b"k" * 481, "v"), "TOOBIG", "480")
        equal(client.must("CLOCK.GET"), put, "the clock after what was refused")


def deep_nesting_is_refused(given):
    """128 levels are taken, in CBOR as in JSON; one more, or a million, is refused."""
    with new_server(given) as server, server.client() as client:
        def cbor_arrays(depth):
            return b"\x81" * (depth - 1) + b"\x80"

        def cbor_tags(depth):
            return b"\xc1" * depth + b"\x00"

        def json_arrays(depth):
            return b"[" * depth + b"]" * depth

        def json_maps(depth):
            return b'{"a":' * (depth - 1) + b"{}" + b"}" * (depth - 1)

        def post(kind, payload):
            return client.call("MSG.POST", "user", "-", kind, payload)
        for make, kind in ((cbor_arrays, "CBOR"), (json_arrays, "JSON"), (json_maps, "JSON")):
            clock = post(kind, make(128))
            assert isinstance(clock, int), f"{make.__name__}, 128 levels: {clock}"
            read = client.must("MSG.READ", clock, "JSON")
            assert read[0][6].count(b"[") + read[0][6].count(b"{") == 128, read
            refused(post(kind, make(129)), "BAD" + kind)
            refused(post(kind, make(150000)), "BAD" + kind)
        refused(post("CBOR", cbor_tags(500000)), "BADCBOR")
        for broken in (b"", b"\x81", b"\x00\x00", b"\xff", b"\x5f\x41", b"\x1c",
                       b"\x7a\xff\xff\xff\xff"):
            refused(post("CBOR", broken), "BADCBOR")
        for broken in (b"", b"[", b"1 2", b'{"a"}', b'"\xff"', b"nul", b'"\\ud800"'):
            refused(post("JSON", broken), "BADJSON")


def a_clock_far_ahead_is_refused(given):
    jump = 1 << 32
    with new_server(given) as server, server.client() as client:
        now = client.must("MSG.POST", "user", "-", "TEXT", "first")
        for ahead in (now + jump + 1, 1 << 62, (1 << 63) - 1, (1 << 64) - 1):
            refused(client.call("MSG.POST", "user", "-", "CLOCK", ahead, "TEXT", "x"), "CLOCKJUMP")
            refused(client.call("CLOCK.WITNESS", ahead), "CLOCKJUMP")
        refused(client.call("MSG.POST", "user", "-", "CLOCK", 1 << 64, "TEXT", "x"), "ERR")
        equal(client.must("CLOCK.GET"), now, "the clock after what was refused")
        clock = client.must("MSG.POST", "user", "-", "CLOCK", now + jump, "TEXT", "x")
        equal(clock, now + jump + 1, "the clock after the largest jump")
        equal(client.must("CLOCK.WITNESS", clock + jump), clock + jump + 1, "the clock witnessed")
        refused(client.call("CLOCK.NEXT", (1 << 20) + 1), "ERR")
        equal(pairs(client.must("MSG.INFO"))["newest"], clock, "the newest message")
        server.stop()
        given.build.check(server.directory)


TESTS = [
    garbage_on_the_port_harms_nobody,
    claims_of_length_take_no_memory,
    ten_thousand_silent_connections_slow_nobody,
    a_client_that_never_reads_is_bounded,
    a_watcher_that_never_reads_costs_nothing,
    silent_watchers_hold_what_is_said,
    a_thousand_watchers_see_one_sequence,
    a_post_of_one_mebibyte_is_taken_and_one_byte_more_is_not,
    deep_nesting_is_refused,
    a_clock_far_ahead_is_refused,
]

if __name__ == "__main__":
    report.run(TESTS, report.arguments(__doc__, garbage=3000, megabytes=60))
