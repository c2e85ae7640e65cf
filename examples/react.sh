#!/bin/sh
# Does something for each message as it comes, and goes on where it was: react.sh STATE-FILE COUNT
#
# The state file keeps the clock of the last message that was done. Killed at any moment and started
# again, it skips nothing, and does at most the one message again that was under way.
set -eu
state=${1:?react.sh STATE-FILE COUNT}
from=- # at first from the oldest message that is kept
[ ! -s "$state" ] || from=$(($(cat "$state") + 1))

lockstep watch "$from" --type user --count "$2" --json |
    while read -r message; do
        clock=${message#*'"clock":'}
        clock=${clock%%,*}
        object=${message#*'"object":'}
        echo "doing $clock: ${object%\}}"
        echo "$clock" >"$state.new"
        mv "$state.new" "$state"
    done
