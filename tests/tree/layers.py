#!/usr/bin/env python3
"""A folder of src/ includes what stands above it in the architecture's list, never what stands below."""
import pathlib
import re
import sys

ORDER = ["base", "codec", "store", "coordinator", "sequencer", "shard", "txn", "relay", "resp",
         "server", "client", "model", "cli"]
# Narrower than the order: these need only base and codec, or must not meet.
ONLY = {"shard": {"base", "codec"}, "relay": {"base", "codec"}, "resp": {"base"}}
NEVER = {("client", "server"), ("cli", "server"), ("model", "server")}


def faults(root):
    for path in sorted((root / "src").rglob("*.[ch]")):
        folder = path.relative_to(root / "src").parts[0]
        if folder not in ORDER:
            yield f"{path}: the folder is not in the architecture"
            continue
        for number, line in enumerate(path.read_text().splitlines(), 1):
            match = re.match(r'\s*#\s*include\s+"([^"]+)"', line)
            if not match or match[1] in ("lockstep.h", "lockstep_shard.h"):
                continue
            other = match[1].split("/")[0]
            if "/" not in match[1] or other not in ORDER:
                yield f"{path}:{number}: include by the path below src/: {match[1]}"
            elif other != folder and (ORDER.index(other) > ORDER.index(folder)
                                      or other not in ONLY.get(folder, {other})
                                      or (folder, other) in NEVER):
                yield f"{path}:{number}: {folder} must not include {other}"


found = list(faults(pathlib.Path(sys.argv[1])))
print("\n".join(found))
sys.exit(1 if found else 0)
