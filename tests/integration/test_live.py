#!/usr/bin/python3
"""The scale model live: it agrees with the virtual run of the same configuration within the bounds
that docs/model.md states, and leaves nothing running however it ends.

    test_live.py BUILD-DIRECTORY [unittest arguments]
"""

import csv
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import unittest

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from lib.process import Build, Server, spawn, wait_until  # noqa: E402

BUILD = Build(sys.argv.pop(1))
LOCKSTEP = str(BUILD.lockstep)


def children(process):
    path = pathlib.Path(f"/proc/{process.pid}/task/{process.pid}/children")
    return [int(word) for word in path.read_text().split()]


class Live(unittest.TestCase):
    def setUp(self):
        room = tempfile.TemporaryDirectory(prefix="live-")
        self.addCleanup(room.cleanup)
        self.out = pathlib.Path(room.name) / "run"

    def run_model(self, *args):
        done = subprocess.run([LOCKSTEP, "model", "--json", *map(str, args)], capture_output=True,
                              text=True, timeout=120, check=False)
        self.assertEqual(0, done.returncode, done.stderr)
        return json.loads(done.stdout)

    def agree(self, *args):
        virtual = self.run_model(*args)
        live = self.run_model(*args, "--live", "--out", self.out)
        self.assertTrue(live["whole"])
        for mine, other in zip(live["nodes"], virtual["nodes"]):
            ticks = other["ticks"]
            self.assertEqual(ticks, mine["ticks"])
            for name in ("final_clock", "sent", "received", "drift"):
                self.assertLessEqual(abs(mine[name] - other[name]), 20 + 0.25 * ticks,
                                     f"{name}: live {mine}, virtual {other}")
        totals = live["totals"]
        self.assertEqual(totals["messages"], totals["received"] + totals["lost"]
                         + totals["in_flight"] + totals["waiting"])

    def test_live_and_virtual_agree(self):
        self.agree("--rates", "100,80,40", "--seconds", 3)

    def test_live_and_virtual_agree_in_a_ring(self):
        self.agree("--rates", "60,50,40,30", "--peers", 2, "--seconds", 2)

    def test_every_receipt_comes_after_its_send(self):
        self.run_model("--rates", "100,80,20", "--seconds", 2, "--live", "--out", self.out)
        sent = set()
        with open(self.out / "events.csv", newline="", encoding="ascii") as file:
            for row in csv.DictReader(file):
                if row["event"] == "receive":
                    self.assertIn((row["peer"], row["peer_clock"]), sent)
                elif row["event"] != "internal":
                    sent.add((row["node"], row["logical_clock"]))
        self.assertTrue(sent)

    def end_early(self, deed, sentence):
        process = spawn([LOCKSTEP, "model", "--live", "--rates", "50,20", "--seconds", 60, "--out",
                         self.out], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        wait_until(lambda: len(children(process)) == 3, "the server and two nodes")
        pids = children(process)
        deed(process, pids)
        _, said = process.communicate(timeout=60)
        self.assertEqual(1, process.returncode, said)
        self.assertIn(sentence, said)
        self.assertEqual([], [pid for pid in pids if os.path.exists(f"/proc/{pid}")])
        self.assertFalse(json.loads((self.out / "summary.json").read_text())["whole"])

    def test_an_interrupted_run_is_written_and_says_so(self):
        self.end_early(lambda process, _: process.send_signal(signal.SIGINT), "interrupted after")

    def test_a_node_that_dies_ends_the_run(self):
        self.end_early(lambda _, pids: os.kill(pids[1], signal.SIGKILL), "node 1 died of Killed")

    def test_a_server_that_dies_ends_the_run(self):
        self.end_early(lambda _, pids: os.kill(pids[0], signal.SIGKILL), "")

    def test_a_server_with_a_password_is_given_it(self):
        with Server(BUILD, self.out.parent / "data", "--password", "s3cret") as server:
            args = [LOCKSTEP, "model", "--live", "--rates", "20,10", "--seconds", "1", "--url"]
            url = f"lockstep://127.0.0.1:{server.port}"
            secured = url.replace("://", "://default:s3cret@")
            for where, password, code in ((url, "s3cret", 0), (secured, "other", 0), (url, "other", 1)):
                done = subprocess.run([*args, where], capture_output=True, text=True, timeout=60,
                                      check=False,
                                      env={**os.environ, "LOCKSTEP_PASSWORD": password})
                self.assertEqual(code, done.returncode, done.stderr)
            with server.client() as client:
                client.must("AUTH", "s3cret")
                client.must("NODE.JOIN", "other")
                done = subprocess.run([*args, secured], capture_output=True, text=True, timeout=60,
                                      check=False)
                self.assertIn(f"other nodes have joined at {url}", done.stderr)

    def test_what_cannot_be_live_is_refused(self):
        for args, sentence in ((["--nodes", "65"], "at most 64, not 65"),
                               (["--rates", "1001"], "at most 1000 times a second"),
                               (["--loss", "0.1"], "--loss is for virtual time"),
                               (["--url", "mem:"], "goes through a server, lockstep://")):
            done = subprocess.run([LOCKSTEP, "model", "--live", *args], capture_output=True,
                                  text=True, timeout=60, check=False)
            self.assertNotEqual(0, done.returncode)
            self.assertIn(sentence, done.stderr)


if __name__ == "__main__":
    unittest.main(verbosity=2)
