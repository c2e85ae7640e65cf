#!/bin/sh
# A bank in shell, over versioned keys:
#   bank.sh open ACCOUNT AMOUNT
#   bank.sh move FROM TO AMOUNT
#   bank.sh show ACCOUNT ...
#
# A transfer reads two balances, decides, and writes: a transaction step by step. However many run at
# the same time, none has to be tried again and no money is made or lost. Where no decision is needed,
# a transaction of one call does: see 'open'.
set -eu

move() {
    room=$(mktemp -d)
    trap 'rm -rf "$room"' EXIT
    mkfifo "$room/steps" "$room/answers"
    lockstep txn --values - <"$room/steps" >"$room/answers" &
    exec 3>"$room/steps" 4<"$room/answers"

    echo "begin eager $1 $2 may $1 $2" >&3
    read -r _ timestamp <&4 # "begin" and the transaction's place in the one order
    read -r from <&4
    read -r to <&4
    if [ "${from:-0}" -lt "$3" ]; then
        echo abort >&3
        echo "$1 has only ${from:-0}" >&2
        return 1
    fi
    echo "put $1 $((${from:-0} - $3))" >&3
    echo "put $2 $((${to:-0} + $3))" >&3
    echo commit >&3
    exec 3>&-
    wait $! # fails where the commit did
    echo "moved $3 at $timestamp"
}

command=${1:-}
[ $# = 0 ] || shift
case $command in
open) lockstep txn incrby "account/$1" "$2" >/dev/null ;;
move) move "account/$1" "account/$2" "$3" ;;
show)
    # shellcheck disable=SC2046 # names of accounts have no blanks
    lockstep txn $(printf 'get account/%s ' "$@")
    ;;
*)
    sed -n '2,5s/^# \{0,1\}//p' "$0" >&2
    exit 2
    ;;
esac
