"""The frame of a test program: arguments, numbered sentences, one summary line, the exit code."""

import argparse
import sys
import time
import traceback

from lib.process import Build


def arguments(description, **defaults):
    """BUILD and --seed, and for each default an option of its name and kind."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("build", help="the build directory")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--only", default="", help="run only the tests whose name has this")
    for name, value in defaults.items():
        parser.add_argument(f"--{name}", type=type(value), default=value)
    given = parser.parse_args()
    given.build = Build(given.build)
    return given


def run(tests, given):
    """Runs each test on the arguments; exits with 1 if one fails, naming it and the seed."""
    failed = 0
    chosen = [test for test in tests if given.only in test.__name__]
    for test in chosen:
        began = time.monotonic()
        try:
            test(given)
            verdict = "ok"
        except Exception:  # pylint: disable=broad-except
            verdict = "FAILED"
            failed += 1
            print(traceback.format_exc(), flush=True)
        print(f"{verdict:6} {time.monotonic() - began:6.2f} s  {test.__name__.replace('_', ' ')}",
              flush=True)
    print(f"{len(chosen) - failed} of {len(chosen)} passed, seed {given.seed}")
    sys.exit(1 if failed else 0)


def equal(actual, expected, what):
    assert actual == expected, f"{what}: {actual!r}, expected {expected!r}"


def refused(reply, word, *parts):
    """The reply is an error of this word whose sentence has each of the parts."""
    from lib.resp import Error
    assert isinstance(reply, Error), f"expected {word}, got {reply!r}"
    assert reply.word == word, f"expected {word}, got {reply}"
    for part in parts:
        assert part in reply, f"expected '{part}' in: {reply}"
