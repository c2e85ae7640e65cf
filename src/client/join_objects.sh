#!/bin/sh
# Joins static libraries into one whose only visible names are the public ones:
#   join_objects.sh OUTPUT COMPILER.. -- WHOLE-ARCHIVE.. -- ARCHIVE..
# The archives that come first go in whole, of the others what they need.
set -eu

output=$1
shift
compiler=
while [ "$1" != -- ]; do
    compiler="$compiler $1"
    shift
done
shift
whole=
while [ "$1" != -- ]; do
    whole="$whole $1"
    shift
done
shift

object=$output.o
$compiler -r -nostdlib -o "$object" -Wl,--whole-archive $whole -Wl,--no-whole-archive \
    -Wl,--start-group "$@" -Wl,--end-group
${OBJCOPY:-objcopy} --localize-hidden "$object"
rm -f "$output"
${AR:-ar} rcs "$output" "$object"
rm -f "$object"
