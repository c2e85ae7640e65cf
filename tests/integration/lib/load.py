"""Threads that load a server and write down in a ledger what they sent and what was answered.

Each ends when its connection does, or when told to. A reply that may not be is a fault of the
ledger.
"""

import threading
import uuid

from lib.ledger import SHARED, Change, Post, content
from lib.resp import Error
from lib.worker import Worker


class Loader(Worker):
    """One connection, with the ledger of all."""

    def __init__(self, name, port, ledger, seed, stop):
        super().__init__(name, port, ledger.faults, seed, stop)
        self.ledger = ledger

    def size(self):
        """Mostly small; some need pages of their own."""
        draw = self.random.random()
        return self.random.randint(3000, 20000) if draw < 0.02 else self.random.randint(10, 300)

    def number(self, reply):
        assert isinstance(reply, int), f"expected a clock, got {reply!r}"
        return reply


class Poster(Loader):
    """Posts in pipelines; some posts carry a clock."""

    def begin(self):
        self.ledger.lane(self.name)
        self.sent = 0
        self.seen = 0

    def step(self):
        posts, commands = [], []
        for _ in range(self.random.choice((1, 1, 4, 16, 48))):
            tag = f"{self.name}.{self.sent}"
            carried = self.seen + self.random.randint(0, 50) if self.random.random() < 0.1 else 0
            post = Post(tag, self.size(), carried)
            self.sent += 1
            posts.append(post)
            extra = ["CLOCK", carried] if carried else []
            commands.append(["MSG.POST", "user", "-", *extra, "TEXT", content(tag, post.size)])
            self.ledger.send(self.name, post)
        self.client.send_all(commands)
        for post in posts:
            self.seen = self.number(self.client.reply())
            self.ledger.give_post(post, self.seen)


class Numbered(Loader):
    """A node that numbers its posts and, after a lost connection, sends again what was in doubt."""

    def begin(self):
        ledger = self.ledger
        self.lane = ledger.lane(self.name, host=self.name)
        reply = self.client.must("NODE.JOIN", self.name, "ID",
                                 uuid.uuid5(uuid.NAMESPACE_DNS, self.name), "TTL", 3600000)
        last = reply[2]
        settled = [post for post in self.lane if post.clock is not None]
        numbers = [int(post.tag.split(".")[1]) for post in self.lane]
        answered = int(settled[-1].tag.split(".")[1]) if settled else 0
        assert answered <= last <= (numbers[-1] if numbers else last), \
            f"{self.name} joined, last number {last}; answered {answered}, sent {numbers[-1:]}"
        for post in self.lane:
            number = int(post.tag.split(".")[1])
            assert (post.clock is not None) == (number <= last), \
                f"{post.tag}: clock {post.clock}, but the last number is {last}"
        if settled:
            again = self.client.call(*self.command(settled[-1]))
            assert again == settled[-1].clock, f"{settled[-1].tag} again: {again!r}"
        self.waiting = [post for post in self.lane if post.clock is None]
        self.next = max(numbers[-1] if numbers else 0, last) + 1

    def command(self, post):
        return ["MSG.POST", "U", "x", "SEQ", post.tag.split(".")[1], "TEXT",
                content(post.tag, post.size)]

    def step(self):
        posts, self.waiting = self.waiting, []
        for _ in range(self.random.randint(1, 12)):
            post = Post(f"{self.name}.{self.next}", self.size())
            self.next += 1
            posts.append(post)
            self.ledger.send(self.name, post)
        self.client.send_all(map(self.command, posts))
        for post in posts:
            self.ledger.give_post(post, self.number(self.client.reply()))


