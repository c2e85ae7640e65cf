#!/usr/bin/python3
"""The scale model as its users meet it: the files of a run, how they agree with each other, what is
refused, and what is left where a run does not come to its end.

    test_model.py BUILD-DIRECTORY [unittest arguments]
"""

import collections
import csv
import hashlib
import json
import os
import pathlib
import pty
import re
import resource
import signal
import subprocess
import sys
import tempfile
import time
import unittest
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from lib.process import Build  # noqa: E402

LOCKSTEP = str(Build(sys.argv.pop(1)).lockstep)

# Of the events and the summary of the run below, on any machine and from any compiler.
GOLDEN = ["model", "--nodes", "5", "--rate-range", "0.5:20", "--seconds", "100", "--seed", "7",
          "--latency", "12.5", "--latency-jitter", "80", "--loss", "0.02", "--peers", "3"]
GOLDEN_EVENTS = "ef52c5384e71bbaf6f3307bdb67a2fe69728eb61b3204d4753cfd86e9472591d"
GOLDEN_SUMMARY = "4d55188983b4dfb63f09f22d99a070fd392beb54e505ba0cf3923faf91d00283"


def run(*args, code=0, **more):
    done = subprocess.run([LOCKSTEP, "model", *map(str, args)], capture_output=True, text=True,
                          timeout=240, check=False, **more)
    assert done.returncode == code, (f"lockstep model {args}: exit {done.returncode}, not {code}\n"
                                     f"{done.stdout}{done.stderr}")
    return done


def mean(total, count):
    exact = Fraction(total, count) if count else Fraction(0)
    return float((Decimal(exact.numerator) / exact.denominator)
                 .quantize(Decimal("0.001"), ROUND_HALF_UP))


class Directory(unittest.TestCase):
    def setUp(self):
        room = tempfile.TemporaryDirectory(prefix="model-")
        self.addCleanup(room.cleanup)
        self.room = pathlib.Path(room.name)
        self.out = self.room / "run"

    def rows(self):
        with open(self.out / "events.csv", newline="", encoding="ascii") as file:
            return list(csv.DictReader(file))

    def summary(self):
        return json.loads((self.out / "summary.json").read_text())

    def config(self):
        return json.loads((self.out / "config.json").read_text())


