#!/bin/bash
# The shard engine driven by hand, message by message: shard_by_hand.sh [HOST [PORT]]
#
# In a system of many machines, workers take transactions in, executors run them, a mempool knows what
# workers have still to say, and a consensus fixes the order. Here one script plays them all against a
# lockstepd, over plain TCP, and prints every message:
#
#     worker  -> shard     KVSAcquireLock     SHARD.ACQUIRE
#     shard   -> worker    KVSLockAcquired    its reply, LOCKED
#     executor -> shard    KVSReadRequest     SHARD.READ
#     mempool -> shard     UpdateSeenAll      SHARD.SEEN
#     consensus -> shard   AnchorChosen       SHARD.ANCHOR
#     shard   -> executor  KVSRead            the push shard-read
#     executor -> shard    KVSWrite           SHARD.WRITE
set -euo pipefail

shard=by-hand-$$
exec 3<>"/dev/tcp/${1:-127.0.0.1}/${2:-7411}" # all that is said to the shard
exec 4<>"/dev/tcp/${1:-127.0.0.1}/${2:-7411}" # where the executor listens

# One reply as a line of text.
hear() {
    local line count text words=()
    IFS= read -r line <&"$1"
    line=${line%$'\r'}
    case $line in
    [+:-]*) echo "${line#[+:]}" ;;
    '$-1') echo nothing ;;
    '$'*)
        IFS= read -r text <&"$1"
        echo "${text%$'\r'}"
        ;;
    '*'*)
        for ((count = ${line#?}; count > 0; count--)); do
            words+=("$(hear "$1")")
        done
        echo "${words[*]}"
        ;;
    *) echo "$line" ;;
    esac
}

# Says a message on the first connection, and prints it and its reply.
say() {
    local who=$1 reply
    shift
    printf '%s\r\n' "$*" >&3
    reply=$(hear 3)
    printf '%-9s -> shard     %-52s %s\n' "$who" "$*" "$reply"
    [[ $reply != -* ]]
}

# Prints what the executor was sent. A PING shows that there is no more: its answer comes last.
listen() {
    local heard
    printf 'PING\r\n' >&4
    heard=$(hear 4)
    if [[ $heard == [Pp][Oo][Nn][Gg]* ]]; then
        echo "shard     -> executor  (nothing yet)"
        return
    fi
    echo "shard     -> executor  $heard"
    hear 4 >/dev/null
}

say operator SHARD.CREATE $shard LEARNER consensus WORKERS 1 worker
printf 'SHARD.LISTEN %s executor\r\n' $shard >&4
hear 4 >/dev/null

echo "# Transaction 10 writes alice."
say worker SHARD.ACQUIRE $shard 10 WORKER worker EXECUTOR executor WILL 1 alice
say executor SHARD.WRITE $shard 10 alice VALUE 100

echo "# Transaction 30 may write alice, and has not decided."
say worker SHARD.ACQUIRE $shard 30 WORKER worker EXECUTOR executor MAY 1 alice

echo "# Transaction 20 reads alice and writes bob. It asks before anybody knows what is earlier."
say worker SHARD.ACQUIRE $shard 20 WORKER worker EXECUTOR executor LAZY 1 alice WILL 1 bob
say executor SHARD.READ $shard 20 alice ACTUAL 1
listen

echo "# The mempool: no write below 15 is to come. That is not enough for a read at 20."
say mempool SHARD.SEEN $shard WORKER worker 15 WRITES
listen

echo "# Consensus fixes all up to 40. What is below 20 is known now; 30 is later and holds nothing up."
say consensus SHARD.ANCHOR $shard chain consensus 1 block-1 40
listen
say executor SHARD.WRITE $shard 20 bob VALUE 120

echo "# Transaction 35 reads alice, and waits for what 30 decides: it does not write."
say worker SHARD.ACQUIRE $shard 35 WORKER worker EXECUTOR executor EAGER 1 alice
listen
say executor SHARD.WRITE $shard 30 alice NONE
listen

echo "# All is done: nothing is open."
say operator SHARD.INFO $shard
say operator SHARD.DROP $shard
