#!/bin/sh
# Copies a data directory while it is in use, and makes sure of the copy: backup.sh DIR COPY
#
# The copy is the store at one clock. It opens like any other directory.
set -eu
: "${2:?backup.sh DIR COPY}"
dump=$(mktemp)
trap 'rm -f "$dump"' EXIT

lockstep dump "$1" >"$dump"
lockstep load "$2" <"$dump"
lockstep check "$2"
lockstep dump "$2" | cmp - "$dump"