class Files(Directory):
    def test_the_summary_can_be_worked_out_from_the_events(self):
        run("--nodes", 6, "--seconds", 40, "--rate-range", "1:9", "--internal", "0.5", "--out",
            self.out)
        events = collections.defaultdict(list)
        for row in self.rows():
            events[int(row["node"])].append(row)
        summary = self.summary()
        fastest = max(summary["nodes"], key=lambda node: (node["rate"], -node["node"]))
        for node in summary["nodes"]:
            rows = events[node["node"]]
            kinds = collections.Counter(row["event"] for row in rows)
            clocks = [0] + [int(row["logical_clock"]) for row in rows]
            jumps = [b - a for a, b in zip(clocks, clocks[1:])]
            queue = [int(row["queue_length"]) for row in rows]
            self.assertEqual(node, {
                "node": node["node"], "rate": node["rate"], "ticks": len(rows),
                "internal": kinds["internal"], "received": kinds["receive"],
                "sent": kinds["send-one"] + kinds["send-second"] + kinds["broadcast"],
                "final_clock": clocks[-1], "max_jump": max(jumps),
                "mean_jump": mean(sum(jumps), len(rows)), "max_queue": max(queue),
                "mean_queue": mean(sum(queue), len(rows)),
                "drift": fastest["final_clock"] - clocks[-1]})
            self.assertEqual(list(range(1, len(rows) + 1)), [int(row["seq"]) for row in rows])
            self.assertEqual(node["rate"] * 40, len(rows))
        totals = summary["totals"]
        self.assertEqual(fastest["node"], totals["fastest"])
        for name in ("ticks", "internal", "sent", "received"):
            self.assertEqual(totals[name], sum(node[name] for node in summary["nodes"]))
        for name in ("max_jump", "max_queue", "final_clock"):
            self.assertEqual(totals[name], max(node[name] for node in summary["nodes"]))
        self.assertEqual(totals["messages"], totals["received"] + totals["lost"]
                         + totals["in_flight"] + totals["waiting"])
        self.assertTrue(summary["whole"])
        self.assertIsNone(summary["stopped"])
        self.assertEqual(40, summary["seconds"])

    def test_the_columns_are_those_that_are_documented(self):
        run("--rates", "6,5,1", "--out", self.out)
        lines = (self.out / "events.csv").read_text().splitlines()
        self.assertEqual("node,seq,event,system_time,logical_clock,queue_length,peer,peer_clock",
                         lines[0])
        for line in lines[1:]:
            self.assertRegex(line, r"^[123],\d+,(internal,[^,]*,\d+,\d+,,|"
                                   r"broadcast,[^,]*,\d+,\d+,,|"
                                   r"send-(one|second),[^,]*,\d+,\d+,[123],|"
                                   r"receive,[^,]*,\d+,\d+,[123],\d+)$")
            self.assertRegex(line.split(",")[3], r"^\d+\.\d{9}$")

    def test_every_file_is_there_and_says_what_was_asked(self):
        run("--rates", "6,5,1", "--seconds", "2.5", "--latency", "0.5", "--seed", 9, "--out",
            self.out, "--export", "shiviz")
        self.assertEqual({"config.json", "events.csv", "summary.json", "report.html", "shiviz.log"},
                         {path.name for path in self.out.iterdir()})
        config = self.config()
        self.assertEqual([6, 5, 1], config["rates"])
        self.assertEqual((2.5, 0.5, 9, 0.7, 0, None, "virtual"),
                         tuple(config[name] for name in ("seconds", "latency_ms", "seed",
                                                         "internal", "loss", "peers", "mode")))
        self.assertEqual({"nodes": 3, "sampled": False}, config["events"])
        self.assertIn("</html>", (self.out / "report.html").read_text())

    def test_the_same_seed_gives_the_same_bytes_and_another_does_not(self):
        names = ("config.json", "events.csv", "summary.json", "report.html", "shiviz.log")
        contents = []
        for seed in (3, 3, 4):
            self.out = self.room / f"run-{len(contents)}"
            run("--seed", seed, "--out", self.out, "--export", "shiviz", "--latency-jitter", 9)
            contents.append([(self.out / name).read_bytes() for name in names])
        self.assertEqual(contents[0], contents[1])
        for mine, other in zip(contents[0], contents[2]):
            self.assertNotEqual(mine, other)

    def test_a_run_is_the_same_from_every_build(self):
        run(*GOLDEN[1:], "--out", self.out)
        digests = [hashlib.sha256((self.out / name).read_bytes()).hexdigest()
                   for name in ("events.csv", "summary.json")]
        self.assertEqual([GOLDEN_EVENTS, GOLDEN_SUMMARY], digests)

    def test_json_is_what_the_summary_holds(self):
        done = run("--out", self.out, "--json")
        self.assertEqual(1, done.stdout.count("\n"))
        self.assertEqual(self.summary(), json.loads(done.stdout))

    def test_an_empty_directory_that_is_there_is_used(self):
        self.out.mkdir()
        run("--out", self.out)
        self.assertTrue(self.summary()["whole"])

    def test_without_out_nothing_is_written(self):
        done = run(cwd=self.room)
        self.assertEqual([], list(self.room.iterdir()))
        self.assertRegex(done.stdout, r"(?m)^60 seconds, \d+ ticks, \d+ messages")
        for line in done.stdout.splitlines():
            self.assertLessEqual(len(line), 80)


class Shiviz(Directory):
    def test_vector_clocks_say_what_happened_before_what(self):
        run("--nodes", 4, "--rate-range", "2:7", "--latency-jitter", 300, "--out", self.out,
            "--export", "shiviz")
        log = (self.out / "shiviz.log").read_text()
        # The expression that ShiViz has by default.
        found = re.findall(r"(\S*) ({.*})\n(.*)\n", log)
        rows = self.rows()
        self.assertEqual(len(rows), len(found))
        self.assertEqual(log, "".join(f"{h} {c}\n{e}\n" for h, c, e in found))
        sent, last = {}, collections.defaultdict(dict)
        for row, (host, clock, text) in zip(rows, found):
            clock = json.loads(clock)
            self.assertEqual(f"node-{row['node']}", host)
            self.assertTrue(text.startswith(row["event"]))
            expected = dict(last[host])
            expected[host] = expected.get(host, 0) + 1
            if row["event"] == "receive":
                for other, value in sent["node-" + row["peer"], row["peer_clock"]].items():
                    expected[other] = max(value, expected.get(other, 0))
            elif row["event"] != "internal":
                sent[host, row["logical_clock"]] = expected
            self.assertEqual(expected, clock)
            last[host] = clock

    def test_only_the_first_events_of_a_long_run_are_exported(self):
        run("--rates", "900,1000", "--seconds", 100, "--out", self.out, "--export", "shiviz")
        with open(self.out / "shiviz.log", encoding="ascii") as log:
            self.assertEqual(2 * self.config()["shiviz"]["events_max"], sum(1 for _ in log))


