#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Fetches the packages of package-lock.json with npm, and joins what a page needs of them.

    vendor.py PACKAGE.JSON PACKAGE-LOCK.JSON NPM SCRIPT STYLE LICENCES

Writes the last three. npm checks each package against the lock file's hash. What was fetched stays
in a directory beside SCRIPT, so that only the first build needs a network; a change of the lock file
fetches again."""
import json
import pathlib
import shutil
import subprocess
import sys

# In the order of their use of each other, as each puts its names beside those of the ones before.
SCRIPTS = [
    "d3-dispatch/dist/d3-dispatch.min.js", "d3-selection/dist/d3-selection.min.js",
    "d3-timer/dist/d3-timer.min.js", "d3-ease/dist/d3-ease.min.js",
    "d3-color/dist/d3-color.min.js", "d3-interpolate/dist/d3-interpolate.min.js",
    "d3-transition/dist/d3-transition.min.js", "d3-drag/dist/d3-drag.min.js",
    "d3-zoom/dist/d3-zoom.min.js", "uplot/dist/uPlot.iife.min.js",
]
STYLES = ["uplot/dist/uPlot.min.css"]


def fetch(manifest, lock, npm, directory):
    """The directory of the packages, as the lock file has them."""
    fetched = directory / "fetched-lock.json"
    if fetched.exists() and fetched.read_bytes() == lock.read_bytes():
        return directory / "node_modules"
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    shutil.copyfile(manifest, directory / "package.json")
    shutil.copyfile(lock, directory / "package-lock.json")
    done = subprocess.run([npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund",
                           "--prefer-offline"], cwd=directory, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{done.stdout}{done.stderr}vendor.py: npm could not fetch what the report's page "
                 "stands on; the first build needs a network")
    shutil.copyfile(lock, fetched)
    return directory / "node_modules"


def licences(lock, packages):
    """Every package with its version and its licence; the same text only once."""
    texts = {}
    for path, package in sorted(json.loads(lock.read_text())["packages"].items()):
        if path:
            name = path.removeprefix("node_modules/")
            text = (packages / name / "LICENSE").read_text().strip()
            texts.setdefault(text, []).append(f"{name} {package['version']}")
    return "\n\n".join(", ".join(names) + "\n\n" + text for text, names in texts.items()) + "\n"


def joined(packages, names):
    return "".join((packages / name).read_text().strip() + "\n" for name in names)


manifest, lock, npm, script, style, notice = sys.argv[1:]
lock = pathlib.Path(lock)
packages = fetch(pathlib.Path(manifest), lock, npm, pathlib.Path(script).parent.absolute() / "npm")
pathlib.Path(script).write_text(joined(packages, SCRIPTS))
pathlib.Path(style).write_text(joined(packages, STYLES))
pathlib.Path(notice).write_text(licences(lock, packages))
