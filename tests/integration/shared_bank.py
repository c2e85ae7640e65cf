#!/usr/bin/python3
"""Embedded processes move money between the accounts of one directory, with no server.

One of them is killed again and again, mostly in the middle of a transfer. No money is made or lost
at any moment, every transfer that was answered is there, and whoever waited for the dead goes on.
"""

import os
import random
import subprocess
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from lib import report  # noqa: E402
from lib.process import Program, scratch, wait_until  # noqa: E402

ACCOUNTS = 6
AMOUNT = 1000
TTL_MS = 200


class Teller(Program):
    """A process of teller.c that moves money; it counts what was answered."""

    def __init__(self, given, directory, name):
        self.name = name
        self.moved = 0
        super().__init__([given.build.path / "tests/integration/teller", f"lmdb:{directory}",
                          "move", str(ACCOUNTS), name, str(random.randrange(1 << 30)),
                          str(TTL_MS)])

    def take(self, words):
        self.moved = int(words[1])


def run(given, directory, *args):
    return subprocess.run([given.build.path / "tests/integration/teller", f"lmdb:{directory}", *args],
                          text=True, capture_output=True, timeout=60, check=True).stdout.split()


def audit(given, directory, tellers):
    """All the money, and of each teller at least what it was answered before it was asked for, and
    one more at most of one that is dead."""
    answered = [teller.moved for teller in tellers]
    money, *done = map(int, run(given, directory, "sum", str(ACCOUNTS), *(t.name for t in tellers)))
    report.equal(money, ACCOUNTS * AMOUNT, "the money")
    for teller, least, found in zip(tellers, answered, done):
        assert found >= least, f"{teller.name} was answered {least}, and {found} is there"
        if teller.process.poll() is not None:
            assert found <= least + 1, f"{teller.name} ended after {least}, and {found} is there"


def a_killed_teller_takes_no_money_along(given):
    directory = scratch("bank") / "data"
    random.seed(given.seed)
    run(given, directory, "open", str(ACCOUNTS), str(AMOUNT))
    tellers = [Teller(given, directory, f"t{number}") for number in range(3)]
    dead = []
    for number in range(given.kills):
        for teller in tellers:
            before = teller.moved
            wait_until(lambda t=teller, b=before: t.moved >= b + random.randrange(1, 12),
                       f"{teller.name} to move money", 60)
        victim = tellers.pop(random.randrange(len(tellers)))
        victim.kill()
        dead.append(victim)
        audit(given, directory, tellers + dead[-8:])
        tellers.append(Teller(given, directory, f"t{number + 3}"))
    for teller in tellers:
        teller.kill()
    audit(given, directory, tellers + dead[-8:])
    given.build.check(directory)
    moved = sum(teller.moved for teller in tellers + dead)
    print(f"    {given.kills} kills under {moved} transfers")


TESTS = [a_killed_teller_takes_no_money_along]

if __name__ == "__main__":
    report.run(TESTS, report.arguments(__doc__, kills=6))