class Sizes(Directory):
    def test_very_slow_and_very_fast_nodes(self):
        run("--rates", "0.001,0.002", "--seconds", "10000", "--out", self.out)
        self.assertEqual([10, 20], [node["ticks"] for node in self.summary()["nodes"]])
        self.out = self.room / "fast"
        run("--rates", "1000000,0.5", "--seconds", "2", "--out", self.out)
        self.assertEqual([2000000, 1], [node["ticks"] for node in self.summary()["nodes"]])

    def test_one_node(self):
        run("--nodes", 1, "--internal", 0, "--out", self.out)
        node = self.summary()["nodes"][0]
        self.assertEqual((node["ticks"], 0, 0, node["ticks"]),
                         tuple(node[name] for name in ("sent", "received", "drift", "final_clock")))

    def test_no_time_at_all(self):
        run("--seconds", 0, "--out", self.out)
        self.assertEqual([], self.rows())
        self.assertEqual(0, self.summary()["totals"]["ticks"])

    def test_a_million_nodes_are_sampled_and_say_so(self):
        run("--nodes", 1000000, "--peers", 2, "--seconds", 1, "--out", self.out)
        self.assertEqual({"nodes": 1000, "sampled": True}, self.config()["events"])
        rows = self.rows()
        self.assertEqual(1000, max(int(row["node"]) for row in rows))
        nodes = self.summary()["nodes"]
        self.assertEqual(1000000, len(nodes))
        self.assertEqual(sum(node["ticks"] for node in nodes[:1000]), len(rows))
        self.assertLess((self.out / "report.html").stat().st_size, 8 << 20)
        done = run("compare", self.out, self.out)
        self.assertRegex(done.stdout, r"(?m)^nodes +1000000 +1000000$")


class Refused(Directory):
    def refused(self, sentence, *args, code=2):
        done = run(*args, code=code)
        self.assertRegex(done.stderr, sentence)
        self.assertEqual("", done.stdout)

    def test_sentences(self):
        self.refused("--nodes is a number from 1 to 1000000, not '0'", "--nodes", 0)
        self.refused("ticks a second, more than 0 .*, not 'x'", "--rates", "6,x")
        self.refused("not ''", "--rates", "6,,5")
        self.refused("more than 0 .*, not '0'", "--rates", "0,1")
        self.refused("gives 2 rates, but --nodes is 3", "--rates", "6,5", "--nodes", 3)
        self.refused("such as 1:6, not '6'", "--rate-range", "6")
        self.refused("the least rate first", "--rate-range", "6:1")
        self.refused("not both", "--rate-range", "1:6", "--rates", "1,6")
        self.refused("probability from 0 to 1, not '1.01'", "--internal", "1.01")
        self.refused("probability from 0 to 1, not '2'", "--loss", "2")
        self.refused("such as 60 or 0.5", "--seconds", "soon")
        self.refused("more than 10.9 seconds", "--seconds", "1000000001")
        self.refused("fraction of a nanosecond", "--latency", "0.0000001")
        self.refused("--peers is at most 2, as there are 3 nodes", "--peers", 3)
        self.refused("more than one node", "--peers", 1, "--nodes", 1)
        self.refused("more than 10000 nodes need --peers K", "--nodes", 10001)
        self.refused("give --out as well", "--export", "shiviz")
        self.refused("takes 'shiviz', not 'dot'", "--export", "dot", "--out", self.out)
        self.refused("at most 100 nodes", "--export", "shiviz", "--out", self.out, "--nodes", 101)
        self.refused("or 'compare' and directories", "run")
        self.refused("did you mean '--seed'", "--sead", 1)
        self.assertFalse(self.out.exists())

    def test_a_directory_that_is_not_empty_is_left_alone(self):
        self.out.mkdir()
        (self.out / "events.csv").write_text("mine\n")
        self.refused("is there already and not empty", "--out", self.out, code=1)
        self.assertEqual("mine\n", (self.out / "events.csv").read_text())
        self.assertEqual(1, len(list(self.out.iterdir())))

    def test_what_is_no_directory_or_in_none(self):
        (self.room / "file").touch()
        self.refused("Not a directory", "--out", self.room / "file", code=1)
        self.refused("No such file", "--out", self.room / "none" / "run", code=1)

    def test_a_directory_that_is_not_writable(self):
        self.refused("/proc/.*: ", "--out", "/proc/run", code=1)
        if os.geteuid() == 0:
            self.room.chmod(0o755)
            done = run("--out", self.out, code=1, user=65534, group=65534, extra_groups=[])
            self.assertIn("Permission denied", done.stderr)
        else:
            self.room.chmod(0o555)
            self.refused("Permission denied", "--out", self.out, code=1)


