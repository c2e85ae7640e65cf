"""A bank over TXN.*: threads that move money between accounts, and the audit of what is there.

Each transfer also writes a note under a name of its own. So what a store should hold follows from
its notes alone: every answered transfer has its note, and every account is what the notes say.
"""

import threading

from lib.resp import Client, Error
from lib.worker import Worker

ACCOUNTS = 20
DEPOSIT = 1000


def account(number):
    return f"account:{number}"


class Transfer:
    """One that was sent. `answered` is None until it was: True, or False where it was refused."""

    __slots__ = ("tag", "source", "target", "amount", "answered")

    def __init__(self, tag, source, target, amount):
        self.tag = tag
        self.source = source
        self.target = target
        self.amount = amount
        self.answered = None

    def note(self):
        return f"{self.source} {self.target} {self.amount}"


class Bank:
    """What was sent, and what went wrong; for all threads and all lives of the servers."""

    def __init__(self):
        self.lock = threading.Lock()
        self.transfers = []
        self.balance = [DEPOSIT] * ACCOUNTS  # as of the last audit
        self.settled = 0                     # transfers known to be there
        self.faults = []

    def open(self, client):
        """Makes the accounts, where they are not there."""
        puts = [part for number in range(ACCOUNTS)
                for part in ("PUT", account(number), DEPOSIT)]
        client.must("TXN.RUN", ACCOUNTS, *puts)

    def send(self, transfer):
        with self.lock:
            self.transfers.append(transfer)

    def audit(self, client):
        """Every answered transfer is there, no refused one is, and the accounts fit. What is there
        counts from now on."""
        assert not self.faults, self.faults
        found = 0
        for at in range(0, len(self.transfers), 500):
            some = self.transfers[at:at + 500]
            notes = client.must("TXN.GET", *(transfer.tag for transfer in some))
            for transfer, note in zip(some, notes):
                found += self._settle(transfer, note)
        values = [int(value) for value in
                  client.must("TXN.GET", *(account(number) for number in range(ACCOUNTS)))]
        assert values == self.balance, f"the accounts are {values}, the notes say {self.balance}"
        assert sum(values) == ACCOUNTS * DEPOSIT, f"the money is {sum(values)}"
        self.transfers = []
        self.settled += found
        return found

    def _settle(self, transfer, note):
        if note is None:
            assert not transfer.answered, f"{transfer.tag} was answered and is not there"
            return 0
        assert transfer.answered is not False, f"{transfer.tag} was refused and is there"
        assert note.decode() == transfer.note(), f"{transfer.tag}: {note!r}"
        self.balance[transfer.source] -= transfer.amount
        self.balance[transfer.target] += transfer.amount
        return 1


class Teller(Worker):
    """One connection that moves money."""

    def __init__(self, name, port, bank, seed, stop):
        super().__init__(name, port, bank.faults, seed, stop)
        self.bank = bank
        self.sent = 0

    def transfer(self):
        source, target = self.random.sample(range(ACCOUNTS), 2)
        transfer = Transfer(f"{self.name}.{self.sent}", source, target, self.random.randint(1, 50))
        self.sent += 1
        self.bank.send(transfer)
        return transfer

    @staticmethod
    def is_late(reply):
        """It waited, or was waited for, beyond its time. No other error may be."""
        assert not isinstance(reply, Error) or reply.word == "TXNEXPIRED", reply
        return isinstance(reply, Error)


class Runner(Teller):
    """Whole transfers in one round trip, in pipelines."""

    def step(self):
        transfers = [self.transfer() for _ in range(self.random.choice((1, 1, 8, 32)))]
        self.client.send_all([
            ("TXN.RUN", 3, "INCRBY", account(t.source), -t.amount, "INCRBY", account(t.target),
             t.amount, "PUT", t.tag, t.note()) for t in transfers])
        for transfer in transfers:
            reply = self.client.reply()
            transfer.answered = not self.is_late(reply)


class Banker(Teller):
    """Transfers in steps. Some are given up, some wait until their time is over."""

    def step(self):
        transfer = self.transfer()
        source, target = account(transfer.source), account(transfer.target)
        reply = self.client.call("TXN.BEGIN", "EAGER", 1, source, "LAZY", 1, target, "WILL", 2,
                                 source, target, "MAY", 1, transfer.tag, "TTL", 300)
        if self.is_late(reply):
            transfer.answered = False
            return
        timestamp, (money,) = reply
        draw = self.random.random()
        if draw < 0.1:
            transfer.answered = False
            self.client.call("TXN.ABORT", timestamp)
            return
        if draw < 0.12:
            self.stop.wait(0.4)
        other = self.client.call("TXN.READ", timestamp, target)
        if self.is_late(other):
            transfer.answered = False
            return
        reply = self.client.call("TXN.COMMIT", timestamp, 3, source, int(money) - transfer.amount,
                                 target, int(other) + transfer.amount, transfer.tag,
                                 transfer.note())
        transfer.answered = not self.is_late(reply)


class Leaver(Teller):
    """Begins, locks everything, and is gone."""

    def step(self):
        names = [account(number) for number in range(ACCOUNTS)]
        with Client(self.port) as client:
            client.must("TXN.BEGIN", "WILL", len(names), *names, "TTL", 300)
        self.stop.wait(0.02)


class Auditor(Teller):
    """Reads all accounts again and again: the money is always the same."""

    def step(self):
        values = self.client.must("TXN.GET", *(account(number) for number in range(ACCOUNTS)))
        total = sum(map(int, values))
        assert total == ACCOUNTS * DEPOSIT, f"the money is {total}: {values}"


class Load:
    """Tellers on the servers: of every kind, or only those that leave nothing open. What a killed
    server has open holds up the others until its time is over, so that takes long."""

    def __init__(self, ports, bank, label, seed, chance):
        self.stop = threading.Event()
        kinds = (Runner, Runner, Auditor, Runner)
        if chance.random() < 0.4:
            kinds = (Runner, Runner, Banker, Banker, Leaver, Auditor)
        self.tellers = [kind(f"{label}.{kind.__name__}.{number}", ports[number % len(ports)], bank,
                             seed, self.stop) for number, kind in enumerate(kinds)]

    def start(self):
        for teller in self.tellers:
            teller.start()
        return self

    def end(self):
        """Once the servers are gone, or to let them finish what they are at."""
        self.stop.set()
        for teller in self.tellers:
            teller.join(30)
            assert not teller.is_alive(), f"{teller.name} does not end"
