#!/usr/bin/python3
"""The lockstep command as its users meet it: output, exit status and sentences, on directories and
on servers, and the load generator against lockstepd and, where it is installed, Redis.

    test_cli.py BUILD-DIRECTORY [unittest arguments]
"""

import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import unittest

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from lib.command import ENVIRONMENT, Command  # noqa: E402
from lib.process import Build, Server, free_port, scratch, spawn, wait_until  # noqa: E402

BUILD = Build(sys.argv.pop(1))
COMMAND = Command(BUILD)
run, out, lines = COMMAND.run, COMMAND.out, COMMAND.lines


class Usage(unittest.TestCase):
    """Wrong usage says what was expected and where to read more, and exits with 2."""

    def refused(self, sentence, *args):
        done = run(*args, code=2)
        self.assertRegex(done.stderr, sentence)
        self.assertRegex(done.stderr, r"\nsee 'lockstep help[ a-z]*'\n$")
        self.assertTrue(done.stderr.startswith("lockstep: "))
        self.assertEqual("", done.stdout)

    def test_sentences(self):
        self.refused("a command is missing")
        self.refused("no command 'pots'; did you mean 'post'", "pots")
        self.refused("no command 'quite-another'\n", "quite-another")
        self.refused("no option '--cuont'; did you mean '--count'", "read", "--cuont", "3")
        self.refused("--count takes N", "read", "--count")
        self.refused("--json takes no value", "read", "--json=yes")
        self.refused("--count is a number greater than 0, not '0'", "read", "--count", "0")
        self.refused("'get' takes KEY, but 0 arguments were", "get")
        self.refused("'get' takes KEY, but 2 arguments were", "get", "a", "b")
        self.refused("'nodes' takes no arguments, but 'x'", "nodes", "x")
        self.refused("FROM is a clock", "read", "yesterday")
        self.refused("nothing to read yet", "read", "$")
        self.refused("letters of O, D, C, U", "read", "--type", "X")
        self.refused("up, leaving or down, not 'gone'", "nodes", "--state", "gone")
        self.refused("the type is user, database", "post", "object", "-", "1")
        self.refused(r"created, updated or deleted \(or C, U, D\), not '-'",
                     "post", "database", "-", "1")
        self.refused("any one byte, or '-' for none, not 'xy'", "post", "user", "xy", "1")
        self.refused("the payload is missing", "post", "user", "-")
        self.refused("--text and --cbor exclude", "post", "--text", "--cbor", "f", "user", "-")
        self.refused("--nx and --xx exclude", "put", "a", "b", "--nx", "--xx")
        self.refused("not 'soon'", "put", "a", "b", "--if", "soon")
        self.refused("'clock' takes nothing, 'next", "clock", "back")
        self.refused("the clock that was seen", "clock", "witness")
        self.refused("from 1 to 1048576", "clock", "next", "0")
        self.refused("needs --as HOST", "relay", "send", "all", "1")
        self.refused("one, second, nth N", "relay", "send", "--as", "a", "third", "1")
        self.refused("--requests and --seconds", "bench", "--requests", "1", "--seconds", "1")
        self.refused("a server is named as", "bench", "--url", "/tmp/x")
        self.refused("a quote in the command", "bench", "--command", "SET 'a")
        self.refused("an even number of digits", "key", "4d1")
        self.refused("with --hex a key", "get", "--hex", "0")
        self.refused("takes a data directory", "check", "--url", "lockstep://127.0.0.1:1")
        self.refused("takes a data directory", "dump", "--url", "lockstep://127.0.0.1:1")
        self.refused("takes a data directory", "dump", "lockstep://127.0.0.1:1")
        self.refused("new or empty directory", "load", "--url", "lockstep://127.0.0.1:1")

    def test_every_command_has_its_help(self):
        overview = out("help")
        for line in re.search(r"Commands\n(.*?)\n\n", overview, re.DOTALL)[1].splitlines():
            name = re.match(r"  (\S+)", line)
            if name and name[1] != "help":
                self.assertIn(f"lockstep {name[1]}", out("help", name[1]))
                self.assertEqual(out("help", name[1]), out(name[1], "--help"))
        self.assertEqual(overview, out("--help"))
        self.assertRegex(out("--version"), r"^lockstep \d+\.\d+\.\d+$")

    def test_help_says_what_the_url_is_to_the_command(self):
        self.assertIn("with --live", re.search(r"--url(.*)--json", out("help", "model"), re.S)[1])
        self.assertIn("where DIR is not given", out("help", "check"))
        self.assertNotIn("--url", out("help", "key"))

    def test_what_a_url_may_be_is_said(self):
        for url in ("redis://127.0.0.1", "127.0.0.1:7411"):
            self.assertIn("a server is lockstep://HOST", run("clock", url=url, code=1).stderr)
        self.assertIn("is lockstepd running there?",
                      run("clock", url="lockstep://127.0.0.1:1", code=1).stderr)

    def test_the_manual_names_every_command_and_option(self):
        manual = (pathlib.Path(__file__).parents[2] / "man/lockstep.1").read_text()
        for name in re.findall(r"^  (\w+) ", re.search(r"Commands\n(.*?)\n\n", out("help"),
                                                        re.DOTALL)[1], re.MULTILINE):
            self.assertRegex(manual, rf"(?m)^\.It Cm {name}\b")
            if name != "help":
                for option in re.findall(r"^  --(\w+)", out("help", name), re.MULTILINE):
                    self.assertIn(f"Fl -{option}", manual, f"{name} --{option}")


