#!/usr/bin/python3
"""kill -9 at random moments under transactions, again and again on one directory that two servers
have open. The servers are made to move versions from their log to their places all the time.

After every kill `lockstep check` finds the store whole, and what is there is what was promised:
every answered transfer, none half, and as much money in the bank as at the beginning. What the
killed server had open is released, so that nobody waits for it for ever.
"""

import os
import random
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from lib import report  # noqa: E402
from lib.bank import Bank, Load  # noqa: E402
from lib.process import Server, scratch, wait_until  # noqa: E402


def look(server, bank):
    with server.client(timeout=60) as client:
        return bank.audit(client)


def kill_one(servers, bank, label, seed, chance):
    """One round: load on both, kill -9 of one; the other one goes on."""
    load = Load([server.port for server in servers], bank, label, seed, chance).start()
    time.sleep(chance.uniform(0.05, 0.4))
    victim = chance.choice(servers)
    victim.kill()
    time.sleep(chance.uniform(0, 0.1))
    load.end()
    survivor = servers[1 - servers.index(victim)]
    found = look(survivor, bank)
    victim.start()
    return found


def kill_both(servers, bank, label, seed, chance):
    load = Load([server.port for server in servers], bank, label, seed, chance).start()
    time.sleep(chance.uniform(0.05, 0.4))
    for server in servers:
        server.kill()
    load.end()
    servers[0].build.check(servers[0].directory)
    for server in servers:
        server.start()
    return look(servers[0], bank)


def moved(servers):
    """Versions that were moved to their places by the servers that live."""
    total = 0
    for server in servers:
        with server.client() as client:
            total += int(client.must("INFO", "transactions").split(b"versions_merged:")[1].split()[0])
    return total


def main():
    given = report.arguments(__doc__, rounds=12)
    chance = random.Random(given.seed)
    bank = Bank()
    directory = scratch("txn") / "data"
    # With so little memory versions are moved to their places all the time.
    servers = [Server(given.build, directory, "--txn-ttl", "500", "--txn-memory", "6000")
               for _ in range(2)]
    try:
        for server in servers:
            server.start()
        with servers[0].client() as client:
            bank.open(client)
        for number in range(given.rounds):
            kind = chance.choice((kill_one, kill_both))
            kind(servers, bank, number, given.seed, chance)
        with servers[0].client() as client:
            bank.open(client)
            client.must("TXN.RUN", 1, "PUT", "one-more", "version")
        wait_until(lambda: moved(servers), "a version that was moved to its place")
        for server in servers:
            server.stop()
        given.build.check(directory)
    except BaseException:
        print(f"txn_crash: seed {given.seed}, directory {directory}", file=sys.stderr)
        for server in servers:
            print(server.log()[-4000:], file=sys.stderr)
        raise
    finally:
        for server in servers:
            server.kill()
    print(f"{given.rounds} kills under transactions: {bank.settled} transfers, none half, nothing "
          f"promised was lost (seed {given.seed})")


if __name__ == "__main__":
    main()
