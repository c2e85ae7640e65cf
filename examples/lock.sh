#!/bin/sh
# Runs a command while holding a lock: lock.sh NAME COMMAND [ARGUMENT ...]
#
# The lock is an object: whoever creates it has it. Waiting needs no polling and loses no release:
# the watch begins right after the clock at which the lock was still to be tried. The lock stays
# when this process is killed; a program that must not leave one behind joins as a node and owns it.
set -eu
key=lock/${1:?lock.sh NAME COMMAND [ARGUMENT ...]}
shift

clock=$(lockstep clock)
until mine=$(lockstep put --nx "$key" "held by $(hostname), process $$" 2>/dev/null); do
    lockstep watch "$((clock + 1))" --key "$key" --count 1 >/dev/null
    clock=$(lockstep clock)
done

# Only what is still ours is deleted: `mine` is the clock at which we made it.
trap 'lockstep del "$key" --if "$mine" >/dev/null' EXIT
"$@"
