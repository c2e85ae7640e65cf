#!/bin/sh
# Runs an example, on a store in memory and on a directory, and looks for a line of its output:
#   check.sh PROGRAM LINE
set -eu

directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT
for url in mem: "lmdb:$directory/data"; do
    output=$("$1" "$url") || { echo "$1 $url failed: $output"; exit 1; }
    echo "$output" | grep -qxe "$2" || { echo "$1 $url: no line '$2' in: $output"; exit 1; }
done
