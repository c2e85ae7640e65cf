#!/usr/bin/python3
"""What the lockstep command does with the files of a store: it checks them, dumps them and loads them.

    test_cli_files.py BUILD-DIRECTORY [unittest arguments]
"""

import json
import os
import random
import re
import signal
import subprocess
import sys
import unittest

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from lib.command import Command  # noqa: E402
from lib.process import Build, Server, scratch  # noqa: E402

BUILD = Build(sys.argv.pop(1))
COMMAND = Command(BUILD)
run, out, lines = COMMAND.run, COMMAND.out, COMMAND.lines


class Files(unittest.TestCase):
    """check, dump and load on the files themselves."""

    def setUp(self):
        self.room = scratch("cli")
        self.directory = self.room / "data"
        with Server(BUILD, self.directory) as server:
            with server.client() as client:
                client.must("NODE.JOIN", "alpha", "META", "JSON", '{"a":1}')
                client.must("MSG.POST", "user", "-", "SEQ", "1", "TEXT", "hello")
                client.must("MSG.POST", "D", "C", "TO", "alpha", "TEXT", "world")
                client.must("OBJ.PUT", "mine", "v", "OWNED")
                client.must("OBJ.PUT", b"\x00\xff", b"\x00\xff")
                client.must("OBJ.PUT", "a", "1")
                client.must("OBJ.PUT", "a", "2")
                client.must("OBJ.PUT", "large", b"x" * 20000)
                client.must("OBJ.DEL", "large")
                client.must("MSG.TRIM", "BEFORE", "3")
            server.kill()

    def damaged(self, data):
        directory = self.room / "damaged"
        directory.mkdir(exist_ok=True)
        (directory / "data.mdb").write_bytes(data)
        return directory

    def test_a_whole_directory_is_ok(self):
        self.assertRegex(out("check", self.directory), r"^ok: \d+ messages, 1 node, 3 objects, 1 producer, 0 versions, clock")
        self.assertEqual(out("check", self.directory), out("check", url=f"lmdb:{self.directory}"))
        self.assertEqual(out("check", self.directory), out("check", f"lmdb:{self.directory}"))
        result = lines("check", self.directory)[0]
        self.assertEqual((True, 0), (result["ok"], result["faults"]))

    def test_a_bit_flipped_in_the_file_is_found(self):
        data = (self.directory / "data.mdb").read_bytes()
        for text, damaged in ((b"mine", b"mind"), (b"\x00\xff", b"\x00\xfe"), (b"up", b"uq")):
            run("check", self.damaged(data.replace(text, damaged)), code=1)
        # Nothing refers to a producer, and under a lesser category no scan meets it: it is counted.
        stray = re.sub(rb"P\x11(?=.{16}\xa3)", b"A\x11", data, flags=re.DOTALL)
        self.assertNotEqual(data, stray)
        self.assertIn("records of category P: counted 1, found in order 0",
                      run("check", self.damaged(stray), code=1).stdout)
        copy = data.replace(b"\x65world", b"\x65worle")
        self.assertNotEqual(data, copy)
        done = run("check", self.damaged(copy), code=1)
        self.assertRegex(done.stdout, r"^fault  message \d+: .+\n       key 4d11[0-9a-f]{18}")
        self.assertRegex(done.stderr, r"^lockstep: \d+ faults?\n$")
        fault = [json.loads(line) for line in
                 run("check", "--json", self.damaged(copy), code=1).stdout.splitlines()]
        self.assertTrue(fault[0]["fault"])
        self.assertTrue(fault[0]["key"].startswith("4d11"))
        self.assertFalse(fault[-1]["ok"])

    def test_a_redo_log_that_is_none_is_found(self):
        directory = self.damaged((self.directory / "data.mdb").read_bytes())
        (directory / "redo").write_bytes(b"something else" * 1000)
        self.assertIn("the redo log is damaged", run("check", directory, code=1).stderr)

    def test_garbage_in_the_file_never_ends_in_anything_but_0_or_1(self):
        data = (self.directory / "data.mdb").read_bytes()
        chance = random.Random(2)
        found = 0
        for _ in range(60):
            copy = bytearray(data)
            page = 4096 * chance.randrange(len(data) // 4096)
            size = chance.choice((1, 8, 64, 4096))
            at = page + chance.randrange(4096 - size + 1)
            copy[at:at + size] = chance.randbytes(size)
            done = subprocess.run([str(BUILD.lockstep), "check", str(self.damaged(copy))],
                                  capture_output=True, text=True, timeout=60, check=False,
                                  errors="replace")
            self.assertIn(done.returncode, (0, 1), done.stderr)
            found += done.returncode
            self.assertEqual(done.returncode == 0, done.stdout.startswith("ok: "), done.stdout)
        self.assertGreater(found, 0)

    def test_a_crash_on_a_damaged_file_is_said(self):
        directory = self.room / "many"  # more than a page: a tree's root is looked at when opened
        with Server(BUILD, directory) as server:
            with server.client() as client:
                client.pipeline([["OBJ.PUT", f"key{i}", "x" * 100] for i in range(100)])
            server.stop()
        data = bytearray((directory / "data.mdb").read_bytes())
        # LMDB has the upper half of a value's size 6 bytes before its key: 2 GiB and more.
        for found in re.finditer(rb"O\x11key\d+[\xa0-\xaf]", bytes(data)):
            data[found.start() - 6:found.start() - 4] = b"\xff\x7f"
        done = run("dump", self.damaged(data), code={-signal.SIGSEGV, -signal.SIGBUS})
        self.assertEqual("lockstep: crashed. Where this was on a directory it may be damaged: "
                         "run `lockstep check`.\n", done.stderr)
        self.assertIn("fault", run("check", self.damaged(data), code=1).stdout)

    def test_what_does_not_begin_as_a_dump_is_not_read_on(self):
        copy = self.room / "copy"
        done = run("load", copy, stdin="x" * (1 << 20), code=1)
        self.assertEqual("lockstep: line 1 is longer than 4096 bytes\n", done.stderr)
        self.assertFalse(copy.exists())

    def test_a_dump_is_loaded_as_it_was(self):
        dump = run("dump", self.directory).stdout
        head, *records, end = [json.loads(line) for line in dump.splitlines()]
        self.assertEqual(("dump", 1), (head["lockstep"], head["format"]))
        self.assertEqual((True, len(records)), (end["end"], end["records"]))
        self.assertEqual([record["category"] for record in records],
                         sorted(record["category"] for record in records))
        copy = self.room / "copy"
        copy.mkdir(0o700)
        self.assertEqual([{"records": len(records)}], lines("load", copy, stdin=dump))
        self.assertEqual(dump, run("dump", copy).stdout)
        self.assertEqual(dump, run("dump", url=f"lmdb:{copy}/").stdout)
        run("check", copy)
        self.assertEqual(0o700, copy.stat().st_mode & 0o7777)
        again = self.room / "again"
        self.assertEqual(f"{len(records)} records", out("load", again, stdin=dump))
        self.assertEqual(self.directory.stat().st_mode, again.stat().st_mode)
        before = out("read", url=self.directory)
        self.assertEqual(before, out("read", url=copy))
        with Server(BUILD, copy) as server:
            self.assertEqual(out("scan", url=self.directory),
                             out("scan", url=f"lockstep://127.0.0.1:{server.port}"))

    def test_a_dump_that_was_cut_or_altered_is_refused(self):
        dump = run("dump", self.directory).stdout
        text = dump.splitlines(keepends=True)
        copy = self.room / "copy"
        bad = {
            "empty": "",
            "no dump": "hello\n",
            "another format": dump.replace('"format":1', '"format":2', 1),
            "without its end": "".join(text[:-1]),
            "without a record": "".join(text[:3] + text[4:]),
            "with a record twice": "".join(text[:3] + text[2:]),
            "with two records swapped": "".join(text[:3] + [text[4], text[3]] + text[5:]),
            "with more behind": dump + text[1],
            "of another clock": dump.replace('"clock":', '"clock":1', 1),
            "cut in a line": dump[:len(dump) // 2],
        }
        chance = random.Random(3)
        for n in range(40):
            at = chance.randrange(len(dump))
            bad[f"altered at {at}"] = dump[:at] + chr(ord(dump[at]) ^ 1) + dump[at + 1:]
        for what, given in bad.items():
            done = run("load", copy, stdin=given, code=1)
            self.assertRegex(done.stderr, "^lockstep: .+\n$", what)
            self.assertEqual(["data"], sorted(os.listdir(self.room)), what)

    def test_load_takes_only_a_new_or_empty_directory(self):
        dump = run("dump", self.directory).stdout
        self.assertIn("is not empty", run("load", self.directory, stdin=dump, code=1).stderr)
        run("load", self.room / "no" / "where", stdin=dump, code=1)
        beside = self.room / "copy.loading"
        beside.mkdir()
        self.assertIn("another load", run("load", self.room / "copy", stdin=dump, code=1).stderr)
        self.assertTrue(beside.exists())


if __name__ == "__main__":
    # What waits for ever is a failure. Under a sanitizer all is slower, and may be.
    signal.alarm(1180 if "SANITIZED" in os.environ else 280)
    unittest.main()
