#!/bin/sh
# Joins static libraries into one whose only visible names are the public ones:
#   join_objects.sh OUTPUT COMPILER.. -- ARCHIVE..
# The first archive goes in whole, of the others what it needs.
set -eu

output=$1
shift
compiler=
while [ "$1" != -- ]; do
    compiler="$compiler $1"
    shift
done
shift
first=$1
shift

object=$output.o
$compiler -r -nostdlib -o "$object" -Wl,--whole-archive "$first" -Wl,--no-whole-archive \
    -Wl,--start-group "$@" -Wl,--end-group
${OBJCOPY:-objcopy} --localize-hidden "$object"
rm -f "$output"
${AR:-ar} rcs "$output" "$object"
rm -f "$object"
