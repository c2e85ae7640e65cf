"""Scratch directories and processes that never outlive the test, and waiting with a deadline."""

import atexit
import copy
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

from lib.resp import Client

_running = []
_scratch = []


def _clean():
    for process in _running:
        if process.poll() is None:
            process.kill()
            process.wait()
    for path in _scratch:
        subprocess.run(["chmod", "-R", "u+rwX", path], check=False, stderr=subprocess.DEVNULL)
        shutil.rmtree(path, ignore_errors=True)


atexit.register(_clean)
signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))


def scratch(name="t"):
    """A directory that is gone when the test ends."""
    path = tempfile.mkdtemp(prefix=f"lockstep-{name}-")
    _scratch.append(path)
    return pathlib.Path(path)


def spawn(command, environment=None, user=None, **options):
    """Starts a process that dies with this one. Only from the main thread. `environment` is added
    for the program alone; `user` is a number to run as, which takes root."""
    wrapper = ["setpriv", "--pdeathsig", "KILL"]
    if user is not None:
        wrapper += ["--reuid", str(user), "--regid", str(user), "--clear-groups"]
    extra = [f"{name}={value}" for name, value in (environment or {}).items()]
    process = subprocess.Popen([*wrapper, "env", *extra, *map(str, command)], **options)
    _running.append(process)
    return process


class Program:
    """A process whose lines are taken, word by word, as they come."""

    def __init__(self, command):
        self.lines = []
        self.process = spawn(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        for line in self.process.stdout:
            if line.endswith("\n"):
                self.take(line.split())

    def take(self, words):
        self.lines.append(words)

    def kill(self):
        """kill -9; it must not have ended by itself before."""
        code = self.process.poll()
        assert code is None, f"it ended with {code}: {self.process.stderr.read()}"
        self.process.kill()
        self.process.wait()
        self.reader.join(10)
        self.process.stdout.close()
        self.process.stderr.close()


def wait_until(condition, what, seconds=60):
    """Polls until the condition gives something true, and gives that."""
    deadline = time.monotonic() + seconds
    pause = 0.001
    while True:
        result = condition()
        if result:
            return result
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {seconds} s in vain: {what}")
        time.sleep(pause)
        pause = min(pause * 2, 0.05)


def free_port():
    """A port for a server that is killed and comes back to it: below those that the system hands
    out, one of which may be somebody else's by then."""
    for number in range(20000):
        port = 10000 + (os.getpid() * 41 + number) % 20000
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue
    raise AssertionError("no port is free")


class Build:
    """The programs of a build directory."""

    def __init__(self, path):
        self.path = pathlib.Path(path).resolve()
        self.lockstepd = self.path / "src/server/lockstepd"
        self.lockstep = self.path / "src/cli/lockstep"
        self.poster = self.path / "tests/integration/poster"
        self.reformat = self.path / "tests/integration/reformat"
        self.disk = self.path / "tests/shim/disk.so"

    def where_all_may_read(self, directory):
        """Copies of the programs, for tests that run them as somebody else."""
        other = copy.copy(self)
        other.lockstepd = shutil.copy(self.lockstepd, directory)
        other.lockstep = shutil.copy(self.lockstep, directory)
        return other

    def cli(self, *args, seconds=60):
        """Runs lockstep and gives the finished process, output as text."""
        return subprocess.run([str(self.lockstep), *map(str, args)], capture_output=True, text=True,
                              timeout=seconds, stdin=subprocess.DEVNULL, check=False)

    def check(self, directory):
        """lockstep check must find nothing."""
        done = self.cli("check", directory)
        assert done.returncode == 0, (f"lockstep check {directory}: exit {done.returncode}\n"
                                      f"{done.stdout}{done.stderr}")


class Server:
    """A lockstepd on a directory and a port that the system picks. A context manager."""

    def __init__(self, build, directory, *flags, environment=None, user=None):
        self.build = build
        self.directory = pathlib.Path(directory)
        self.flags = flags
        self.environment = environment
        self.user = user
        self.process = None
        self.port = None
        self.may_end = False
        self.log_path = scratch("log") / "lockstepd.log"

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.kill()

    def spawn(self):
        """Starts it and does not wait."""
        command = [self.build.lockstepd, "--listen", "127.0.0.1:0", "--store",
                   f"lmdb:{self.directory}", *self.flags]
        with open(self.log_path, "wb") as log:
            self.process = spawn(command, self.environment, self.user, stderr=log,
                                 stdin=subprocess.DEVNULL)
        self.port = None
        self.may_end = False
        return self

    def start(self, seconds=60):
        """Starts it and waits until it lets clients in."""
        self.spawn()
        wait_until(self._is_ready, "lockstepd to be ready", seconds)
        return self

    def _is_ready(self):
        log = self.log()
        if self.process.poll() is not None:
            self.may_end = True
            raise AssertionError(f"lockstepd ended with {self.process.returncode}:\n{log}")
        found = re.search(r"listening on 127\.0\.0\.1:(\d+)", log)
        if found and re.search(r": ready$", log, re.MULTILINE):
            self.port = int(found[1])
        return self.port

    def log(self):
        return self.log_path.read_text(errors="replace")

    def client(self, **options):
        return Client(self.port, **options)

    def kill(self):
        """kill -9, and gone when this returns. That it ended by itself before is a failure, where
        neither stop nor ended was called."""
        process, self.process = self.process, None
        if process is None:
            return
        _running.remove(process)
        by_itself = process.poll() is not None and not self.may_end
        process.kill()
        process.wait()
        if by_itself:
            raise AssertionError(f"lockstepd ended with {process.returncode}:\n{self.log()}")

    def stop(self, seconds=60):
        """SIGTERM; it must finish in order."""
        self.may_end = True
        self.process.terminate()
        code = self.process.wait(seconds)
        assert code == 0, f"lockstepd ended with {code} after SIGTERM:\n{self.log()}"

    def ended(self, seconds=60):
        """Its exit code, when it ends by itself."""
        self.may_end = True
        return self.process.wait(seconds)

    def memory(self, field="RssAnon"):
        """A field of /proc/PID/status, in bytes."""
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(rf"^{field}:\s+(\d+) kB", status, re.MULTILINE)[1]) * 1024


def is_root():
    return os.geteuid() == 0
