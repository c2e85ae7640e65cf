"""The lockstep command as a test runs it: to its end, with its exit status held to what it must be."""

import json
import os
import subprocess

# Nothing of the tester's own settings.
ENVIRONMENT = {k: v for k, v in os.environ.items() if not k.startswith("LOCKSTEP_")}


class Command:
    def __init__(self, build):
        self.program = str(build.lockstep)

    def run(self, *args, url=None, stdin="", code=0):
        """Gives the finished process. `code` is the exit status, or a set of such."""
        where = ["--url", str(url)] if url is not None else []
        done = subprocess.run([self.program, *where, *map(str, args)], input=stdin, text=True,
                              capture_output=True, timeout=120, check=False, env=ENVIRONMENT,
                              errors="surrogateescape")
        right = done.returncode in code if isinstance(code, set) else done.returncode == code
        assert right, (f"lockstep {args}: exit {done.returncode}, not {code}\n"
                       f"{done.stdout}{done.stderr}")
        return done

    def out(self, *args, **options):
        return self.run(*args, **options).stdout.rstrip("\n")

    def lines(self, *args, **options):
        return [json.loads(line) for line in self.out(*args, "--json", **options).splitlines()]
