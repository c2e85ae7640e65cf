"""What a power loss may leave of a directory, from the log that shim/disk.c wrote.

A crash is a place in the log. What was flushed by then is there. Of the writes to a file that were
not, any may be there, whole or in part, in any order; of the names that were not, a beginning.
"""

import os
import struct

RECORD = struct.Struct("=IHBBQQ")
SECTOR = 512


class File:
    """One file: what is on the disk for certain, and what may be."""

    def __init__(self):
        self.data = bytearray()
        self.size = 0
        self.pending = []  # number, kind, offset, data

    @classmethod
    def of(cls, path):
        """A file that is there, and on the disk for certain."""
        file = cls()
        file.data = bytearray(path.read_bytes())
        file.size = len(file.data)
        return file

    def apply(self, kind, offset, data):
        """Changes what is certain."""
        if kind == "T":
            del self.data[offset:]
            self.size = offset
            return
        end = offset + len(data)
        if kind == "W":
            if len(self.data) < end:
                self.data.extend(bytes(end - len(self.data)))
            self.data[offset:end] = data
        self.size = max(self.size, end)

    def settle(self, numbers):
        """What has these numbers, or is below them, was flushed."""
        rest = []
        for number, kind, offset, data in self.pending:
            if numbers(number):
                self.apply(kind, offset, data)
            else:
                rest.append((number, kind, offset, data))
        self.pending = rest

    def crashed(self, chance, mode):
        """The file as a power loss may leave it."""
        other = File()
        other.data = bytearray(self.data)
        other.size = self.size
        for _, kind, offset, data in self.pending:
            if mode == "none" or (mode == "some" and chance.random() < 0.5):
                continue
            if kind == "W" and mode == "some" and chance.random() < 0.5:
                for at in range(0, len(data), SECTOR):
                    if chance.random() < 0.5:
                        other.apply(kind, offset + at, data[at:at + SECTOR])
            else:
                other.apply(kind, offset, data)
        return other


class Disk:
    """The state of the disk as the log is played forward."""

    def __init__(self, log_path, start=None):
        self.log = open(log_path, "rb")
        self.place = 0
        self.names = {"": None}  # as the process sees them: File, or None for a directory
        for path in sorted(start.rglob("*")) if start else ():
            self.names[str(path.relative_to(start))] = None if path.is_dir() else File.of(path)
        self.certain = dict(self.names)  # as they are on the disk
        self.changes = []          # of names, not flushed: number, function on names
        self.flushes = {}          # begun: number: name

    def places(self):
        """Every place of the log at which a crash differs from the one before."""
        self.log.seek(0)
        places, at = [], 0
        while len(head := self.log.read(RECORD.size)) == RECORD.size:
            at += RECORD.unpack(head)[0]
            places.append(at)
            self.log.seek(at)
        return places

    def play(self, place):
        """Forward to a place."""
        self.log.seek(self.place)
        while self.place < place:
            size, name_size, operation, itself, number, offset = RECORD.unpack(
                self.log.read(RECORD.size))
            rest = self.log.read(size - RECORD.size)
            self.place += size
            self._one(chr(operation), rest[:name_size].decode(), rest[name_size:], number, offset)

    def _one(self, operation, name, data, number, offset):
        if operation in "WTA":
            self.names[name].pending.append((number, operation, offset, data))
        elif operation == "D":
            self.names[name].settle(lambda other: other == number)
        elif operation == "B":
            self.flushes[number] = name
        elif operation == "E":
            self._flushed(self.flushes.pop(number), number)
        else:
            self._name(operation, name, data.decode(), number)

    def _flushed(self, name, number):
        """A flush that began as this number has ended. Names last in the order of their changes."""
        if self.names[name] is not None:
            self.names[name].settle(lambda other: other < number)
            return
        while self.changes and self.changes[0][0] < number:
            self.changes.pop(0)[1](self.certain)

    def _name(self, operation, name, other, number):
        file = File() if operation == "C" else None

        def change(names):
            if operation in "CM":
                names[name] = file
            elif operation == "R":
                names[other] = names.pop(name)
            else:
                names.pop(name, None)
        change(self.names)
        self.changes.append((number, change))

    def write(self, directory, chance):
        """Makes the directory as after a power loss here. Gives how it was chosen."""
        mode = chance.choice(("none", "all", "some", "some", "some"))
        names = dict(self.certain)
        kept = {"none": 0, "all": len(self.changes)}.get(mode, chance.randint(0, len(self.changes)))
        for change in self.changes[:kept]:
            change[1](names)
        directory.mkdir()
        for name in sorted(names):
            path = directory / name
            if names[name] is None:
                path.mkdir(exist_ok=True)
                continue
            left = names[name].crashed(chance, mode)
            with open(path, "wb") as file:
                file.write(left.data[:left.size])
                os.truncate(file.fileno(), left.size)
        return mode
