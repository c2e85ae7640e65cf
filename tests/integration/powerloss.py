#!/usr/bin/python3
"""Power loss at random moments under load, many images from each load.

A lockstepd runs on a disk that logs what reaches it, from the making of its directory on; for each
answer the place in that log is written down. Then directories are built as a power loss at some
place may have left them: what was flushed is there, of the rest anything, whole, cut or not. On
each, `lockstep check` finds nothing wrong, a server opens it, every write that was answered before
the place is there, none twice and none torn, no clock is behind what was given out, and numbered
posts go on where they were. The power also fails while what it left is being recovered.
"""

import os
import random
import shutil
import subprocess
import sys
import time
import uuid

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from lib import load, report  # noqa: E402
from lib.disk import Disk  # noqa: E402
from lib.ledger import Audit, Ledger, View  # noqa: E402
from lib.process import Server, scratch  # noqa: E402

IMAGES_EACH = 100


def record(given, seed):
    """A load on a logging disk: the ledger, the log, and the directory it came from."""
    room = scratch("powerloss")
    log = room / "log"
    (room / "disk").mkdir()
    log.touch()
    ledger = Ledger(place=lambda: os.stat(log).st_size)
    load.Trimmer.keep = 400
    environment = {"LD_PRELOAD": given.build.disk, "DISK_DIR": room / "disk", "DISK_LOG": log}
    with Server(given.build, room / "disk" / "data", environment=environment) as server:
        running = load.Load(server.port, ledger, "0", seed).start()
        time.sleep(given.seconds)
        running.end(stop=True)
        if seed % 2:
            server.stop()
    return ledger, log, room


def numbered(client, ledger, view):
    """The last number of each node is that of its newest post."""
    for name, host in ledger.hosts.items():
        if not host:
            continue
        there = [int(post.tag.split(".")[1]) for post in ledger.lanes[name]
                 if post.tag in view.posts]
        last = client.must("NODE.JOIN", host, "ID", uuid.uuid5(uuid.NAMESPACE_DNS, host))[2]
        if there:
            assert last == max(there), f"{host}: the last number is {last}, posted is {max(there)}"


def examine(given, directory, ledger, place):
    """One image."""
    if not (directory / "data.mdb").exists():
        top = min((post.place for post in ledger.posts.values() if post.place), default=place)
        assert place < top, "there is no store, but writes had been answered"
    else:
        given.build.check(directory)
    with Server(given.build, directory) as server:
        with server.client() as client:
            view = Audit(ledger, View(client), place).run()
            numbered(client, ledger, view)
        server.kill()
    given.build.check(directory)


def has_round(directory):
    """Whether commits are in the redo log that may be nowhere else."""
    log = directory / "redo"
    return log.exists() and int.from_bytes(log.read_bytes()[12:16], sys.byteorder) > 0


def lose_again(given, image, chance):
    """Opens an image, and cuts the power at a random moment of that."""
    log = image.parent / "log again"
    log.touch()
    disk = Disk(log, image)
    environment = {**os.environ, "LD_PRELOAD": given.build.disk, "DISK_DIR": image, "DISK_LOG": log}
    subprocess.run([given.build.lockstep, "check", image / "data"], env=environment, timeout=60,
                   stdout=subprocess.DEVNULL, check=True)
    places = disk.places()
    if places:
        disk.play(chance.choice(places))
    shutil.rmtree(image)
    disk.write(image, chance)
    log.unlink()
    return len(places)


def run(given, seed, images):
    """One load and the images of it."""
    ledger, log, room = record(given, seed)
    chance = random.Random(seed)
    disk = Disk(log)
    places = disk.places()
    early = places[:min(len(places), 60)]  # the making of the store
    chosen = sorted(chance.choice(early if number % 10 == 0 else places)
                    for number in range(images))
    rounds = 0
    for number, place in enumerate(chosen):
        disk.play(place)
        image = room / "image"
        mode = disk.write(image, chance)
        rounds += has_round(image / "data")
        try:
            if number % 2 and (image / "data").exists():
                for name in ("lock.mdb", "wake"):  # mapped: anything may be in them
                    shutil.copy(room / "disk/data" / name, image / "data" / name)
            if number % 3 == 0 and (image / "data/data.mdb").exists():
                while lose_again(given, image, chance) > 2 and chance.random() < 0.5:
                    continue
            examine(given, image / "data", ledger, place)
        except Exception as reason:
            raise AssertionError(f"seed {seed}, image {number} at {place} of {places[-1]} "
                                 f"({mode}): {reason}") from reason
        shutil.rmtree(image)
    shutil.rmtree(room)
    return len(ledger.given), rounds


def main():
    given = report.arguments(__doc__, images=100, seconds=0.3)
    done = clocks = rounds = 0
    # A busy machine commits little in its time, and little of that by the log.
    while done < given.images or (rounds <= done // 4 and done < 4 * given.images):
        count = min(IMAGES_EACH, max(given.images - done, given.images // 4))
        more = run(given, given.seed + done, count)
        clocks, rounds, done = clocks + more[0], rounds + more[1], done + count
    assert rounds > given.images // 8, f"only {rounds} of {done} power losses left commits in the log"
    print(f"{done} power losses under load, {rounds} with commits in the redo log: of {clocks} "
          f"clocks given out nothing promised was lost (seed {given.seed})")


if __name__ == "__main__":
    main()
