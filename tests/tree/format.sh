#!/bin/sh
# Every C file is in the project's format, opens with its licence, and no line is over 100 columns.
cd "$1" || exit 1
files=$(find src include tests bench examples -name '*.[ch]')
status=0
clang-format --dry-run -Werror $files || status=1
for file in $files; do
    case $file in
    *.c) head -n 1 "$file" | grep -q 'SPDX-License-Identifier: Apache-2.0' ||
        { echo "$file: the first line is not the licence"; status=1; } ;;
    esac
done
awk 'length($0) > 100 { print FILENAME ":" FNR ": over 100 columns"; found = 1 } END { exit found }' \
    $files || status=1
exit $status
