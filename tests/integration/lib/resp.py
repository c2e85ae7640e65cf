"""A small RESP client: blocking, RESP2 and RESP3, pipelines, pushes. No retries, no magic."""

import socket


class Error(str):
    """An error reply. `word` is what it begins with."""

    @property
    def word(self):
        return self.split(" ", 1)[0]


class Push(list):
    """A push frame of RESP3."""


class Closed(Exception):
    """The peer ended the connection, in order or not."""


def encode(args):
    """One command in RESP."""
    parts = [b"*%d\r\n" % len(args)]
    for arg in args:
        data = arg if isinstance(arg, (bytes, bytearray)) else str(arg).encode()
        parts.append(b"$%d\r\n%s\r\n" % (len(data), data))
    return b"".join(parts)


class Client:
    """One connection to 127.0.0.1:port. Text in replies is bytes; see `words` for str."""

    def __init__(self, port, timeout=30, hello=None):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = bytearray()
        self.at = 0
        self.received = 0  # bytes, ever
        self.pushes = []
        if hello:
            self.must("HELLO", hello)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.socket.close()

    def send_raw(self, data):
        try:
            self.socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError) as reason:
            raise Closed(str(reason)) from None

    def send(self, *args):
        self.send_raw(encode(args))

    def send_all(self, commands):
        self.send_raw(b"".join(map(encode, commands)))

    def call(self, *args):
        """The reply to one command, errors included; pushes that come first are put aside."""
        self.send(*args)
        return self.reply()

    def must(self, *args):
        """The reply to one command that may not be refused."""
        reply = self.call(*args)
        if isinstance(reply, Error):
            raise AssertionError(f"{' '.join(map(str, args))[:200]}: {reply}")
        return reply

    def pipeline(self, commands):
        self.send_all(commands)
        return [self.reply() for _ in commands]

    def reply(self):
        """The next reply; pushes before it go to `pushes`."""
        while True:
            frame = self.read()
            if not isinstance(frame, Push):
                return frame
            self.pushes.append(frame)

    def push(self):
        """The next push, those put aside first."""
        if self.pushes:
            return self.pushes.pop(0)
        frame = self.read()
        assert isinstance(frame, Push), f"expected a push, not {frame!r}"
        return frame

    def read(self):
        """The next frame of any kind. After a timeout it can be called again."""
        start = self.at
        try:
            frame = self._frame()
        except (TimeoutError, socket.timeout):
            self.at = start
            raise
        if self.at > 1 << 16 or self.at == len(self.buffer):
            del self.buffer[:self.at]
            self.at = 0
        return frame

    def _fill(self):
        try:
            data = self.socket.recv(1 << 18)
        except ConnectionResetError as reason:
            raise Closed(str(reason)) from None
        if not data:
            raise Closed("end of stream")
        self.buffer += data
        self.received += len(data)

    def _line(self):
        end = self.buffer.find(b"\r\n", self.at)
        while end < 0:
            known = max(self.at, len(self.buffer) - 1)
            self._fill()
            end = self.buffer.find(b"\r\n", known)
        line = bytes(self.buffer[self.at:end])
        self.at = end + 2
        return line

    def _take(self, size):
        while len(self.buffer) < self.at + size + 2:
            self._fill()
        data = bytes(self.buffer[self.at:self.at + size])
        assert self.buffer[self.at + size:self.at + size + 2] == b"\r\n", "a bulk without its end"
        self.at += size + 2
        return data

    def _frame(self):
        line = self._line()
        kind, rest = line[:1], line[1:]
        if kind == b"+":
            return rest
        if kind == b"-":
            return Error(rest.decode())
        if kind in (b":", b"("):
            return int(rest)
        if kind in (b"$", b"=", b"!"):
            size = int(rest)
            return None if size < 0 else self._take(size)
        if kind in (b"*", b">", b"~"):
            count = int(rest)
            if count < 0:
                return None
            items = [self._frame() for _ in range(count)]
            return Push(items) if kind == b">" else items
        if kind == b"%":
            return {self._frame(): self._frame() for _ in range(int(rest))}
        if kind == b"_":
            return None
        if kind == b"#":
            return rest == b"t"
        if kind == b",":
            return float(rest)
        raise AssertionError(f"not RESP: {line[:80]!r}")


def pairs(reply):
    """A map reply, flat in RESP2, as a dict with text keys."""
    if not isinstance(reply, dict):
        reply = dict(zip(reply[::2], reply[1::2]))
    return {key.decode(): value for key, value in reply.items()}


def read_box(client, since="-", count=2000, only=()):
    """Every message from a clock on: (clock, type, event, timestamp, from, to, object)."""
    messages = []
    while True:
        some = client.must("MSG.READ", since, "COUNT", count, *only)
        if not some:
            return messages
        messages += some
        since = some[-1][0] + 1
