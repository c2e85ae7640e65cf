#!/usr/bin/python3
"""Two lockstepd and four embedded processes write to one directory at once.

There is one order: no clock is given twice, and every watcher, in whichever process, sees the same
sequence, soon. A process that is killed at a random moment blocks nobody, and what it was promised
is there.
"""

import os
import random
import statistics
import subprocess
import sys
import threading
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from lib import cbor, report  # noqa: E402
from lib.process import Program, Server, scratch, wait_until  # noqa: E402
from lib.resp import Closed, Error, read_box  # noqa: E402


class Embedded(Program):
    """A process of poster.c."""

    def __init__(self, given, directory, *command):
        super().__init__([given.build.poster, f"lmdb:{directory}", *command])

    def posts(self):
        """Text and clock of each post that was answered."""
        return {line[2]: int(line[1]) for line in self.lines if line[0] == "post"}

    def ranges(self):
        return [(int(line[1]), int(line[2])) for line in self.lines if line[0] == "next"]

    def seen(self):
        return [(int(line[1]), line[2].strip('"')) for line in self.lines if line[0] == "seen"]


class Served(threading.Thread):
    """Posts through a server, in small pipelines, until told to stop or the server is gone."""

    def __init__(self, server, name):
        super().__init__(daemon=True)
        self.server = server
        self.title = name
        self.over = threading.Event()
        self.answered = {}
        self.firsts = []
        self.fault = None

    def run(self):
        try:
            with self.server.client() as client:
                number = 0
                while not self.over.is_set():
                    number = self.step(client, number)
        except (Closed, ConnectionRefusedError):
            pass
        except Exception as reason:  # pylint: disable=broad-except
            self.fault = reason

    def step(self, client, number):
        texts = [f"{self.title}.{number + i}" for i in range(4)]
        client.send_all([["MSG.POST", "user", "-", "TEXT", text] for text in texts]
                        + [["CLOCK.NEXT", 2]])
        for text in texts:
            clock = client.reply()
            assert not isinstance(clock, Error), clock
            self.answered[text] = clock
        self.firsts.append((client.reply(), 2))
        return number + len(texts)

    def posts(self):
        return self.answered

    def ranges(self):
        return self.firsts

    def end(self):
        self.over.set()
        self.join(20)
        assert not self.is_alive(), f"{self.title} hangs"
        assert self.fault is None, f"{self.title}: {self.fault!r}"


def box_of(server):
    """Clock and text of each user message, in order."""
    with server.client() as client:
        messages = read_box(client)
    return [(message[0], cbor.decode(message[6])) for message in messages if message[1] == b"U"]


def audit(box, writers):
    """What the writers were promised is in the box, once, and no clock was given to two."""
    clocks = [clock for clock, _ in box]
    assert all(one < next_ for one, next_ in zip(clocks, clocks[1:])), "the box is out of order"
    texts = {text: clock for clock, text in box}
    assert len(texts) == len(box), "a message is there twice"
    given = dict(box)
    for writer in writers:
        for text, clock in writer.posts().items():
            assert texts.get(text) == clock, \
                f"{text}: promised at {clock}, found at {texts.get(text)}"
        for first, count in writer.ranges():
            for clock in range(first, first + count):
                assert clock not in given, \
                    f"clock {clock} is of CLOCK.NEXT {first} and of {given[clock]}"
                given[clock] = f"CLOCK.NEXT {first}"
    for name in {text.split(".")[0] for text in texts}:
        numbers = [int(text.split(".")[1]) for _, text in box if text.split(".")[0] == name]
        assert numbers == list(range(len(numbers))), f"{name}: {numbers[:20]} is not in order"


def six_writers_make_one_order(given):
    """Two servers, four embedded processes; a watcher through each server and in two processes."""
    directory = scratch("shared") / "data"
    with Server(given.build, directory) as one, Server(given.build, directory) as two:
        followers = [server.client(hello=3) for server in (one, two)]
        for follower in followers:
            follower.must("MSG.WATCH", 1, "TYPE", "U")
        watchers = [Embedded(given, directory, "watch", "1") for _ in range(2)]
        posters = [Embedded(given, directory, "post", f"e{i}", "0", "0") for i in range(4)]
        served = [Served(server, f"s{i}") for i, server in enumerate((one, two))]
        for writer in served:
            writer.start()
        time.sleep(given.seconds)
        for writer in served:
            writer.end()
        for poster in posters:
            poster.kill()
        box = box_of(one)
        assert box == box_of(two), "the two servers do not have the same box"
        audit(box, posters + served)
        assert all(writer.posts() for writer in posters + served), "a writer had no turn"
        for watcher in watchers:
            wait_until(lambda w=watcher: len(w.seen()) >= len(box),
                       "an embedded watcher to see all")
            assert watcher.seen() == box, "an embedded watcher saw something else"
            watcher.kill()
        for follower in followers:
            pushes = [follower.push()[1] for _ in box]
            assert [(push[0], cbor.decode(push[6])) for push in pushes] == box, \
                "a watcher through a server saw something else"
        one.stop()
        two.stop()
    given.build.check(directory)
    print(f"    {len(box)} messages by 6 writers: " + ", ".join(
        str(len(writer.posts())) for writer in posters + served))


