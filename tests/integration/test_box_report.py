#!/usr/bin/python3
"""lockstep report on real boxes: the page's data is what was posted, from a server and from a directory;
its bounds, its sentences, and the file it leaves.

    test_box_report.py BUILD-DIRECTORY [unittest arguments]
"""

import json
import os
import pathlib
import re
import resource
import subprocess
import sys
import unittest

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from lib.browser import Browser, chromium  # noqa: E402
from lib.process import Build, Server, scratch  # noqa: E402

BUILD = Build(sys.argv.pop(1))


def lockstep(url, *args, code=0, cwd=None):
    done = subprocess.run([BUILD.lockstep, "--url", str(url), *map(str, args)], text=True, cwd=cwd,
                          capture_output=True, timeout=60, check=False)
    assert done.returncode == code, f"{args}: exit {done.returncode}\n{done.stdout}{done.stderr}"
    return done


def data_of(page):
    """The data within a page."""
    text = page.read_text() if isinstance(page, pathlib.Path) else page
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.S)[1])


def node_of(data, name):
    return next(node for node in data["nodes"] if node["name"] == name)


class BoxReport(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.directory = scratch("box-report")
        cls.server = Server(BUILD, cls.directory / "store").start()
        cls.url = f"lockstep://127.0.0.1:{cls.server.port}"
        with cls.server.client() as a, cls.server.client() as b:
            a.must("NODE.JOIN", "a", "TTL", 600000)  # 1
            b.must("NODE.JOIN", "b</script>", "TTL", 600000)  # 2
            cls.first = a.must("MSG.POST", "user", "x", "TEXT", "hello")
            cls.second = a.must("MSG.POST", "user", "-", "TO", "b</script>", "TEXT", "for one")
            b.must("OBJ.PUT", "key", "value")
            with cls.server.client() as nobody:
                cls.last = nobody.must("MSG.POST", "database", "created", "JSON", "{}")

    @classmethod
    def tearDownClass(cls):
        cls.server.stop()

    def page(self, name, *args, url=None):
        path = self.directory / name
        done = lockstep(url or self.url, "report", "--out", path, *args)
        return path, data_of(path), done.stdout

    def check_data(self, data):
        self.assertEqual("box", data["source"])
        a, b = node_of(data, "a"), node_of(data, "b</script>")
        self.assertEqual((3, 0, self.second), (a["sent"], a["received"], a["final_clock"]))
        self.assertEqual((2, 1), (b["sent"], b["received"]))
        self.assertEqual(1, node_of(data, "(not joined)")["sent"])
        self.assertEqual(str(self.last - self.second), a["drift"])
        self.assertEqual(2, a["max_jump"])
        events = [(event[0], data["nodes"][event[1]]["name"], event[4], event[8]) for event in data["events"]]
        self.assertIn(("message", "a", self.first, "user.x"), events)
        self.assertIn(("message", "a", self.second, "user"), events)
        self.assertIn(("addressed", "b</script>", self.second, ""), events)
        self.assertIn(("message", "(not joined)", self.last, "database.created"), events)
        self.assertEqual(self.last + 1, len(events))

    def test_a_server_and_its_directory_give_the_same(self):
        for url in (self.url, self.directory / "store"):
            _, data, said = self.page("all.html", url=url)
            self.check_data(data)
            self.assertIn(f"{self.last} messages of 3 nodes, clocks 1 to {self.last}\n", said)

    def test_only_the_span_that_was_asked_for(self):
        _, data, _ = self.page("span.html", "--from", self.first, "--to", self.second)
        self.assertEqual(["a", "b</script>"], [node["name"] for node in data["nodes"]])
        self.assertEqual(f"Messages {self.first} to {self.second}", data["title"])
        self.assertEqual(3, len(data["events"]))

    def test_json_says_what_was_written(self):
        path = self.directory / "json.html"
        said = json.loads(lockstep(self.url, "report", "--json", "--out", path).stdout)
        self.assertEqual({"file": str(path), "from": 1, "to": self.last, "messages": self.last, "nodes": 3,
                          "whole": True}, said)

    def test_the_file_is_here_by_default_and_replaced(self):
        here = scratch("here")
        (here / "report.html").write_text("old")
        lockstep(self.url, "report", cwd=here)
        self.check_data(data_of(here / "report.html"))
        self.assertEqual(["report.html"], [path.name for path in here.iterdir()])

    def test_a_dash_is_standard_output(self):
        self.check_data(data_of(lockstep(self.url, "report", "--out", "-").stdout))

    def test_a_span_without_messages_is_an_empty_page(self):
        _, data, said = self.page("none.html", "--from", self.last + 100)
        self.assertEqual(([], []), (data["nodes"], data["events"]))
        self.assertIn("no messages there", said)

    def test_sentences(self):
        for sentence, code, args in (
                ("--from 9 is after --to 3", 2, ["--from", "9", "--to", "3"]),
                ("--from is a clock, or '-' for the oldest kept, not 'noon'", 2, ["--from", "noon"]),
                ("--to is a number greater than 0, not '-1'", 2, ["--to", "-1"]),
                ("--out - and --json both write", 2, ["--out", "-", "--json"]),
                ("/none/page.html: No such file or directory", 1, ["--out", "/none/page.html"])):
            self.assertIn(sentence, lockstep(self.url, "report", *args, code=code).stderr)

    def test_standard_output_that_is_full_is_said(self):
        with open("/dev/full", "w") as full:
            done = subprocess.run([BUILD.lockstep, "--url", self.url, "report", "--out", "-"],
                                  stdout=full, stderr=subprocess.PIPE, text=True, check=False)
        self.assertEqual(1, done.returncode)
        self.assertIn("cannot be written: No space left on device", done.stderr)

    def test_a_page_that_cannot_be_finished_leaves_the_old_one(self):
        here = scratch("full")
        (here / "report.html").write_text("old")
        done = subprocess.run(
            [BUILD.lockstep, "--url", self.url, "report"], cwd=here, stderr=subprocess.PIPE, text=True,
            check=False, restore_signals=False,  # SIGXFSZ stays ignored
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (65536, 65536)))
        self.assertEqual(1, done.returncode)
        self.assertIn("report.html: the report cannot be written: File too large", done.stderr)
        self.assertEqual("old", (here / "report.html").read_text())
        self.assertEqual(["report.html"], [path.name for path in here.iterdir()])

    def test_discarded_messages_are_refused(self):
        with Server(BUILD, scratch("trimmed")) as server, server.client() as client:
            for _ in range(5):
                client.must("MSG.POST", "user", "-", "TEXT", "x")
            client.must("MSG.TRIM", "BEFORE", "3")
            url = f"lockstep://127.0.0.1:{server.port}"
            path = self.directory / "trimmed.html"
            done = lockstep(url, "report", "--from", "1", "--out", path, code=1)
            self.assertRegex(done.stderr, r"discarded|oldest")
            self.assertFalse(path.exists())
            lockstep(url, "report", "--out", path)
            self.assertEqual(3, data_of(path)["nodes"][0]["sent"])

    @unittest.skipIf(chromium() is None, "there is no Chromium")
    def test_a_browser_draws_it(self):
        path, _, _ = self.page("drawn.html")
        browser = Browser(chromium())
        try:
            browser.look(1280, 800)
            browser.open(path)
            self.assertEqual([], browser.faults)
            self.assertEqual([path.absolute().as_uri()],
                             [url for url in browser.requests if not url.startswith("data:")])
            self.assertEqual("true", browser.value("document.documentElement.dataset.ready"))
            self.assertEqual(["a", "b</script>", "(not joined)"], browser.value(
                "[...document.querySelectorAll('#summary .name')].map(found => found.textContent)"))
            self.assertTrue(browser.value("document.querySelector('#queue-section').hidden"))
        finally:
            browser.close()


if __name__ == "__main__":
    unittest.main()
