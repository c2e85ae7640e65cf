"""What was sent to a server and what it promised, and whether a store keeps those promises.

A promise has a place: a position in the log of what reached the disk, 0 where nobody keeps one. A
store as it was at a position must have everything that was promised up to there, and may have what
was sent and not answered by then, each thing once.
"""

import itertools

from lib import cbor
from lib.resp import pairs, read_box

SHARED = b"shared"


def content(tag, size):
    """The text of a post: its tag, again and again, so that a torn one is seen."""
    unit = tag + "|"
    return (unit * (size // len(unit) + 1))[:max(size, len(unit))]


class Post:
    """A message that was sent. `clock` and `place` are set once it was answered."""

    __slots__ = ("tag", "size", "carried", "clock", "place")

    def __init__(self, tag, size, carried=0):
        self.tag = tag
        self.size = size
        self.carried = carried
        self.clock = None
        self.place = None


class Change:
    """A change of an object that was sent. `value` None: deleted."""

    __slots__ = ("value", "clock", "place")

    def __init__(self, value, clock=None, place=None):
        self.value = value
        self.clock = clock
        self.place = place


class Ledger:
    """Filled by the threads of a load, each with lanes and keys of its own."""

    def __init__(self, place=lambda: 0):
        self.place = place
        self.posts = {}     # tag: Post
        self.lanes = {}     # a connection or a node: its posts as they were sent
        self.hosts = {}     # lane: the host that it posts as
        self.keys = {}      # key: every state it had or may have, the newest last
        self.swaps = {}     # of SHARED: `modified` that a swap replaced: its own clock
        self.swap_places = {}
        self.ranges = []    # first, count, place
        self.trims = []     # before, place or None
        self.groups = []    # of each transaction: (key, Change) of all that it does
        self.floor = 0      # what the clock was when it was looked at
        self.given = {}     # every clock that was given out: to what
        self.gone = set()   # tags that a restart did not have: they must not come back
        self.faults = []

    def lane(self, name, host=""):
        self.hosts[name] = host
        return self.lanes.setdefault(name, [])

    def send(self, lane, post):
        self.posts[post.tag] = post
        self.lanes[lane].append(post)

    def give(self, clock, what):
        """A clock was given out; no clock is given twice."""
        other = self.given.setdefault(clock, what)
        assert other == what, f"clock {clock} was given to {other} and to {what}"

    def give_post(self, post, clock):
        assert clock > post.carried, f"{post.tag}: clock {clock}, carried {post.carried}"
        self.give(clock, post.tag)
        post.clock = clock
        post.place = self.place()

    def give_range(self, first, count):
        for clock in range(first, first + count):
            self.give(clock, f"CLOCK.NEXT {first}")
        self.ranges.append((first, count, self.place()))

    def states(self, key):
        return self.keys.setdefault(key, [Change(None, 0, -1)])

    def forget(self, oldest):
        """Drops posts that were discarded, so that a long run does not grow."""
        for name, lane in list(self.lanes.items()):
            kept = [post for post in lane if post.clock is None or post.clock >= oldest]
            for post in lane:
                if post.clock is not None and post.clock < oldest:
                    self.posts.pop(post.tag, None)
            if kept:
                self.lanes[name] = kept
            elif not self.hosts[name]:
                del self.lanes[name], self.hosts[name]
        self.ranges.clear()


class View:
    """What a server has."""

    def __init__(self, client):
        self.info = pairs(client.must("MSG.INFO"))
        self.clock = client.must("CLOCK.GET")
        self.box = read_box(client)
        self.oldest = self.box[0][0] if self.box else self.info["newest"] + 1
        self.objects = {}
        after = b""
        while True:
            some = client.must("OBJ.SCAN", "", *(["AFTER", after] if after else []), "COUNT", 500)
            if not some:
                break
            for key, value, _, modified in some:
                self.objects[key] = (value, modified)
            after = some[-1][0]
        self.posts = {}    # tag: clock
        self.changes = {}  # clock: user key


class Audit:
    """Compares a view with a ledger as of a place (None: of its end). Raises at the first fault."""

    def __init__(self, ledger, view, place=None):
        self.ledger = ledger
        self.view = view
        self.limit = place

    def promised(self, place):
        return place is not None and (self.limit is None or place <= self.limit)

    def run(self):
        self.box()
        self.lanes()
        self.trims()
        self.objects()
        self.groups()
        self.shared()
        self.clock()
        return self.view

    def box(self):
        """In order, counted, and nothing in it that nobody sent, twice or torn."""
        view, last, newest = self.view, 0, {}
        assert len(view.box) == view.info["count"], \
            f"{len(view.box)} messages, MSG.INFO counts {view.info['count']}"
        for clock, kind, event, _, sender, _, item in view.box:
            assert clock > last, f"clock {clock} comes after {last}"
            last = clock
            if kind == b"U":
                self.post(clock, sender, cbor.decode(item))
            else:
                assert kind == b"O", f"clock {clock}: type {kind}"
                self.change(clock, event, cbor.decode(item), newest)
        assert last <= view.clock, f"the clock is {view.clock}, the newest message {last}"
        for key, (clock, deleted) in newest.items():
            value, modified = view.objects.get(key, (None, None))
            assert (value is None) == deleted and modified in (None, clock), \
                f"object {key}: modified {modified}, the box says {clock}, deleted {deleted}"

    def post(self, clock, sender, text):
        ledger, view = self.ledger, self.view
        tag = text.split("|", 1)[0]
        post = ledger.posts.get(tag)
        assert post is not None, f"clock {clock}: nobody sent '{text[:60]}'"
        assert tag not in view.posts, f"'{tag}' is there at {view.posts.get(tag)} and at {clock}"
        assert tag not in ledger.gone, f"'{tag}' was not there after a restart and is now"
        assert text == content(tag, post.size), f"clock {clock}: '{tag}' is torn"
        assert post.clock in (None, clock), f"'{tag}' is at {clock}, promised at {post.clock}"
        assert clock > post.carried, f"'{tag}' is at {clock} and carried {post.carried}"
        host = ledger.hosts[tag.split(".")[0]]
        assert sender.decode() == host, f"'{tag}' is from {sender}, not from '{host}'"
        assert ledger.given.get(clock, tag) == tag, \
            f"'{tag}' has clock {clock} of {ledger.given[clock]}"
        view.posts[tag] = clock

    def change(self, clock, event, change, newest):
        store_key = change["key"]
        if store_key[:1] != b"O":
            return
        key = store_key[2:]
        before, deleted = newest.get(key, (None, None))
        previous = change.get("previous", 0)
        if before is not None:
            assert previous == (0 if deleted else before), \
                f"clock {clock}, object {key}: previous {previous}, but it changed at {before}"
        assert (event == b"C") == (previous == 0), f"clock {clock}: event {event} of {previous}"
        assert (event == b"D") == ("value" not in change), f"clock {clock}: event {event}"
        newest[key] = (clock, event == b"D")
        self.view.changes[clock] = key

    def lanes(self):
        """Of what one connection sent, the beginning is there, without a gap."""
        for name, lane in self.ledger.lanes.items():
            seen = missing = None
            for post in lane:
                clock = self.view.posts.get(post.tag)
                if clock is not None:
                    assert missing is None, f"'{post.tag}' is there, '{missing}' before it is not"
                    assert seen is None or clock > seen, f"{name}: {clock} comes after {seen}"
                    seen = clock
                elif post.clock is None or post.clock >= self.view.oldest:
                    assert not self.promised(post.place), \
                        f"'{post.tag}', promised at {post.clock} (place {post.place}), is lost"
                    if seen is not None or not self.ledger.trims:
                        missing = post.tag

    def trims(self):
        """Discarded is what was asked for, and nothing else."""
        asked = max((before for before, _ in self.ledger.trims), default=0)
        done = max((before for before, place in self.ledger.trims if self.promised(place)),
                   default=0)
        view = self.view
        assert not view.box or view.oldest >= done, \
            f"trimmed before {done}, but {view.oldest} is there"
        for lane in self.ledger.lanes.values():
            for post in lane:
                if self.promised(post.place) and post.tag not in view.posts:
                    assert post.clock < asked, \
                        f"'{post.tag}' at {post.clock} is gone, trimmed was only before {asked}"

    def objects(self):
        """Each object is as promised last, or as a later change would have made it."""
        ledger, view = self.ledger, self.view
        for key in view.objects:
            assert key in ledger.keys or key == SHARED, f"nobody put object {key}"
        for key, states in ledger.keys.items():
            self.state(key, states)
            for state in states:
                if self.promised(state.place) and state.clock and state.clock >= view.oldest:
                    assert view.changes.get(state.clock) == key, \
                        f"object {key}: its change at {state.clock} is not in the box"

    def state(self, key, states):
        value, modified = self.view.objects.get(key, (None, None))
        first = max(i for i, state in enumerate(states) if i == 0 or self.promised(state.place))
        for state in states[first:]:
            if state.value == value:
                assert value is None or state.clock in (None, modified), \
                    f"object {key}: modified {modified}, promised {state.clock}"
                return
        raise AssertionError(f"object {key} is {value} of {modified}; promised was "
                             f"{states[first].value} at {states[first].clock}, and then "
                             f"{[(state.value, state.clock) for state in states[first + 1:]]}")

    def groups(self):
        """A transaction is there as a whole, or not at all."""
        view = self.view
        for group in self.ledger.groups:
            clocks = [change.clock for _, change in group]
            if None in clocks:
                there = [view.objects.get(key, (None,))[0] == change.value for key, change in group]
            elif min(clocks) >= view.oldest:
                there = [view.changes.get(change.clock) == key for key, change in group]
            else:
                continue
            assert len(set(there)) == 1, \
                f"transaction of {[key for key, _ in group]}, clocks {clocks}, is there: {there}"

    def shared(self):
        """Of all who swapped the same state, one won."""
        _, modified = self.view.objects.get(SHARED, (None, 0))
        for clock, place in self.ledger.swap_places.items():
            if self.promised(place):
                assert modified >= clock, f"shared: modified {modified}, promised {clock}"
                if clock >= self.view.oldest:
                    assert self.view.changes.get(clock) == SHARED, f"shared: no change at {clock}"

    def clock(self):
        """The clock is at or above all that was ever given out."""
        ledger = self.ledger
        places = itertools.chain(
            ((first + count - 1, place) for first, count, place in ledger.ranges),
            ((post.clock, post.place) for lane in ledger.lanes.values() for post in lane),
            ((state.clock, state.place) for states in ledger.keys.values() for state in states))
        top = max((clock for clock, place in places if self.promised(place)), default=0)
        top = max(top, ledger.floor if self.limit is None else 0)
        assert self.view.clock >= top, f"the clock is {self.view.clock}, {top} was given out"


def settle(ledger, view):
    """After a restart: what was unanswered is now known. Numbered posts are settled by who sends
    them again."""
    for name, lane in ledger.lanes.items():
        for post in lane:
            if post.clock is None and post.tag in view.posts:
                ledger.give_post(post, view.posts[post.tag])
            elif post.clock is None and not ledger.hosts[name]:
                ledger.gone.add(post.tag)
        if not ledger.hosts[name]:
            lane[:] = [post for post in lane if post.clock is not None]
    for key, states in ledger.keys.items():
        value, modified = view.objects.get(key, (None, None))
        state = next(state for state in reversed(states) if state.value == value)
        if state.clock is None and modified is not None:
            ledger.give(modified, f"object {key} {value}")
        state.clock = state.clock or modified or 0
        state.place = ledger.place()
        states[:] = [state]
    ledger.groups.clear()
    ledger.floor = view.clock