def waiters_in_every_process_wake(given):
    """Single posts from each process; every watcher in every process has each soon."""
    directory = scratch("wake") / "data"
    with Server(given.build, directory) as one, Server(given.build, directory) as two:
        watchers = [Embedded(given, directory, "watch", "1") for _ in range(3)]
        for watcher in watchers:
            wait_until(lambda w=watcher: w.lines, "a watcher to start")
        times = {}
        delays = []
        for number in range(30):
            server = (one, two)[number % 2]
            if number % 3 == 2:
                embedded_post(given, directory, number, times)
            else:
                with server.client() as client:
                    began = time.monotonic_ns()
                    times[client.must("MSG.POST", "user", "-", "TEXT", f"w{number}.0")] = began
            delays += server_delay((one, two), max(times), times)
            time.sleep(0.01)
        for watcher in watchers:
            wait_until(lambda w=watcher: len(w.seen()) >= len(times), "a watcher to see all")
            delays += [int(line[3]) - times[int(line[1])] for line in watcher.lines
                       if line[0] == "seen"]
            watcher.kill()
    print(f"    from before a post to its sight elsewhere: median "
          f"{statistics.median(delays) / 1e6:.1f} ms, longest {max(delays) / 1e6:.1f} ms "
          f"of {len(delays)}")
    assert max(delays) < 1e9, f"a waiter woke after {max(delays) / 1e6:.0f} ms"
    assert statistics.median(delays) < 100e6, f"waiters wake after {statistics.median(delays)} ns"


def embedded_post(given, directory, number, times):
    command = [given.build.poster, f"lmdb:{directory}", "post", f"w{number}", "1", "0"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
    line = done.stdout.split()
    times[int(line[1])] = int(line[3])


def server_delay(servers, clock, times):
    """How long until a blocked read on each server has the message."""
    delays = []
    for server in servers:
        with server.client() as client:
            found = client.must("MSG.READ", clock, "BLOCK", 5000)
            assert found and found[0][0] == clock, f"a blocked read of {clock}: {found}"
            delays.append(time.monotonic_ns() - times[clock])
    return delays


def a_killed_process_blocks_nobody(given):
    """kill -9 of a random one of six writers, over and over; the others go on at once."""
    chance = random.Random(given.seed)
    directory = scratch("killed") / "data"
    writers, dead, longest = [], [], 0
    with Server(given.build, directory) as keeper:
        other = Server(given.build, directory).start()
        witness = Served(keeper, "witness")
        witness.start()
        for i in range(4):
            writers.append(Embedded(given, directory, "post", f"k{i}", "0", "0"))
        through = Served(other, "t0")
        through.start()
        for number in range(given.kills):
            time.sleep(chance.uniform(0.01, 0.15))
            if number % 5 == 4:
                other.kill()
                through.end()
                dead.append(through)
                longest = max(longest, progress(witness, writers))
                other.start()
                through = Served(other, f"t{number}")
                through.start()
            else:
                victim = writers.pop(chance.randrange(len(writers)))
                victim.kill()
                dead.append(victim)
                longest = max(longest, progress(witness, writers))
                writers.append(Embedded(given, directory, "post", f"n{number}", "0", "0"))
        for writer in writers:
            writer.kill()
        witness.end()
        through.end()
        other.stop()
        audit(box_of(keeper), writers + dead + [witness, through])
        keeper.stop()
    given.build.check(directory)
    print(f"    {given.kills} kills; the others went on after at most {longest * 1000:.0f} ms")


def progress(witness, writers):
    """How long until the witness and every other writer have posted again."""
    began = time.monotonic()
    counts = [(writer, len(writer.posts())) for writer in [witness, *writers]]
    for writer, count in counts:
        wait_until(lambda w=writer, c=count: len(w.posts()) > c,
                   "a writer to go on after another was killed", 10)
    return time.monotonic() - began


TESTS = [
    six_writers_make_one_order,
    waiters_in_every_process_wake,
    a_killed_process_blocks_nobody,
]

if __name__ == "__main__":
    report.run(TESTS, report.arguments(__doc__, seconds=1.5, kills=15))
