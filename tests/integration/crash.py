#!/usr/bin/python3
"""kill -9 at random moments under load, again and again on one directory.

After every kill `lockstep check` finds the store whole, and a new server on it has: every answered
write, under its clock, none twice and none torn; unanswered writes at most once; a clock above all
that was ever given out. Numbered posts go on where they were, exactly once. Kills also hit servers
that are just starting, on this directory and on ones that they are making.
"""

import os
import random
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from lib import report  # noqa: E402
from lib.ledger import Audit, Ledger, View, settle  # noqa: E402
from lib.load import Load  # noqa: E402
from lib.process import Server, scratch  # noqa: E402


def look(server, ledger):
    """Audits what the server has and settles what was in doubt."""
    with server.client() as client:
        view = Audit(ledger, View(client)).run()
    settle(ledger, view)
    ledger.forget(view.oldest)
    return view


def kill_under_load(server, ledger, label, seed, chance):
    """One round: load for a moment, then kill -9."""
    server.flags = ("--sync", "no") if chance.random() < 0.2 else ()
    server.start()
    view = look(server, ledger)
    load = Load(server.port, ledger, label, seed).start()
    time.sleep(chance.uniform(0.01, 0.25))
    server.kill()
    load.end()
    server.build.check(server.directory)
    return view


def kill_while_starting(server, chance):
    """A server that is killed before, or just when, it lets clients in."""
    server.spawn()
    time.sleep(chance.uniform(0, 0.03))
    server.kill()
    if (server.directory / "data.mdb").exists():
        server.build.check(server.directory)


def fresh_directories(given, count, chance):
    """Directories whose making is cut short can be opened, and are empty."""
    for _ in range(count):
        with Server(given.build, scratch("fresh") / "data") as server:
            server.kill()
        server = Server(given.build, scratch("fresh") / "data")
        kill_while_starting(server, chance)
        with server as again, again.client() as client:
            assert client.must("MSG.POST", "user", "-", "TEXT", "x") >= 1
        given.build.check(server.directory)


def main():
    given = report.arguments(__doc__, rounds=12)
    chance = random.Random(given.seed)
    ledger = Ledger()
    server = Server(given.build, scratch("crash") / "data")
    kept = 0
    try:
        for number in range(given.rounds):
            kept = max(kept, len(kill_under_load(server, ledger, number, given.seed, chance).box))
            if chance.random() < 0.3:
                kill_while_starting(server, chance)
        server.start()
        look(server, ledger)
        server.stop()
        given.build.check(server.directory)
        fresh_directories(given, max(2, given.rounds // 6), chance)
    except BaseException:
        print(f"crash: seed {given.seed}, directory {server.directory}\n{server.log()}",
              file=sys.stderr)
        raise
    finally:
        server.kill()
    print(f"{given.rounds} kills under load: {len(ledger.given)} clocks given out, none twice, "
          f"nothing promised was lost (seed {given.seed})")


if __name__ == "__main__":
    main()
