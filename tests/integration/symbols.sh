#!/bin/sh
# Both libraries offer every function of the header, and nothing else:
#   symbols.sh lockstep.h liblockstep.so liblockstep.a
set -eu

wanted=$(sed -n 's/^.*LS_API.*[ *]\(ls_[a-z0-9_]*\)(.*$/\1/p' "$1" | sort)
[ "$(echo "$wanted" | wc -l)" -gt 50 ] || { echo "found only: $wanted"; exit 1; }

compare() {
    if [ "$wanted" != "$1" ]; then
        echo "$2 differs from the header (< header, > library):"
        echo "$wanted" >"$3.wanted"
        echo "$1" | diff "$3.wanted" - || true
        rm -f "$3.wanted"
        exit 1
    fi
}
scratch=$(mktemp)
trap 'rm -f "$scratch"' EXIT
compare "$(nm -D --defined-only "$2" | awk '{print $3}' | sort)" "$2" "$scratch"
compare "$(nm -g --defined-only "$3" | awk 'NF == 3 {print $3}' | sort)" "$3" "$scratch"
