#!/bin/sh
# The tree holds no marks of unfinished work and no unsafe string functions.
cd "$1" || exit 1
status=0
if grep -rnE '\b(TODO|FIXME|XXX)\b' --include='*.[ch]' --include='*.py' --include='*.md' src include \
    bench docs examples demo; then
    status=1
fi
if grep -rnE '\b(strcpy|strcat|sprintf|vsprintf|gets|alloca)\(' --include='*.[ch]' src include \
    examples; then
    status=1
fi
exit $status