class Objects(Loader):
    """Puts with and without conditions, deletes and transactions on keys of its own, several at a
    time, and swaps of one key that all want."""

    def begin(self):
        self.names = [f"{self.name}/{i}".encode() for i in range(8)]
        self.values = 0
        self.prefix = f"{self.name}-{self.random.getrandbits(40):x}"

    def value(self):
        self.values += 1
        return content(f"{self.prefix}.{self.values}", self.size()).encode()

    def step(self):
        if self.random.random() < 0.2:
            self.swap()
            return
        keys = self.random.sample(self.names, self.random.randint(2, 5))
        if self.random.random() < 0.2:
            self.transaction(keys)
            return
        under_way = [self.operation(key) for key in keys]
        self.client.send_all([command for command, _, _, _ in under_way])
        for _, key, change, expected in under_way:
            self.settle(key, change, expected, self.client.reply())

    def operation(self, key):
        """A command, its key, the change it makes (or None), and what is refused (or None)."""
        states = self.ledger.states(key)
        now = states[-1]
        there = now.value is not None
        modified = now.clock if there else 0
        kind = self.random.choice(("put", "put", "if", "stale", "nx", "xx", "del", "del if"))
        change = Change(None if kind.startswith("del") else self.value())
        put = ["OBJ.PUT", key, change.value]
        command, fails = {
            "put": (put, False),
            "if": (put + ["IF", modified], False),
            "stale": (put + ["IF", modified + 1], True),
            "nx": (put + ["NX"], there),
            "xx": (put + ["XX"], not there),
            "del": (["OBJ.DEL", key], False),
            "del if": (["OBJ.DEL", key, "IF", modified], False),
        }[kind]
        if fails:
            return command, key, None, f"CONFLICT modified={modified}"
        if change.value is None and not there:
            return command, key, None, 0
        states.append(change)
        return command, key, change, None

    def settle(self, key, change, expected, reply):
        if change is None:
            assert reply == expected, f"{key}: {reply!r}, expected {expected!r}"
            return
        clock = self.number(reply)
        self.ledger.give(clock, f"object {key} {change.value}")
        change.clock = clock
        change.place = self.ledger.place()

    def transaction(self, keys):
        changes, operations, conditions = [], [], []
        for key in keys:
            now = self.ledger.states(key)[-1]
            conditions += [key, now.clock if now.value is not None else 0]
            delete = now.value is not None and self.random.random() < 0.3
            change = Change(None if delete else self.value())
            operations += ["DEL", key] if delete else ["PUT", key, change.value]
            changes.append(change)
        for key, change in zip(keys, changes):
            self.ledger.states(key).append(change)
        self.ledger.groups.append(list(zip(keys, changes)))
        reply = self.client.call("OBJ.TXN", "IF", len(keys), *conditions, "THEN", len(keys),
                                 *operations)
        assert isinstance(reply, list), f"a transaction of {keys}: {reply!r}"
        for key, change, clock in zip(keys, changes, reply):
            self.settle(key, change, None, clock)

    def swap(self):
        found = self.client.must("OBJ.GET", SHARED)
        before = found[2] if found else 0
        reply = self.client.call("OBJ.PUT", SHARED, f"{self.prefix}.{self.values}", "IF", before)
        if isinstance(reply, Error):
            assert reply.startswith("CONFLICT modified="), f"a swap: {reply}"
            return
        self.ledger.give(reply, f"swap of {before}")
        winner = self.ledger.swaps.setdefault(before, reply)
        assert winner == reply, f"shared: state {before} was swapped at {winner} and at {reply}"
        self.ledger.swap_places[reply] = self.ledger.place()


class Clocks(Loader):
    """Takes fresh clock values."""

    def step(self):
        count = self.random.randint(1, 20)
        first = self.number(self.client.call("CLOCK.NEXT", count))
        self.ledger.give_range(first, count)
        self.stop.wait(self.random.random() * 0.004)


class Trimmer(Loader):
    """Discards the old, keeping about `keep` clocks."""

    keep = 3000

    def step(self):
        self.stop.wait(self.random.random() * 0.05)
        before = self.number(self.client.call("CLOCK.GET")) - self.keep
        if before < 1:
            return
        self.ledger.trims.append((before, None))
        at = len(self.ledger.trims) - 1
        self.number(self.client.call("MSG.TRIM", "BEFORE", before))
        self.ledger.trims[at] = (before, self.ledger.place())


class Load:
    """A mix of workers on one server. Names carry `label`, so that loads can follow one another."""

    def __init__(self, port, ledger, label, seed, trim=True):
        self.stop = threading.Event()
        kinds = [(Poster, f"p{i}x{label}") for i in range(3)]
        kinds += [(Numbered, f"node{i}") for i in range(2)]
        kinds += [(Objects, f"obj{i}") for i in range(2)]
        kinds += [(Clocks, f"clocks{label}")]
        if trim:
            kinds += [(Trimmer, f"trim{label}")]
        self.workers = [kind(name, port, ledger, f"{seed} {label}", self.stop)
                        for kind, name in kinds]
        self.ledger = ledger

    def start(self):
        for worker in self.workers:
            worker.start()
        return self

    def end(self, stop=False):
        """Waits for all of them; `stop` tells them to, else their server must be gone."""
        if stop:
            self.stop.set()
        for worker in self.workers:
            worker.join(30)
            assert not worker.is_alive(), f"{worker.name} hangs"
        assert not self.ledger.faults, "\n".join(self.ledger.faults)
