#!/usr/bin/python3
"""The report in a browser: it draws, its numbers are those of the history, it says nothing on the
console, and it asks the network for nothing. Skipped where there is no Chromium.

    test_report.py BUILD-DIRECTORY [unittest arguments]
"""

import json
import os
import pathlib
import re
import subprocess
import sys
import unittest

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from lib.browser import Browser, chromium  # noqa: E402
from lib.process import scratch  # noqa: E402

BUILD = pathlib.Path(sys.argv.pop(1))
PAGES = BUILD / "tests/integration/report_pages"
LOCKSTEP = BUILD / "src/cli/lockstep"
LAPTOP = {"width": 1280, "height": 800}
PHONE = {"width": 390, "height": 844, "mobile": True}
LANE = 64  # the height of a line of the diagram where there are few
TOP = 26  # of the first

if chromium() is None:
    print("there is no Chromium")
    sys.exit(77)


class Pages(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.directory = scratch("report")
        cls.browser = Browser(chromium())

    @classmethod
    def tearDownClass(cls):
        cls.browser.close()

    def setUp(self):
        self.browser.look(**LAPTOP)

    def made(self, case):
        """A page's path, and the numbers of its nodes."""
        page, numbers = self.directory / f"{case}.html", self.directory / f"{case}.json"
        subprocess.run([PAGES, case, page, numbers], check=True)
        return page, [json.loads(line, parse_float=str) for line in numbers.read_text().splitlines()]

    def opened(self, case):
        page, nodes = self.made(case)
        self.browser.open(page)
        self.drawn(page)
        return nodes

    def drawn(self, page):
        """Nothing went wrong and nothing was asked for but the page itself."""
        self.assertEqual([], self.browser.faults)
        self.assertEqual([page.absolute().as_uri()],
                         [url for url in self.browser.requests if not url.startswith("data:")])
        self.assertEqual("true", self.browser.value("document.documentElement.dataset.ready"))

    def text(self, selector):
        return self.browser.value(f"document.querySelector({json.dumps(selector)}).textContent")

    def texts(self, selector):
        return self.browser.value(
            f"[...document.querySelectorAll({json.dumps(selector)})].map(found => found.textContent)")

    def count(self, selector):
        return self.browser.value(f"document.querySelectorAll({json.dumps(selector)}).length")

    def inked(self, selector):
        """How much of a canvas is drawn on, from 0 to 1."""
        return self.browser.value(f"""(() => {{
            const canvas = document.querySelector({json.dumps(selector)});
            const pixels = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
            let inked = 0;
            for (let i = 3; i < pixels.length; i += 4) {{ inked += pixels[i] > 0; }}
            return inked * 4 / pixels.length;
        }})()""")

    def corner(self, selector):
        return self.browser.value(f"""(() => {{
            const found = document.querySelector({json.dumps(selector)});
            found.scrollIntoView({{block: 'center'}});
            const box = found.getBoundingClientRect();
            return [box.x, box.y, box.width, box.height];
        }})()""")


class Numbers(Pages):
    def check_numbers(self, nodes):
        rows = self.count("#summary tbody tr")
        self.assertEqual(len(nodes), rows)
        for index, node in enumerate(nodes):
            shown = self.browser.value(
                f"Object.fromEntries([...document.querySelectorAll('#summary tr[data-node=\"{index}\"] td')]"
                ".map(cell => [cell.dataset.field, cell.textContent]))")
            self.assertEqual({field: str(value) for field, value in node.items()},
                             {field: text.replace(",", "") for field, text in shown.items()})

    def test_the_table_has_the_numbers_of_the_history(self):
        self.check_numbers(self.opened("plain"))

    def test_clocks_near_their_end_are_shown_exactly(self):
        self.check_numbers(self.opened("high"))

    def test_a_run_of_the_model_has_the_numbers_of_its_summary(self):
        run = self.directory / "run"
        subprocess.run([LOCKSTEP, "model", "--nodes", "5", "--rates", "6,5,1,0.5,3.25", "--seconds", "20", "--seed",
                        "7", "--out", run], check=True, stdout=subprocess.DEVNULL)
        summary = json.loads((run / "summary.json").read_text(), parse_float=str)
        self.browser.open(run / "report.html")
        self.drawn(run / "report.html")
        names = [f"node {node.pop('node')}" for node in summary["nodes"]]
        self.assertEqual(names, self.texts("#summary .name"))
        self.check_numbers(summary["nodes"])

    def test_a_chart_ends_at_the_final_clocks(self):
        nodes = self.opened("plain")
        self.browser.value("document.querySelector('#clock-chart details').open = true")
        self.browser.frames()
        last = self.texts("#clock-chart .figures tbody tr:last-child > *")
        self.assertEqual(["30 s", *(str(node["final_clock"]) for node in nodes), "180"], last)

    def test_the_jumps_add_up_to_the_ticks(self):
        nodes = self.opened("plain")
        self.browser.value("document.querySelector('#jumps-chart details').open = true")
        self.browser.frames()
        rows = self.browser.value("[...document.querySelectorAll('#jumps-chart .figures tbody tr')].map(row => "
                                  "[...row.querySelectorAll('td')].map(cell => Number(cell.textContent)))")
        self.assertEqual([node["ticks"] for node in nodes], [sum(column) for column in zip(*rows)])


class Looks(Pages):
    CHARTS = ["#clock-chart canvas", "#drift-chart canvas", "#queue-chart canvas", "#jumps-chart canvas",
              "#diagram canvas"]

    def test_every_chart_is_drawn_at_every_size_and_in_both_colours(self):
        page, _ = self.made("plain")
        for size in (LAPTOP, PHONE):
            backs = set()
            for dark in (False, True):
                self.browser.look(**size, dark=dark)
                self.browser.open(page)
                self.drawn(page)
                for chart in self.CHARTS:
                    self.assertGreater(self.inked(chart), 0.01, chart)
                backs.add(self.browser.value("getComputedStyle(document.body).backgroundColor"))
                self.assertEqual(size["width"], self.browser.value("document.documentElement.scrollWidth"))
            self.assertEqual(2, len(backs))

    def test_the_button_overrules_the_system(self):
        self.opened("plain")
        seen = []
        for _ in range(4):
            seen.append((self.text("#theme"), self.browser.value("document.documentElement.dataset.theme")))
            self.browser.value("document.querySelector('#theme').click()")
        self.assertEqual([("Auto", "light"), ("Light", "light"), ("Dark", "dark"), ("Auto", "light")], seen)
        self.assertEqual([], self.browser.faults)

    def test_every_control_has_a_name(self):
        self.opened("many")
        nameless = self.browser.value("""[...document.querySelectorAll('button, input, canvas[tabindex], [tabindex]')]
            .filter(found => !(found.getAttribute('aria-label') || found.getAttribute('aria-labelledby')
              || found.textContent.trim() || (found.labels && found.labels.length > 0)))
            .map(found => found.outerHTML)""")
        self.assertEqual([], nameless)

    def test_a_node_that_is_not_ticked_leaves_the_charts(self):
        self.opened("plain")
        self.browser.value("document.querySelector('#show-1').click()")
        self.browser.frames()
        self.assertEqual(["time", "n1", "n3", "ideal"], self.texts("#clock-chart .u-legend .u-label"))
        for node in (0, 2):
            self.browser.value(f"document.querySelector('#show-{node}').click()")
        self.browser.frames()
        self.assertIn("Tick a node", self.text("#clock-chart"))
        self.assertEqual([], self.browser.faults)

    def spans(self):
        """What stands along the time axes, as hashes: the same where the charts show the same span."""
        return self.browser.value("""['clock', 'drift', 'queue'].map(name => {
            const canvas = document.querySelector(`#${name}-chart canvas`);
            const [top, height] = [canvas.height - 34 * devicePixelRatio, 18 * devicePixelRatio];
            const axis = canvas.getContext('2d').getImageData(0, top, canvas.width, height).data;
            return axis.reduce((hash, byte) => (hash * 31 + byte) % 4294967291, 7);
        })""")

    def test_the_charts_over_time_zoom_together(self):
        self.opened("plain")
        whole = self.spans()
        self.assertEqual(1, len(set(whole)))
        self.browser.value("document.querySelector('#drift-chart .uplot').focus()")
        self.browser.key("+")
        closer = self.spans()
        self.assertEqual(1, len(set(closer)))
        self.assertNotEqual(whole[0], closer[0])
        self.browser.key("0")
        self.assertEqual(whole, self.spans())
        x, y, width, _ = self.corner("#clock-chart .u-over")
        self.browser.mouse("mousePressed", x + width * 0.2, y + 50, button="left", clickCount=1)
        self.browser.mouse("mouseMoved", x + width * 0.6, y + 50, button="left", buttons=1)
        self.browser.mouse("mouseReleased", x + width * 0.6, y + 50, button="left", clickCount=1)
        dragged = self.spans()
        self.assertEqual(1, len(set(dragged)))
        self.assertNotIn(dragged[0], (whole[0], closer[0]))

    def test_fingers_get_buttons_to_zoom_a_chart(self):
        self.browser.look(**PHONE)
        self.opened("plain")
        before = self.spans()
        self.assertEqual("flex", self.browser.value("getComputedStyle(document.querySelector('.touch')).display"))
        self.browser.value("document.querySelector('#queue-chart [aria-label=\"Zoom in\"]').click()")
        self.browser.frames()
        self.assertNotEqual(before, self.spans())
        self.browser.look(**LAPTOP)
        self.assertEqual("none", self.browser.value("getComputedStyle(document.querySelector('.touch')).display"))

    def test_a_chart_is_read_with_the_keyboard(self):
        self.opened("plain")
        self.browser.value("document.querySelector('#queue-chart .uplot').focus()")
        self.browser.key("ArrowLeft")
        self.assertRegex(self.text("#queue-chart [role=status]"), r"^30 s: n1 0, n2 0, n3 \d+$")


class Diagram(Pages):
    """n1 sends with its third tick, at 0.333 s, and n2 receives with its third, at 0.4 s."""

    def event(self):
        return self.text("#event")

    def test_pointing_at_an_event_tells_its_past_and_future(self):
        self.opened("plain")
        x, y, _, _ = self.corner("#diagram canvas")
        self.assertIn("Point at an event", self.event())
        self.browser.mouse("mouseMoved", x + 14, y + TOP + LANE * 0.5)
        self.assertRegex(self.event(), r"^n1, event 1: internal, at 0 s, clock 1\. Before it: 0 events; after it: \d+;")
        self.browser.mouse("mouseMoved", x + 14, y + 2)
        self.assertIn("Point at an event", self.event())

    def test_a_click_keeps_an_event_and_another_lets_it_go(self):
        self.opened("plain")
        x, y, _, _ = self.corner("#diagram canvas")
        at = (x + 14, y + TOP + LANE * 1.5)
        for kept in (True, False):
            for kind in ("mousePressed", "mouseReleased"):
                self.browser.mouse(kind, *at, button="left", clickCount=1)
            self.browser.mouse("mouseMoved", x + 14, y + 2)
            self.assertEqual(kept, self.event().startswith("Kept: n2, event 1:"), self.event())

    def test_a_tap_keeps_an_event(self):
        self.browser.look(**PHONE)
        self.opened("plain")
        x, y, _, _ = self.corner("#diagram canvas")
        self.browser.call("Input.dispatchTouchEvent", type="touchStart",
                          touchPoints=[{"x": x + 16, "y": y + TOP + LANE * 2.5}])
        self.browser.call("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])
        self.browser.frames()
        self.assertRegex(self.event(), "^Kept: n3, event 1: internal, at 0 s, clock 1")

    def test_the_keys_walk_along_a_node_and_along_a_message(self):
        self.opened("plain")
        self.browser.value("document.querySelector('#diagram canvas').focus()")
        for _ in range(3):
            self.browser.key("ArrowRight")
        self.assertRegex(self.text("#event-said"), r"^n1, event 3: broadcast, at 0\.333 s, clock 3\. Before it: 2 ")
        self.browser.key("m")
        self.assertRegex(self.text("#event-said"),
                         r"^n2, event 3: receive from n1 \(clock 3\), at 0\.4 s, clock 4\. Before it: 5 events")
        self.browser.key("ArrowDown")
        self.assertIn("n3, event 1: internal, at 0 s", self.text("#event-said"))
        self.browser.key("Escape")
        self.assertIn("Point at an event", self.event())
        self.assertEqual([], self.browser.faults)

    def reached(self, start, data, backwards):
        """How many events come before one, or after it: by the rules, and not by the page's code."""
        before = {}  # of each event, those right before it
        newest, sends = {}, {}
        for index, (kind, node, _, _, _, message, *_) in enumerate(data["events"]):
            before[index] = {newest[node]} if node in newest else set()
            newest[node] = index
            if kind == "receive" and message in sends:
                before[index].add(sends[message])
            elif message != 0:
                sends[message] = index
        found = {start}
        order = range(start, -1, -1) if backwards else range(start, len(data["events"]))
        for index in order:
            if backwards and index in found:
                found |= before[index]
            elif not backwards and before[index] & found:
                found.add(index)
        return len(found) - 1

    def test_past_and_future_are_those_of_the_rules(self):
        page, _ = self.made("plain")
        self.browser.open(page)
        data = self.browser.value("JSON.parse(document.querySelector('#data').textContent)")
        numbers = {(data["nodes"][event[1]]["name"], event[2]): index for index, event in enumerate(data["events"])}
        self.browser.value("document.querySelector('#diagram canvas').focus()")
        for key in ["ArrowRight"] * 12 + ["ArrowDown"] + ["ArrowRight"] * 8 + ["ArrowDown"] + ["ArrowRight"] * 3:
            self.browser.key(key)
            name, number, before, after, concurrent = re.match(
                r"(n\d), event (\d+):.* Before it: (\d+) events; after it: (\d+); concurrent with it: (\d+)\.",
                self.text("#event-said")).groups()
            index = numbers[name, int(number)]
            past, future = self.reached(index, data, True), self.reached(index, data, False)
            self.assertEqual((past, future, len(data["events"]) - past - future - 1),
                             (int(before), int(after), int(concurrent)), (name, number))

    def test_the_buttons_zoom_and_pan(self):
        self.opened("plain")
        images = set()
        for name in ("Zoom in", "Later", "Show all", "Zoom out"):
            self.browser.value(f"document.querySelector('#diagram-tools [aria-label=\"{name}\"]').click()")
            self.browser.frames()
            images.add(self.browser.value("document.querySelector('#diagram canvas').toDataURL()"))
        self.assertEqual(3, len(images))  # with all shown there is nothing to zoom out of


class Hardship(Pages):
    def test_names_are_text_whatever_is_in_them(self):
        self.opened("names")
        self.assertEqual(["</script><script>alert(1)</script>", "\"quoted\" & 'single' \\ \n",
                          "\u6642\u8a08 \U0001f552 \u00e9", "\ufffd\ufffd not UTF-8"],
                         self.texts("#summary .name"))
        self.assertEqual("</script><!-- <b>title</b>", self.text("#title"))
        self.assertEqual(["</script><img src=x> is a note"], self.texts("#notes li"))
        self.assertEqual(0, self.count("img, b"))

    def test_one_node(self):
        self.opened("one")
        self.assertEqual(1, self.count("#summary tbody tr"))
        self.assertEqual(["jump", "n1"], self.texts("#jumps-chart .u-legend .u-label"))

    def test_a_thousand_nodes(self):
        self.opened("many")
        self.assertIn("The first 200 of 1,000", self.text("#nodes-tools"))
        self.assertEqual(6, self.count("#summary input:checked"))
        self.browser.value("""(() => {
            const search = document.querySelector('#nodes-tools input');
            search.value = 'n1000';
            search.dispatchEvent(new Event('input'));
        })()""")
        self.assertEqual(["n1000"], self.texts("#summary .name"))
        self.assertIn("20,000 of 105,030 events", self.text("#diagram-lead"))

    def test_an_empty_history(self):
        self.opened("empty")
        self.assertIn("There are no nodes", self.text("#nodes-lead"))
        self.assertTrue(self.browser.value("document.querySelector('#clock-section').hidden"))

    def test_an_interrupted_run_says_so(self):
        self.opened("interrupted")
        self.assertEqual("Not whole: stopped by a signal after 30 of 60 seconds.", self.text("#status"))
        self.assertEqual("interrupted", self.browser.value("document.querySelector('#status').className"))

    def test_the_policy_lets_nothing_out_and_nothing_in(self):
        self.opened("plain")
        refused = self.browser.value("""(async () => {
            const refused = new Set();
            document.addEventListener('securitypolicyviolation', event => refused.add(event.effectiveDirective));
            await fetch('http://127.0.0.1:9/').catch(() => 0);
            for (const [name, address] of [['img', 'src'], ['script', 'src'], ['link', 'href'], ['iframe', 'src']]) {
                const made = document.createElement(name);
                made.rel = 'stylesheet';
                made[address] = 'http://127.0.0.1:9/x';
                document.body.append(made);
            }
            for (const name of ['script', 'style']) {
                const made = document.createElement(name);
                made.textContent = 'document.title = 1';
                document.body.append(made);
            }
            for (let frame = 0; frame < 600 && refused.size < 5; frame++) {
                await new Promise(requestAnimationFrame);
            }
            return [...refused].sort();
        })()""")
        self.assertEqual(["connect-src", "frame-src", "img-src", "script-src-elem", "style-src-elem"], refused)


if __name__ == "__main__":
    unittest.main()