class Keys(unittest.TestCase):
    def test_each_category_is_explained(self):
        self.assertEqual([{"category": "M", "name": "message", "version": 1, "value_type": "cbor",
                           "clock": 5, "type": "U"}], lines("key", "4d11000000000000000555"))
        self.assertEqual("alpha", lines("key", "4e11" + b"alpha".hex())[0]["host"])
        self.assertEqual("clock", lines("key", "4311" + b"clock".hex())[0]["control"])
        self.assertEqual("_w", lines("key", "4f11ff")[0]["key_base64url"])
        self.assertEqual("00010203-0405-0607-0809-0a0b0c0d0e0f",
                         lines("key", "5011" + bytes(range(16)).hex())[0]["id"])
        version = lines("key", "5611" + "6100ff62" + "0000" + "0000000000000007")[0]
        self.assertEqual(("a\0b", 7), (version["key"], version["timestamp"]))
        self.assertIn("type        U (user)", out("key", "4d11000000000000000555"))

    def test_what_is_no_key_is_refused(self):
        for key in ("", "4d", "4d1100", "4d21000000000000000555", "4d12000000000000000555",
                    "5a1100", "4e11"):
            self.assertRegex(run("key", key, code=1).stderr, "^lockstep: .+\n$")


class Commands:
    """What holds on a directory and on a server alike; `self.url` names it."""

    def run_here(self, *args, **options):
        return run(*args, url=self.url, **options)

    def out(self, *args, **options):
        return out(*args, url=self.url, **options)

    def lines(self, *args, **options):
        return lines(*args, url=self.url, **options)

    def test_posts_are_read_back(self):
        self.assertEqual("1", self.out("post", "user", "-", '{"b":1,"a":[2,null]}'))
        self.assertEqual([{"clock": 2}], self.lines("post", "--text", "U", "x", '{"b":1}'))
        self.assertEqual("3", self.out("post", "--to", "alpha", "database", "created", "-5"))
        item = self.file(b"\x43\x01\x02\x03")
        self.assertEqual("4", self.out("post", "C", "deleted", "--cbor", item))
        read = self.lines("read")
        self.assertEqual([1, 2, 3, 4], [m["clock"] for m in read])
        self.assertEqual(["U", "U", "D", "C"], [m["type"] for m in read])
        self.assertEqual(["-", "x", "C", "D"], [m["event"] for m in read])
        self.assertEqual([{"a": [2, None], "b": 1}, '{"b":1}', -5, "AQID"],
                         [m["object"] for m in read])
        self.assertEqual(["", "", "alpha", ""], [m["to"] for m in read])
        self.assertEqual(["clock", "type", "event", "timestamp", "from", "to", "object"],
                         list(read[0]))
        self.assertTrue(abs(read[0]["timestamp"] / 1e9 - time.time()) < 100)
        text = self.out("read").splitlines()
        self.assertRegex(text[2], r"^ +3  \d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}  database.created +"
                                  r"- -> alpha  -5$")

    def test_lines_are_posted_in_order(self):
        given = [f'{{"n":{n}}}' for n in range(300)]
        clocks = self.out("post", "user", "-", "-", stdin="\n".join(given)).splitlines()
        self.assertEqual(given, [json.dumps(m["object"], separators=(",", ":"))
                                 for m in self.lines("read")])
        self.assertEqual(clocks, [str(m["clock"]) for m in self.lines("read")])
        done = self.run_here("post", "user", "-", "-", stdin="1\n2\n{\n3\n", code=1)
        self.assertEqual(2, len(done.stdout.splitlines()))
        self.assertIn("line 3: ", done.stderr)
        self.assertIn("the lines before it are posted", done.stderr)
        as_node = self.out("post", "user", "-", "-", "--as", "a", "--to", "b", stdin="1\n\n2")
        self.assertEqual(2, len(as_node.splitlines()))
        self.assertEqual([("a", "b", 1), ("a", "b", 2)],
                         [(m["from"], m["to"], m["object"])
                          for m in self.lines("read", "--type", "U", "--for", "b")[-2:]])

    def test_a_line_that_is_refused_is_named(self):
        done = self.run_here("post", "user", "-", "-", "--text",
                             stdin="one\n" + "x" * 2000000 + "\nthree\nfour\n", code=1)
        read = [m["object"] for m in self.lines("read")]
        self.assertRegex(done.stderr, "^lockstep: line 2: .*1048576")
        self.assertEqual(len(read), len(done.stdout.splitlines()))
        self.assertEqual("one", read[0])
        if len(read) > 1:
            self.assertIn(f"{len(read) - 1} were under way and are posted", done.stderr)
        else:
            self.assertIn("the lines before it are posted", done.stderr)
        self.assertIn("line 1: ", self.run_here("post", "user", "-", "-", "--to", "bad\nhost",
                                                stdin="1\n", code=1).stderr)

    def test_a_line_without_an_end_is_refused(self):
        post = spawn([BUILD.lockstep, "--url", self.url, "post", "user", "-", "-", "--text"],
                     stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        with self.assertRaises(BrokenPipeError):
            post.stdin.write(b"1\n")
            for _ in range(80):
                post.stdin.write(bytes(1 << 20))
        said = post.stderr.read()
        self.assertIn(b"line 2 is longer than 67108864 bytes\n", said)
        self.assertEqual(b"1\n", post.stdout.read())
        post.stdout.close()
        post.stderr.close()
        self.assertEqual(1, post.wait(timeout=20))

    def test_the_lines_of_a_slow_writer_go_at_once(self):
        post = spawn([BUILD.lockstep, "--url", self.url, "post", "user", "-", "-"],
                     stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for n in range(1, 5):
            post.stdin.write(f"{n}\n")
            post.stdin.flush()
            self.assertEqual(n, int(post.stdout.readline()))
        post.communicate()
        self.assertEqual(0, post.returncode)

    def test_a_refused_post_says_where(self):
        self.assertRegex(self.run_here("post", "user", "-", '{"a":', code=1).stderr,
                         "^lockstep: the payload is refused as JSON")
        self.run_here("post", "user", "-", "--cbor", self.file(b"\xff"), code=1)
        self.run_here("post", "user", "-", "--cbor", "/nonexistent", code=1)
        self.assertEqual([], self.lines("read"))

    def test_reads_are_filtered_and_limited(self):
        for n in range(10):
            self.out("post", "user" if n % 2 else "database", "created", n,
                     *(["--to", "beta"] if n == 4 else []))
        self.out("put", "k/a", "1")
        self.out("put", "other", "1")
        clocks = lambda *args: [m["clock"] for m in self.lines("read", *args)]  # noqa: E731
        self.assertEqual(list(range(1, 13)), clocks())
        self.assertEqual([5, 6, 7], clocks("5", "--count", "3"))
        self.assertEqual([2, 4, 6, 8, 10], clocks("-", "--type", "user"))
        self.assertEqual([2, 4, 6, 8, 10, 11, 12], clocks("--type", "UO"))
        self.assertEqual([11, 12], clocks("--type=object"))
        self.assertEqual(12 - 1, len(clocks("--for", "alpha")))
        self.assertEqual(12, len(clocks("--for", "beta")))
        self.assertEqual([11], clocks("--key", "k/"))
        self.assertEqual([], clocks("99"))

    def test_objects(self):
        self.assertEqual("1", self.out("put", "a", "one"))
        self.assertEqual("one", self.out("get", "a"))
        self.assertEqual("one", run("get", "a", "--raw", url=self.url).stdout)
        self.assertEqual([{"key": "a", "value": "one", "created": 1, "modified": 1}],
                         self.lines("get", "a"))
        refused = lambda *args: self.run_here(*args, code=1).stderr  # noqa: E731
        self.assertIn("last modified at 1", refused("put", "a", "x", "--if", 7))
        self.assertIn("last modified at 1", refused("put", "a", "x", "--nx"))
        self.assertIn("there is no object 'b'", refused("put", "b", "x", "--xx"))
        self.assertEqual("2", self.out("put", "a", "-", "--if", 1, stdin="two\nlines\n"))
        self.assertEqual("two\nlines\n", run("get", "a", "--raw", url=self.url).stdout)
        self.assertEqual("3", self.out("put", "--hex", "00ff", "raw"))
        self.assertEqual("raw", self.out("get", "--hex", "00ff"))
        self.assertIn("there is no object 'zz'", self.run_here("get", "zz", code=1).stderr)
        self.assertEqual("0", self.out("del", "zz"))
        self.run_here("del", "a", "--if", "1", code=1)
        self.assertEqual("4", self.out("del", "a", "--if", "2"))
        told = [m["object"] for m in self.lines("read", "--type", "O")]
        self.assertEqual({"key": "a", "value": "one"}, told[0])
        self.assertEqual({"key": "a", "value": "two\nlines\n", "previous": 1}, told[1])
        self.assertEqual({"key_base64url": "AP8", "value": "raw"}, told[2])
        self.assertEqual({"key": "a", "previous": 2}, told[3])
        text = self.out("read").splitlines()
        self.assertIn("object.updated", text[1])
        self.assertTrue(text[1].endswith("a = two\\nlines\\n"), text[1])
        self.assertTrue(text[2].endswith("0x00ff = raw"), text[2])

    def test_scans(self):
        keys = [f"k{n:04}" for n in range(1200)]
        self.fill_objects(keys)
        self.assertEqual(keys, self.out("scan", "k", "--keys").splitlines())
        some = self.out("scan", "k", "--after", "k0699", "--count", 5, "--keys")
        self.assertEqual(keys[700:705], some.splitlines())
        self.assertEqual({"key": "k0000", "value": "v", "created": 1, "modified": 1},
                         self.lines("scan", "k0", "--count", "1")[0])
        self.assertEqual("         1  k0000 = v",
                         self.out("scan", "k0", "--count", 1).splitlines()[1])
        self.assertEqual([], self.lines("scan", "zz"))

    def test_the_clock(self):
        self.assertEqual("0", self.out("clock"))
        self.assertEqual("1", self.out("clock", "next"))
        self.assertEqual([{"clock": 2, "count": 10}], self.lines("clock", "next", "10"))
        self.assertEqual("11", self.out("clock"))
        self.assertEqual("101", self.out("clock", "witness", "100"))
        self.assertEqual("102", self.out("post", "user", "-", "1"))
        self.run_here("clock", "witness", str(2**63), code=1)

    def test_a_post_as_a_node(self):
        self.out("post", "--as", "alpha", "user", "-", "1")
        self.out("post", "--as", "alpha", "user", "-", "2")
        read = self.lines("read")
        self.assertEqual(["alpha"] * 6, [m["from"] for m in read])
        self.assertEqual(["O", "U", "O"] * 2, [m["type"] for m in read])
        self.assertEqual("up", read[0]["object"]["state"])
        self.assertEqual({"node": "alpha", "previous": 1}, read[2]["object"])
        self.assertEqual([], self.lines("nodes"))

    def test_status(self):
        self.out("post", "user", "-", "1")
        self.out("put", "a", "b")
        status = self.lines("status")[0]
        self.assertEqual(2, status["clock"])
        self.assertEqual(2, status["box"]["count"])
        self.assertEqual({"up": 0, "leaving": 0, "down": 0}, status["nodes"])
        text = self.out("status")
        self.assertLess(len(text.splitlines()), 24)
        self.assertRegex(text, r"(?m)^clock +2$")
        self.assertRegex(text, r"(?m)^box +2 messages, .* clocks 1 to 2$")
        self.out("txn", "put", "a", "1")
        status = self.lines("status")[0]
        if "info" in status:
            self.assertEqual(1, status["info"]["transactions"]["run"])
            self.assertEqual(0, status["info"]["transactions"]["open"])
            self.assertEqual("yes", status["info"]["store"]["sync"])
        else:
            self.assertEqual({"open": 0, "versions": 1}, status["transactions"])
        self.assertRegex(self.out("status"), r"(?m)^transactions +0 open, ")
        self.assertRegex(self.out("status"), r"(?m)^disk +\S+ \S+ used of a file of ")

    def test_output_that_cannot_be_written_is_a_failure(self):
        for words in (["post", "user", "-", "1"], ["clock"], ["txn", "-"]):
            with open("/dev/full", "w", encoding="ascii") as full:
                done = subprocess.run([BUILD.lockstep, "--url", self.url, *words],
                                      stdout=full, input="begin will a\n", text=True,
                                      stderr=subprocess.PIPE, timeout=60, check=False,
                                      env=ENVIRONMENT)
            self.assertEqual(1, done.returncode)
            self.assertRegex(done.stderr.splitlines()[-1],
                             r"standard output (cannot be written: No space|could not be written$)")

    def watch(self, *args, **options):
        return spawn([BUILD.lockstep, "--url", self.url, "watch", *args], stdout=subprocess.PIPE,
                     stderr=subprocess.PIPE, text=True, **options)

    def test_a_watch_follows_and_flushes_each_line(self):
        watch = self.watch("-", "--json")
        try:
            for n in range(1, 20):
                self.out("post", "user", "-", n)
                self.assertEqual(n, json.loads(watch.stdout.readline())["object"])
        finally:
            watch.send_signal(signal.SIGINT)
            rest, errors = watch.communicate(timeout=20)
        self.assertEqual((0, "", ""), (watch.returncode, rest, errors))

    def test_a_watch_ends_when_its_reader_is_gone(self):
        self.out("post", "user", "-", "1")
        watch = self.watch("-")
        watch.stdout.readline()
        watch.stdout.close()
        self.assertEqual(0, watch.wait(timeout=20))
        watch.stderr.close()

    def test_a_watch_ends_by_itself_after_count(self):
        self.out("post", "user", "-", "-", stdin="1\n2\n3\n4\n")
        self.assertEqual([2, 3], [m["object"] for m in self.lines("watch", 2, "--count", 2)])
        self.assertEqual([], self.lines("watch", 1, "--count", 1, "--type", "U", "--for", "x")[1:])


class OnDirectory(Commands, unittest.TestCase):
    def setUp(self):
        self.room = scratch("cli")
        self.directory = self.room / "data"
        self.url = str(self.directory)
        run("del", "nothing", url=self.url)  # makes the directory, and moves no clock

    def file(self, data):
        path = self.room / "file"
        path.write_bytes(data)
        return path

    def fill_objects(self, keys):
        with Server(BUILD, self.directory) as server:
            with server.client() as client:
                for key in keys:
                    client.send("OBJ.PUT", key, "v")
                for _ in keys:
                    client.read()
            server.stop()

    def test_reading_makes_no_directory(self):
        for command in (["status"], ["read"], ["nodes"], ["get", "a"], ["scan"], ["clock"],
                        ["check"], ["dump"]):
            done = run(*command, url=self.room / "nothing", code=1)
            self.assertRegex(done.stderr, "^lockstep: .+\n$")
            self.assertFalse((self.room / "nothing").exists())

    def test_relay_needs_a_server(self):
        self.run_here("relay", "send", "--as", "a", "all", "1", code=1)

    def test_several_processes_share_a_directory(self):
        watch = self.watch("-", "--count", "40", "--json")
        posts = [spawn([BUILD.lockstep, "--url", self.url, "post", "user", "-", "-"],
                       stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(4)]
        clocks = []
        for post in posts:
            clocks += post.communicate("1\n" * 10, timeout=60)[0].split()
        self.assertEqual(40, len(set(clocks)))
        seen = [json.loads(line)["clock"] for line in watch.communicate(timeout=60)[0].splitlines()]
        self.assertEqual(sorted(map(int, clocks)), seen)


class OnServer(Commands, unittest.TestCase):
    def setUp(self):
        self.room = scratch("cli")
        self.directory = self.room / "data"
        self.server = Server(BUILD, self.directory).start()
        self.url = f"lockstep://127.0.0.1:{self.server.port}"

    def tearDown(self):
        self.server.kill()

    def file(self, data):
        path = self.room / "file"
        path.write_bytes(data)
        return path

    def fill_objects(self, keys):
        with self.server.client() as client:
            for key in keys:
                client.send("OBJ.PUT", key, "v")
            for _ in keys:
                client.read()

    def test_relay(self):
        listeners = {}
        for host in ("a", "b", "c"):
            listeners[host] = spawn([BUILD.lockstep, "--url", self.url, "relay", "listen", "--as",
                                     host, "--count", "2", "--json"], stdout=subprocess.PIPE,
                                    text=True)
        wait_until(lambda: len(self.lines("nodes", "--state", "up")) == 3, "three nodes")
        send = lambda *args: self.out("relay", "send", "--as", "sender", *args)  # noqa: E731
        self.assertEqual("3", send("all", '{"n":0}'))
        self.assertEqual("1", send("one", "1"))
        wait_until(lambda: len(self.lines("nodes")) == 2, "a to leave")
        self.assertEqual("1", send("second", "3"))
        self.assertEqual("0", send("to", "nobody", "4"))
        self.assertEqual("1", send("to", "b", "--text", "two"))
        heard = {}
        for host, process in listeners.items():
            said = process.communicate(timeout=20)[0].splitlines()
            heard[host] = [json.loads(line) for line in said]
        self.assertEqual([{"n": 0}, 1], [m["object"] for m in heard["a"]])
        self.assertEqual([{"n": 0}, "two"], [m["object"] for m in heard["b"]])
        self.assertEqual([{"n": 0}, 3], [m["object"] for m in heard["c"]])
        self.assertEqual({"sender"}, {m["from"] for h in heard.values() for m in h})
        self.assertEqual([], self.lines("nodes"))

    def test_a_watch_goes_on_after_the_server_was_away(self):
        address = f"127.0.0.1:{free_port()}"
        self.server.kill()
        self.server = Server(BUILD, self.directory, "--listen", address).start()
        self.url = f"lockstep://{address}"
        watch = self.watch("-", "--count", "4", "--json")
        self.out("post", "user", "-", "-", stdin="1\n2\n")
        self.assertEqual(1, json.loads(watch.stdout.readline())["object"])
        self.server.kill()
        with self.server:
            self.out("post", "user", "-", "-", stdin="3\n4\n")
            rest = [json.loads(watch.stdout.readline())["object"] for _ in range(3)]
            self.assertEqual(0, watch.wait(60))
            watch.communicate()
        self.assertEqual([2, 3, 4], rest)

    def test_what_was_discarded_is_named(self):
        self.out("post", "user", "-", "-", stdin="1\n" * 10)
        with self.server.client() as client:
            client.must("MSG.TRIM", "BEFORE", "6")
        done = self.run_here("read", "2", code=1)
        self.assertIn("messages from 2 to 5 were discarded", done.stderr)
        self.assertIn("lockstep read 6", done.stderr)
        self.assertIn("lockstep watch 6", self.run_here("watch", "2", code=1).stderr)
        self.assertIn("lockstep report --from 6",
                      self.run_here("report", "--from", "2", code=1).stderr)
        self.assertEqual(5, len(self.lines("read")))

    def test_a_password_in_the_url_opens_and_is_never_shown(self):
        with self.server.client() as client:
            client.must("CONFIG", "SET", "password", "s3cret")
        self.assertIn("set LOCKSTEP_PASSWORD", self.run_here("clock", code=1).stderr)
        secured = self.url.replace("://", "://default:s3cret@")
        self.assertNotEqual(self.url, secured)
        for words in (["clock"], ["status"], ["status", "--json"], ["post", "user", "-", "-"],
                      ["bench", "--requests", "10"], ["bench", "--requests", "10", "--json"],
                      ["report", "--out", "-"]):
            done = run(*words, url=secured, stdin="1\n")
            self.assertNotEqual("", done.stdout)
            self.assertNotIn("s3cret", done.stdout + done.stderr)
        for url, password in ((secured, "another"), (self.url, "s3cret")):
            for words in ("clock", "status"):
                subprocess.run([BUILD.lockstep, "--url", url, words], timeout=60, check=True,
                               stdout=subprocess.DEVNULL,
                               env={**ENVIRONMENT, "LOCKSTEP_PASSWORD": password})

    def test_a_server_that_is_not_there(self):
        self.server.kill()
        started = time.monotonic()
        self.assertRegex(self.run_here("status", code=1).stderr, "^lockstep: .+\n$")
        self.assertLess(time.monotonic() - started, 30)

    def test_check_and_dump_while_the_server_writes(self):
        load = spawn([BUILD.lockstep, "--url", self.url, "bench", "--seconds", "2", "--connections",
                      "4"], stdout=subprocess.DEVNULL)
        wait_until(lambda: self.lines("clock")[0]["clock"] > 100, "some posts")
        while load.poll() is None:
            run("check", self.directory)
            dump = run("dump", self.directory).stdout
            copy = self.room / "copy"
            run("load", copy, stdin=dump)
            self.assertEqual(dump, run("dump", copy).stdout)
            run("check", copy)
            shutil.rmtree(copy)

    def bench(self, *args, code=0, url=None):
        done = run("bench", "--json", *args, url=url or self.url, code=code)
        return json.loads(done.stdout)

    def test_bench(self):
        result = self.bench("--requests", 10000)
        self.assertEqual((10000, 0), (result["requests"], result["errors"]))
        self.assertEqual(10000, self.lines("status")[0]["box"]["count"])
        self.assertGreater(result["per_second"], 0)
        self.assertTrue(0 < result["p50_us"] <= result["p99_us"] <= result["max_us"])
        result = self.bench("--requests", 1001, "--threads", 2, "--connections", 3, "--pipeline", 7,
                            "--command", "OBJ.PUT k:__seq__ __data__", "--size", "5")
        self.assertEqual((1001, 0), (result["requests"], result["errors"]))
        self.assertEqual(5, len(self.lines("scan", "--count", 1)[0]["value"]))
        result = self.bench("--seconds", 1, "--command", "PING")
        self.assertTrue(0.9 < result["seconds"] < 20, result)

    def test_bench_counts_errors_and_shows_the_first(self):
        done = run("bench", "--requests", 50, "--command", "NO.SUCH command", url=self.url, code=1)
        self.assertRegex(done.stderr, "50 of 50 requests were refused, the first with: ERR ")

    def test_bench_with_watchers(self):
        result = self.bench("--requests", 200, "--watchers", 20)
        self.assertEqual((200, 4000), (result["requests"], result["delivered"]))

    @unittest.skipUnless(shutil.which("redis-server"), "redis-server is not installed")
    def test_bench_on_redis(self):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        redis = spawn(["redis-server", "--port", port, "--save", "", "--dir", self.room],
                      stdout=subprocess.DEVNULL)
        url = f"redis://127.0.0.1:{port}"
        try:
            wait_until(lambda: subprocess.run(["redis-cli", "-p", str(port), "PING"], check=False,
                                              capture_output=True).stdout == b"PONG\n", "redis")
            self.assertEqual(5000, self.bench("--requests", 5000, url=url)["requests"])
            self.assertEqual(2000, self.bench("--requests", 100, "--watchers", 20,
                                              url=url)["delivered"])
        finally:
            redis.kill()
            redis.wait()


class Transactions(unittest.TestCase):
    """lockstep txn: operations as arguments, steps from standard input, the past, explanations."""

    def setUp(self):
        self.directory = scratch("cli") / "data"

    def out(self, *args, **options):
        return out("txn", *args, url=self.directory, **options)

    def test_operations_are_one_transaction(self):
        self.assertEqual("a = 6\nb = x y", self.out("put", "a", "1", "put", "b", "x y",
                                                    "incrby", "a", "5", "get", "b"))
        done = run("txn", "check", "a", "7", "put", "a", "0", url=self.directory, code=1)
        self.assertIn("'a'", done.stderr)
        self.assertEqual("6\n\nx y", self.out("--values", "get", "a", "get", "c", "get", "b"))
        self.assertEqual("", self.out("check", "a", "6", "incrby", "n", "-3", "del", "b")[7:])
        self.assertEqual("n = -3\nb is absent", self.out("get", "n", "get", "b"))
        self.assertEqual([{"operation": "get", "key": "a", "value": "6"},
                          {"operation": "get", "key": "b", "value": None}],
                         lines("txn", "get", "a", "get", "b", url=self.directory))

    def test_wrong_usage_is_refused_before_anything_is_opened(self):
        for sentence, *args in [("no operation 'frob'", "frob"), ("takes a key", "get"),
                                ("takes a key and a value", "put", "a"),
                                ("number of 64 bits", "incrby", "a", "9223372036854775808"),
                                ("only 'get'", "--at", "3", "put", "a", "1"),
                                ("takes a timestamp", "explain"),
                                ("is a number", "explain", "now")]:
            done = run("txn", *args, url=self.directory, code=2)
            self.assertIn(sentence, done.stderr)
            self.assertFalse(self.directory.exists())

    def test_what_only_reads_makes_no_directory(self):
        for args in (("get", "a"), ("check", "a", "1"), ("explain", "1")):
            run("txn", *args, url=self.directory, code=1)
            self.assertFalse(self.directory.exists())

    def test_the_past_is_as_it_was(self):
        self.out("put", "a", "old")
        clock = out("clock", url=self.directory)
        self.out("put", "a", "new")
        self.assertEqual("a = old", self.out("--at", clock, "get", "a"))
        self.assertEqual("a = new", self.out("get", "a"))
        run("txn", "--at", "1000000", "get", "a", url=self.directory, code=1)

    def test_steps_decide_what_is_committed(self):
        self.out("put", "a", "1")
        steps = "# a comment\n\nbegin eager a lazy b will a may c\nread b\n" \
                "put a  two words\ncommit\nbegin may a\nput a no\nabort\n"
        told = self.out("-", stdin=steps).splitlines()
        self.assertRegex(told[0], "^begin [0-9]+$")
        self.assertEqual(["a = 1", "b is absent"], told[1:3])
        self.assertRegex(told[3], "^committed [0-9]+$")
        self.assertEqual("a =  two words", self.out("get", "a"))
        told = lines("txn", "-", url=self.directory, stdin="begin eager a ttl 9000\ncommit\n")
        self.assertEqual(["begin", "read", "commit"], [line["operation"] for line in told])

    def test_a_mistake_ends_the_steps_and_aborts(self):
        for sentence, steps in [("there is no 'commit'", "begin will a\nput a x\n"),
                                ("no step 'frob'", "begin will a\nput a x\nfrob\ncommit\n"),
                                ("'begin' one first", "commit\n"),
                                ("open already", "begin will a\nbegin will a\n"),
                                ("stands eager", "begin a\n"),
                                ("milliseconds", "begin will a ttl soon\n"),
                                ("byte of zero", "begin will a\0b\n"),
                                ("not declared", "begin eager b\nput a 1\n"),
                                ("was not", "begin will a\ncommit\n"),
                                ("takes a key", "begin will a\nput\n")]:
            done = run("txn", "-", url=self.directory, stdin=steps, code=1)
            self.assertIn(sentence, done.stderr)
        self.assertEqual("a is absent", self.out("get", "a"))

    def test_input_that_cannot_be_read_is_a_failure(self):
        unreadable = os.open("/", os.O_RDONLY)
        done = subprocess.run([BUILD.lockstep, "--url", self.directory, "txn", "-"],
                              stdin=unreadable, capture_output=True, text=True, timeout=60,
                              check=False, env=ENVIRONMENT)
        os.close(unreadable)
        self.assertEqual((1, "lockstep: standard input cannot be read: Is a directory\n"),
                         (done.returncode, done.stderr))

    def test_an_open_transaction_is_explained(self):
        command = [str(BUILD.lockstep), "--url", str(self.directory), "txn", "-"]
        holder = spawn(command, ENVIRONMENT, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                       text=True)
        holder.stdin.write("begin may b ttl 60000\n")
        holder.stdin.flush()
        first = holder.stdout.readline().split()[1]
        waiter = spawn(command, ENVIRONMENT, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                       text=True)
        waiter.stdin.write("begin lazy b will a ttl 60000\n")
        waiter.stdin.flush()
        second = waiter.stdout.readline().split()[1]
        told = self.out("explain", second).splitlines()
        self.assertRegex(told[0], f"transaction {second} began .* released in [0-9]+ ms")
        self.assertRegex(told[1], "^will +a$")
        self.assertRegex(told[2], f"^lazy +b  waits for {first}, which may write it and began ")
        told = lines("txn", "explain", second, url=self.directory)
        self.assertEqual({"key": "a", "kinds": "will"}, told[1])
        self.assertEqual(int(first), told[2]["waits_for"])
        for process in (holder, waiter):
            process.stdin.write("abort\n")
            process.communicate(timeout=60)
            self.assertEqual(0, process.returncode)
        for over in (second, "1"):
            self.assertIn(f"no transaction with the timestamp {over} is open: it is over, or there "
                          "never was one",
                          run("txn", "explain", over, url=self.directory, code=1).stderr)

    def test_a_step_without_an_end_is_refused(self):
        steps = spawn([BUILD.lockstep, "--url", str(self.directory), "txn", "-"], ENVIRONMENT,
                      stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        with self.assertRaises(BrokenPipeError):
            steps.stdin.write(b"begin may a\nput a ")
            for _ in range(80):
                steps.stdin.write(b"x" * (1 << 20))
        _, said = steps.communicate(timeout=60)
        self.assertIn(b"line 2 is longer than 67108864 bytes\n", said)
        self.assertEqual(1, steps.returncode)


class Examples(unittest.TestCase):
    """The shell scripts in examples/, on a directory."""

    def setUp(self):
        self.room = scratch("cli")
        self.directory = self.room / "data"
        run("del", "nothing", url=self.directory)
        self.environment = {"LOCKSTEP_URL": str(self.directory),
                            "PATH": f"{BUILD.lockstep.parent}:{os.environ['PATH']}"}

    def start(self, name, *args):
        script = pathlib.Path(__file__).parents[2] / "examples" / name
        return spawn(["sh", script, *args], self.environment, stdout=subprocess.PIPE, text=True)

    def test_a_lock_is_held_by_one_at_a_time(self):
        work = "set -C; : > alone; sleep 0.05; rm alone; echo done"
        holders = [self.start("lock.sh", "x", "sh", "-c", f"cd {self.room} && {work}")
                   for _ in range(5)]
        for holder in holders:
            self.assertEqual("done\n", holder.communicate(timeout=60)[0])
            self.assertEqual(0, holder.returncode)
        self.assertEqual([], lines("scan", url=self.directory))

    def test_a_bank_neither_makes_nor_loses_money(self):
        accounts = ["x", "y", "z"]
        for name in accounts:
            self.assertEqual(0, self.start("bank.sh", "open", name, "100").wait(60))
        moves = [self.start("bank.sh", "move", accounts[i % 3], accounts[(i + 1 + i // 3) % 3], "40")
                 for i in range(12) if (1 + i // 3) % 3 != 0]
        for move in moves:
            self.assertRegex(move.communicate(timeout=60)[0], "^(moved 40 at [0-9]+\n)?$")
        show = self.start("bank.sh", "show", *accounts).communicate(timeout=60)[0]
        balances = [int(line.split(" = ")[1]) for line in show.splitlines()]
        self.assertEqual(300, sum(balances))
        self.assertTrue(all(balance >= 0 for balance in balances))

    def test_the_shard_driven_by_hand_answers_in_its_order(self):
        with Server(BUILD, self.room / "served") as server:
            script = pathlib.Path(__file__).parents[2] / "examples" / "shard_by_hand.sh"
            done = subprocess.run(["bash", script, "127.0.0.1", str(server.port)], text=True,
                                  capture_output=True, timeout=60, check=True)
        heard = [" ".join(line.split()[3:]) for line in done.stdout.splitlines()
                 if line.startswith("shard ")]
        heard = [re.sub(r"by-hand-[0-9]+ ", "", line) for line in heard]
        self.assertEqual(["(nothing yet)", "(nothing yet)", "shard-read 20 alice 100",
                          "(nothing yet)", "shard-read 35 alice 100"], heard)
        self.assertIn("open 0", done.stdout)

    def test_a_backup_is_the_same_store(self):
        out("put", "a", "b", url=self.directory)
        backup = self.start("backup.sh", self.directory, self.room / "copy")
        self.assertIn("1 object,", backup.communicate(timeout=60)[0])
        self.assertEqual(0, backup.returncode)
        self.assertEqual("b", out("get", "a", url=self.room / "copy"))

    def test_reacting_goes_on_where_it_was(self):
        out("post", "user", "-", "-", stdin="10\n20\n30\n40\n", url=self.directory)
        state = self.room / "state"
        first = self.start("react.sh", state, "3").communicate(timeout=60)[0]
        self.assertEqual(["doing 1: 10", "doing 2: 20", "doing 3: 30"], first.splitlines())
        second = self.start("react.sh", state, "1").communicate(timeout=60)[0]
        self.assertEqual(["doing 4: 40"], second.splitlines())

    def test_reacting_begins_with_the_oldest_message_kept(self):
        with Server(BUILD, self.directory) as server, server.client() as client:
            for n in (10, 20, 30):
                client.must("MSG.POST", "user", "-", "JSON", str(n))
            client.must("MSG.TRIM", "BEFORE", "2")
        first = self.start("react.sh", self.room / "state", "1").communicate(timeout=60)[0]
        self.assertEqual(["doing 2: 20"], first.splitlines())

    def test_an_example_without_arguments_says_how_it_is_called(self):
        for name in ("backup.sh", "bank.sh", "lock.sh", "react.sh"):
            script = pathlib.Path(__file__).parents[2] / "examples" / name
            done = subprocess.run(["sh", script], capture_output=True, text=True, timeout=60,
                                  check=False)
            self.assertEqual(2, done.returncode)
            self.assertRegex(done.stderr, rf"{name} [A-Za-z]")


if __name__ == "__main__":
    # What waits for ever is a failure. Under a sanitizer all is slower, and may be.
    signal.alarm(1180 if "SANITIZED" in os.environ else 280)
    unittest.main()