class Interrupted(Directory):
    def full(self, size):
        def limit():
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
        return run("--rates", "100,100,100", "--seconds", 3600, "--out", self.out, code=1,
                   preexec_fn=limit)

    def check_rows(self):
        text = (self.out / "events.csv").read_text()
        self.assertTrue(text.endswith("\n"))
        rows = self.rows()
        for row in rows:
            self.assertIsNotNone(row["peer_clock"])
        return rows

    def test_a_disk_that_fills_up(self):
        done = self.full(1500000)
        self.assertRegex(done.stderr, "^lockstep: .*/events.csv: ")
        rows = self.check_rows()
        self.assertGreater(len(rows), 10000)
        summary = self.summary()
        self.assertFalse(summary["whole"])
        self.assertIn("events.csv", summary["stopped"])
        self.assertGreaterEqual(summary["totals"]["ticks"], len(rows))

    def test_a_disk_with_no_room_at_all(self):
        done = self.full(0)
        self.assertRegex(done.stderr, "^lockstep: .*/config.json: ")
        self.assertFalse(self.out.exists())

    def interrupt(self, number):
        process = subprocess.Popen([LOCKSTEP, "model", "--rates", "1000,1000,300", "--seconds",
                                    "100000000", "--out", str(self.out)],
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        deadline = time.monotonic() + 60
        events = self.out / "events.csv"
        while not events.exists() or events.stat().st_size == 0:
            self.assertLess(time.monotonic(), deadline)
            self.assertIsNone(process.poll())
            time.sleep(0.005)
        process.send_signal(number)
        out, error = process.communicate(timeout=60)
        self.assertEqual(1, process.returncode)
        self.assertRegex(error, r"^lockstep: interrupted after [\d.]+ of 100000000 seconds\n$")
        self.assertRegex(out, r"\d+ ticks, \d+ messages")
        rows = self.check_rows()
        summary = self.summary()
        self.assertFalse(summary["whole"])
        self.assertEqual(error, f"lockstep: {summary['stopped']}\n")
        self.assertEqual(summary["totals"]["ticks"], len(rows))
        self.assertEqual(float(rows[-1]["system_time"]), summary["seconds"])
        self.assertIn("interrupted after", (self.out / "report.html").read_text())

    def test_sigint(self):
        self.interrupt(signal.SIGINT)

    def test_sigterm(self):
        self.interrupt(signal.SIGTERM)


class Shown(Directory):
    def test_a_long_run_shows_a_bar_on_a_terminal(self):
        main, other = pty.openpty()
        process = subprocess.Popen([LOCKSTEP, "model", "--rates", "1000000", "--seconds", "30"],
                                   stdout=subprocess.DEVNULL, stderr=other)
        os.close(other)
        seen = b""
        while True:
            try:
                more = os.read(main, 4096)
            except OSError:
                break
            if not more:
                break
            seen += more
        os.close(main)
        self.assertEqual(0, process.wait(timeout=60))
        self.assertRegex(seen, rb"\r\[#*\.*\] +\d+%  \d+ ticks")
        self.assertTrue(seen.endswith(b"\r\x1b[K"))

    def test_a_run_elsewhere_shows_none(self):
        self.assertEqual("", run("--rates", "1000000", "--seconds", "10").stderr)

    def test_runs_side_by_side(self):
        run("--rates", "6,5,1", "--out", self.out)
        other = self.room / "other"
        run("--rates", "6,5,5", "--seed", 2, "--out", other)
        text = run("compare", self.out, other).stdout
        self.assertRegex(text, r"(?m)^rates +6,5,1 +6,5,5$")
        self.assertRegex(text, r"(?m)^ticks +720 +960$")
        lines = run("compare", self.out, other, "--json").stdout.splitlines()
        self.assertEqual([str(self.out), str(other)],
                         [json.loads(line)["directory"] for line in lines])
        self.assertEqual(self.summary()["totals"], json.loads(lines[0])["summary"]["totals"])
        self.assertNotIn("nodes", json.loads(lines[0])["summary"])

    def test_a_comparison_needs_runs(self):
        run("compare", self.out, code=2)
        run("compare", self.out, self.out, "--seed", 1, code=2)
        self.out.mkdir()
        done = run("compare", self.out, self.out, code=1)
        self.assertIn("is it the directory of a run that ended?", done.stderr)
        (self.out / "config.json").write_text("[1]")
        self.assertIn("is not what 'lockstep model' writes",
                      run("compare", self.out, self.out, code=1).stderr)


if __name__ == "__main__":
    unittest.main(verbosity=1)
