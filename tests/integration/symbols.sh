#!/bin/sh
# Both libraries offer every function of the headers, and nothing else:
#   symbols.sh liblockstep.so liblockstep.a HEADER..
set -eu

shared=$1
static=$2
shift 2
wanted=$(sed -n 's/^.*LS_API.*[ *]\(ls_[a-z0-9_]*\)(.*$/\1/p' "$@" | sort)
[ "$(echo "$wanted" | wc -l)" -gt 50 ] || { echo "found only: $wanted"; exit 1; }

compare() {
    if [ "$wanted" != "$1" ]; then
        echo "$2 differs from the headers (< headers, > library):"
        echo "$wanted" >"$3.wanted"
        echo "$1" | diff "$3.wanted" - || true
        rm -f "$3.wanted"
        exit 1
    fi
}
scratch=$(mktemp)
trap 'rm -f "$scratch"' EXIT
compare "$(nm -D --defined-only "$shared" | awk '{print $3}' | sort)" "$shared" "$scratch"
compare "$(nm -g --defined-only "$static" | awk 'NF == 3 {print $3}' | sort)" "$static" "$scratch"
