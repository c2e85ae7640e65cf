#!/usr/bin/python3
"""Stores that are full, closed or damaged.

Where there is no space - quota, map, disk - what adds is refused with a sentence that names the
limit, what frees and what reads goes on, nothing promised is lost, and all works again once there
is space, without a restart. A directory that cannot be written, is of a newer format, is cut short or
garbage is refused with a clear sentence; nothing hangs, and nothing that was promised is taken back
in silence.
"""

import copy
import os
import random
import re
import shutil
import struct
import subprocess
import sys
import threading
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from lib import cbor, report  # noqa: E402
from lib.ledger import content  # noqa: E402
from lib.process import Server, is_root, scratch, wait_until  # noqa: E402
from lib.report import equal, refused  # noqa: E402
from lib.resp import Closed, Error, pairs, read_box  # noqa: E402

MIB = 1024 * 1024
NOBODY = 65534


# ---- limits ------------------------------------------------------------------------------------

class Filler:
    """Fills a server to its limit and knows what is in it."""

    def __init__(self, client, seed):
        self.client = client
        self.random = random.Random(seed)
        self.posts = {}   # clock: text
        self.objects = {}
        self.versions = {}
        self.sent = 0

    def fill(self, limit=1 << 30):
        """Posts, puts and runs transactions until all of a pipeline are refused; the last refusal."""
        while True:
            batch = []
            for _ in range(8):
                self.sent += 1
                text = content(f"m{self.sent}", self.random.choice((50, 900, 9000, 20000)))
                batch.append((f"k{self.sent}".encode(), text))
            commands = [command for key, text in batch for command in (
                ["MSG.POST", "user", "-", "TEXT", text], ["OBJ.PUT", key, text],
                ["TXN.RUN", 2, "PUT", key, text[:900], "INCRBY", "sum", len(text[:900])])]
            replies = self.client.pipeline(commands)
            for (key, text), posted, put, ran in zip(batch, *(replies[i::3] for i in range(3))):
                self.answered(posted, self.posts, posted, text)
                self.answered(put, self.objects, key, (text.encode(), put))
                self.answered(ran, self.versions, key, text[:900].encode())
            if all(isinstance(reply, Error) for reply in replies):
                return replies[-1]
            assert self.sent < limit, "it never gets full"

    @staticmethod
    def answered(reply, records, key, record):
        if isinstance(reply, Error):
            refused(reply, "NOSPACE")
        else:
            records[key] = record

    def has_room(self):
        return not isinstance(self.client.call("MSG.POST", "user", "-", "TEXT", "probe"), Error)

    def verify(self):
        """All that was promised, but for what was trimmed, is there, and nothing else of ours."""
        box = {message[0]: cbor.decode(message[6])
               for message in read_box(self.client, only=["TYPE", "U"])}
        oldest = pairs(self.client.must("MSG.INFO"))["oldest"]
        for clock, text in self.posts.items():
            if clock >= oldest:
                assert box.get(clock) == text, f"clock {clock}: {str(box.get(clock))[:40]}"
        strangers = [clock for clock in box if clock not in self.posts and box[clock] != "probe"]
        assert not strangers, f"refused posts are in the box: {strangers}"
        for key, (value, modified) in self.objects.items():
            found = self.client.must("OBJ.GET", key)
            assert found and (found[0], found[2]) == (value, modified), f"object {key}: {found}"
        keys = sorted(self.versions)
        for at in range(0, len(keys), 500):
            some = keys[at:at + 500]
            equal(self.client.must("TXN.GET", *some), [self.versions[key] for key in some],
                  "what transactions wrote")
        if keys:
            total = sum(len(value) for value in self.versions.values())
            equal(int(self.client.must("TXN.GET", "sum")[0]), total, "the sum of transactions")

    def free(self):
        """Deletes and trims while nothing can be added; each of them must go on."""
        client = self.client
        for key in self.random.sample(sorted(self.objects), len(self.objects) // 2):
            assert client.must("OBJ.DEL", key) > 0
            del self.objects[key]
        clocks = sorted(self.posts)
        before = clocks[len(clocks) * 3 // 4]
        assert client.must("MSG.TRIM", "BEFORE", before) > 0, "nothing was trimmed"
        equal(client.must("MSG.READ", "-", "COUNT", 1)[0][0] >= before, True, "the trim")


def full_and_free(given, server, *words):
    """Full, refused with these words; reading, deleting, trimming and acknowledging go on; room
    again. Twice, because what a full store keeps back must come back as well."""
    with server.client() as client:
        node = server.client()
        node.must("NODE.JOIN", "worker", "TTL", 600000)
        tellers = server.client()
        filler = Filler(client, given.seed)
        for _ in range(2):
            begun = tellers.must("TXN.BEGIN", "MAY", 1, "undecided")[0]
            reason = filler.fill(60000)
            refused(reason, "NOSPACE", *words)
            refused(client.call("TXN.RUN", 1, "PUT", "large", "y" * 100000), "NOSPACE", *words)
            equal(tellers.must("TXN.ABORT", begun), b"OK", "giving up on a full store")
            clock = client.must("CLOCK.GET")
            refused(client.call("MSG.POST", "user", "-", "TEXT", "y" * 100000), "NOSPACE", *words)
            equal(client.must("CLOCK.GET"), clock, "the clock after what was refused")
            filler.verify()
            assert node.must("NODE.ACK", clock) >= clock
            assert node.must("NODE.BEAT") >= clock
            filler.free()
            wait_until(filler.has_room, "room after deletes and a trim")
            filler.verify()
        node.must("NODE.LEAVE")
        tellers.close()
        return filler


def a_full_quota_refuses_and_recovers(given):
    directory = scratch("quota") / "data"
    with Server(given.build, directory, "--quota", "6mb") as server:
        filler = full_and_free(given, server, "quota", str(6 * MIB))
        with server.client() as client:
            filler.client = client
            refused(filler.fill(60000), "NOSPACE", "quota")
            client.must("CONFIG", "SET", "quota", "10mb")
            assert filler.has_room(), "the quota was raised, but there is no room"
            refused(filler.fill(60000), "NOSPACE", str(10 * MIB))
            used = (directory / "data.mdb").stat().st_size
            assert used <= 10 * MIB, f"a quota of 10 MiB, but {used} bytes on disk"
            filler.verify()
        server.stop()
        given.build.check(directory)
    with Server(given.build, directory) as server, server.client() as client:
        filler.client = client
        filler.verify()
        assert filler.has_room(), "no room without a quota"


def a_full_map_refuses_and_recovers(given):
    directory = scratch("map") / "data"
    with Server(given.build, directory, "--map-size", "5mb") as server:
        filler = full_and_free(given, server, "map", str(5 * MIB))
        server.stop()
    given.build.check(directory)
    with Server(given.build, directory) as server, server.client() as client:
        filler.client = client
        filler.verify()
        assert filler.has_room(), "no room in a larger map"


class Space:
    """A disk of so many bytes for a directory, which can be made larger and smaller."""

    def __init__(self, given, size):
        self.room = scratch("disk")
        self.file = self.room / "space"
        (self.room / "disk").mkdir()
        self.directory = self.room / "disk/data"
        self.file.write_bytes(bytes(8))
        self.set(size)
        self.environment = {"LD_PRELOAD": given.build.disk, "DISK_DIR": self.room / "disk",
                            "DISK_SPACE": self.file}

    def set(self, size):
        with open(self.file, "r+b") as file:
            file.write(struct.pack("=Q", size))


def a_full_disk_refuses_and_recovers(given):
    """And a server can be stopped and started on it while it is full."""
    space = Space(given, 8 * MIB)
    with Server(given.build, space.directory, environment=space.environment) as server:
        filler = full_and_free(given, server, "disk")
        with server.client() as client:
            filler.client = client
            refused(filler.fill(60000), "NOSPACE", "disk")
            server.stop()
        given.build.check(space.directory)
        server.start()
        with server.client() as client:
            filler.client = client
            filler.verify()
            filler.free()
            wait_until(filler.has_room, "room after a restart on a full disk")
            refused(filler.fill(60000), "NOSPACE", "disk")
            space.set(12 * MIB)
            wait_until(filler.has_room, "room on a disk that was made larger")
            filler.verify()
        server.stop()
    given.build.check(space.directory)


def a_disk_that_fills_and_empties_under_load_loses_nothing(given):
    """Somebody else takes the space and gives it back, again and again; every post is either
    answered, and there, or refused as NOSPACE."""
    space = Space(given, 64 * MIB)
    chance = random.Random(given.seed)
    with Server(given.build, space.directory, environment=space.environment) as server:
        over = threading.Event()
        posters = [Steady(server, f"d{i}", over) for i in range(4)]
        for poster in posters:
            poster.start()
        for number in range(200):
            if number >= 12 and any(poster.refused for poster in posters):
                break
            used = sum(path.stat().st_size for path in space.directory.iterdir())
            space.set(max(0, used + chance.choice((-MIB, 0, 4096, 100000))))
            time.sleep(chance.uniform(0.05, 0.12))
            space.set(used + 64 * MIB)
            time.sleep(chance.uniform(0.02, 0.08))
        over.set()
        for poster in posters:
            poster.join(20)
            assert not poster.is_alive() and poster.fault is None, f"{poster.fault!r}"
        with server.client() as client:
            box = {message[0]: cbor.decode(message[6]) for message in read_box(client)}
        answered = {clock: text for poster in posters for clock, text in poster.answered.items()}
        assert box == answered, "the box is not what was answered"
        refusals = sum(poster.refused for poster in posters)
        print(f"    {len(box)} posts answered, {refusals} refused")
        assert refusals > 0, "the disk never got full"
        server.stop()
    given.build.check(space.directory)


class Steady(threading.Thread):
    """Posts in pipelines and takes NOSPACE for an answer."""

    def __init__(self, server, name, over):
        super().__init__(daemon=True)
        self.client = server.client()
        self.title = name
        self.over = over
        self.answered = {}
        self.refused = 0
        self.fault = None

    def run(self):
        try:
            number = 0
            while not self.over.is_set():
                texts = [content(f"{self.title}.{number + i}", 4000) for i in range(16)]
                number += 16
                for text, reply in zip(texts, self.client.pipeline(
                        [["MSG.POST", "user", "-", "TEXT", text] for text in texts])):
                    if isinstance(reply, Error):
                        refused(reply, "NOSPACE", "disk")
                        self.refused += 1
                    else:
                        self.answered[reply] = text
        except Exception as reason:  # pylint: disable=broad-except
            self.fault = reason


# ---- directories that are refused --------------------------------------------------------------

def fresh_store(given, posts=400):
    """A directory with some of everything, and what is in it. Made without flushing, so that the
    redo log is not used: its rounds leave many pages free, and what befalls these is no damage."""
    directory = scratch("store") / "data"
    with Server(given.build, directory, "--sync", "no") as server, server.client() as client:
        filler = Filler(client, given.seed)
        for number in range(posts):
            text = content(f"m{number}", filler.random.choice((30, 300, 300, 9000)))
            filler.posts[client.must("MSG.POST", "user", "-", "TEXT", text)] = text
            if number % 4 == 0:
                key = f"k{number}".encode()
                filler.objects[key] = (text.encode(), client.must("OBJ.PUT", key, text))
        server.stop()
    return directory, filler


def must_refuse(given, directory, *words, user=None):
    """A server on it ends soon, with 1 and a sentence that has the words (any case)."""
    server = Server(given.build, directory, user=user).spawn()
    try:
        code = server.ended(20)
        log = server.log()
        assert code == 1, f"lockstepd ended with {code}, expected 1:\n{log}"
        for word in words:
            assert word.lower() in log.lower(), f"expected '{word}' in:\n{log}"
    finally:
        server.kill()


def cli_refuses(given, *args, words=()):
    done = given.build.cli(*args)
    said = done.stdout + done.stderr
    assert done.returncode == 1, f"lockstep {args}: exit {done.returncode}, expected 1\n{said}"
    for word in words:
        assert word.lower() in said.lower(), f"lockstep {args}: expected '{word}' in:\n{said}"


def a_directory_that_cannot_be_written_is_refused(given):
    """For lack of rights: by everybody, since even a reader takes its place in the lock file."""
    directory, _ = fresh_store(given, 40)
    user = NOBODY if is_root() else None
    given = copy.copy(given)
    given.build = given.build.where_all_may_read(directory.parent)
    directory.parent.chmod(0o755)
    directory.chmod(0o555)
    for path in directory.iterdir():
        path.chmod(0o444)
    must_refuse(given, directory, "permission denied", str(directory), user=user)
    done = subprocess.run([str(given.build.lockstep), "check", str(directory)], capture_output=True,
                          text=True, user=user, timeout=60, check=False)
    equal(done.returncode, 1, f"lockstep check: {done.stdout}{done.stderr}")
    assert "permission denied" in done.stderr.lower() and str(directory) in done.stderr, done.stderr


def a_file_system_that_cannot_be_written_is_read(given):
    """A server refuses it; lockstep check and dump read it. Needs the right to mount."""
    directory, filler = fresh_store(given, 40)

    def inside(*command):
        script = 'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && exec "$@"'
        return subprocess.run(["unshare", "-m", "sh", "-c", script, directory, *map(str, command)],
                              capture_output=True, text=True, timeout=60, check=False)
    if inside("true").returncode != 0:
        print("    skipped: no right to mount")
        return
    done = inside(given.build.lockstepd, "--listen", "127.0.0.1:0", "--store", directory)
    equal(done.returncode, 1, f"lockstepd: {done.stderr}")
    assert "read-only file system" in done.stderr.lower(), done.stderr
    done = inside(given.build.lockstep, "--json", "check", directory)
    equal(done.returncode, 0, f"lockstep check: {done.stdout}{done.stderr}")
    assert f'"messages":{len(filler.posts) + len(filler.objects)},' in done.stdout, done.stdout
    done = inside(given.build.lockstep, "--url", f"lmdb:{directory}", "dump")
    equal(done.returncode, 0, f"lockstep dump: {done.stderr}")


def a_newer_format_is_refused(given):
    directory, _ = fresh_store(given, 10)
    done = subprocess.run([given.build.reformat, directory, "3"], capture_output=True, text=True,
                          timeout=20, check=False)
    equal(done.returncode, 0, done.stderr)
    must_refuse(given, directory, "format 3")
    cli_refuses(given, "--url", f"lmdb:{directory}", "clock", words=["format 3"])
    cli_refuses(given, "check", directory, words=["format"])
    subprocess.run([given.build.reformat, directory, "2"], timeout=20, check=True)
    given.build.check(directory)
    with Server(given.build, directory) as server:
        server.stop()


def a_file_cut_short_is_refused(given):
    directory, _ = fresh_store(given)
    data = directory / "data.mdb"
    whole = data.read_bytes()
    chance = random.Random(given.seed)
    used = int(pages_used(given, directory)) * 4096
    # The last pages may be free ones, whose loss is none; half of them never are.
    for size in [0, 1, 100, 4096, 8191, 8192, used // 2,
                 *(chance.randrange(used // 2) for _ in range(6))]:
        data.write_bytes(whole[:size])
        must_refuse(given, directory, "data.mdb")
        cli_refuses(given, "check", directory, words=["data.mdb"])
        equal(data.stat().st_size, size, "the size of a refused file")
        equal(data.read_bytes() == whole[:size], True, "a refused file is left as it is")


def pages_used(given, directory):
    """How far the file was ever used; what lies behind is room allocated ahead."""
    with Server(given.build, directory) as server, server.client() as client:
        info = client.must("INFO", "store").decode()
        server.stop()
    return int(re.search(r"bytes_file:(\d+)", info)[1]) // 4096


def garbage_for_a_data_file_is_refused(given):
    directory = scratch("garbage") / "data"
    directory.mkdir()
    data = directory / "data.mdb"
    chance = random.Random(given.seed)
    for bytes_ in (b"not a store at all\n" * 3000, chance.randbytes(100000), b"\0" * 65536,
                   b"SQLite format 3\0" + b"\0" * 8000):
        data.write_bytes(bytes_)
        must_refuse(given, directory, "data.mdb")
        cli_refuses(given, "check", directory, words=["data.mdb"])
        equal(data.read_bytes() == bytes_, True, "a refused file is left as it is")
    data.unlink()
    data.mkdir()
    must_refuse(given, directory, "data.mdb")
    plain = scratch("garbage") / "plain"
    plain.write_text("a file, not a directory")
    must_refuse(given, plain, str(plain))


# ---- damage ------------------------------------------------------------------------------------

def flip(whole, chance, kind):
    """A damaged copy: a few bits anywhere, or a page of zeros, of noise, or of another page."""
    data = bytearray(whole)
    if kind == "bits":
        for _ in range(chance.choice((1, 1, 3, 20))):
            at = chance.randrange(len(data))
            data[at] ^= 1 << chance.randrange(8)
        return bytes(data)
    page = chance.randrange(2, len(data) // 4096) * 4096
    other = chance.randrange(2, len(data) // 4096) * 4096
    data[page:page + 4096] = {"zeros": b"\0" * 4096, "noise": chance.randbytes(4096),
                              "moved": bytes(data[other:other + 4096])}[kind]
    return bytes(data)


def try_server(given, directory, number):
    """What a server makes of a damaged directory: refuses, serves, or crashes with a sentence."""
    server = Server(given.build, directory).spawn()
    try:
        try:
            wait_until(lambda: server.process.poll() is not None or "ready" in server.log(),
                       f"image {number}: lockstepd to start or to refuse", 20)
            server.may_end = True
            if server.process.poll() is None:
                use(server)
                server.process.terminate()
            code = server.ended(20)
        except (subprocess.TimeoutExpired, TimeoutError):
            raise AssertionError(f"image {number}: lockstepd hangs\n{server.log()}") from None
        log = server.log()
        if code < 0:
            assert "crashed" in log and "lockstep check" in log, \
                f"image {number}: it ended with {code} and no sentence:\n{log}"
            return "crashed"
        if code != 0:
            assert "error: " in log, f"image {number}: exit {code} and no sentence:\n{log}"
            return "refused"
        return "served"
    finally:
        server.kill()


def use(server):
    """Reads and writes everything; errors are fine, silence is not."""
    server._is_ready()
    try:
        with server.client(timeout=20) as client:
            since = "-"
            while True:
                some = client.call("MSG.READ", since, "COUNT", 100)
                if isinstance(some, Error) or not some:
                    break
                since = some[-1][0] + 1
            after = ""
            while True:
                rest = ["AFTER", after] if after else []
                some = client.call("OBJ.SCAN", "", *rest, "COUNT", 50)
                if isinstance(some, Error) or not some or some[-1][0] == after:
                    break
                after = some[-1][0]
            client.pipeline([["OBJ.PUT", f"k{number}", "again"] for number in range(0, 400, 4)])
            client.call("MSG.POST", "user", "-", "TEXT", "again")
            client.call("MSG.TRIM", "BEFORE", 200)
    except (Closed, ConnectionRefusedError):
        pass


def damage_is_refused_or_reported(given):
    """Flipped bits and broken pages: lockstep check says 1 or finds nothing wrong, and then all
    that was promised is there; a server refuses, answers, or crashes with a sentence; nothing
    hangs."""
    directory, filler = fresh_store(given)
    whole = (directory / "data.mdb").read_bytes()[:pages_used(given, directory) * 4096]
    chance = random.Random(given.seed)
    counts = {}
    for number in range(given.images):
        kind = ("bits", "bits", "zeros", "noise", "moved")[number % 5]
        (directory / "data.mdb").write_bytes(flip(whole, chance, kind))
        (directory / "lock.mdb").unlink(missing_ok=True)
        done = given.build.cli("check", directory)
        assert done.returncode in (0, 1), \
            f"image {number} ({kind}): exit {done.returncode}\n{done.stdout}{done.stderr}"
        if done.returncode == 1:
            assert done.stdout + done.stderr, f"image {number}: check said nothing"
        else:
            verify_clean(given, directory, filler, number)
        outcome = f"{'clean' if done.returncode == 0 else 'fault'}, " + \
            try_server(given, directory, number)
        counts[outcome] = counts.get(outcome, 0) + 1
    summary = "; ".join(f"{n} {what}" for what, n in sorted(counts.items()))
    print(f"    {given.images} images: {summary}")
    assert sum(n for what, n in counts.items() if what.startswith("fault")) > given.images // 4, \
        f"damage is hardly ever found: {counts}"


def verify_clean(given, directory, filler, number):
    """What check calls clean has all that was promised."""
    second = scratch("clean") / "data"
    shutil.copytree(directory, second)
    try:
        with Server(given.build, second) as server, server.client() as client:
            filler.client = client
            filler.verify()
    except (AssertionError, Closed) as reason:
        raise AssertionError(f"image {number}: check found nothing, but {reason}") from None
    shutil.rmtree(second.parent)


TESTS = [
    a_full_quota_refuses_and_recovers,
    a_full_map_refuses_and_recovers,
    a_full_disk_refuses_and_recovers,
    a_disk_that_fills_and_empties_under_load_loses_nothing,
    a_directory_that_cannot_be_written_is_refused,
    a_file_system_that_cannot_be_written_is_read,
    a_newer_format_is_refused,
    a_file_cut_short_is_refused,
    garbage_for_a_data_file_is_refused,
    damage_is_refused_or_reported,
]

if __name__ == "__main__":
    report.run(TESTS, report.arguments(__doc__, images=60))
