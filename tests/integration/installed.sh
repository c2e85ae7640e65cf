#!/bin/sh
# What `meson install` puts in place is enough to build with: C and C++, shared and static, found
# through pkg-config, and without a warning.
#   installed.sh BUILD-DIRECTORY EXAMPLE.c
set -eu

build=$1
example=$2
stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT
meson install -C "$build" --no-rebuild --quiet --destdir "$stage/root"

pc=$(find "$stage/root" -name lockstep.pc)
libraries=$(dirname "$(dirname "$pc")")
export PKG_CONFIG_PATH="${pc%/lockstep.pc}" PKG_CONFIG_SYSROOT_DIR="$stage/root"
flags=$(pkg-config --cflags lockstep)
shared=$(pkg-config --libs lockstep)
# The other libraries are the system's, not under the stage.
private=$(unset PKG_CONFIG_SYSROOT_DIR && pkg-config --static --libs-only-l --libs-only-other lockstep)
strict="-Wall -Wextra -Wpedantic -Werror"

run() {
    [ "$("$@")" = "the counter is 100" ] || { echo "$1 did not count to 100"; exit 1; }
}

# Uninstrumented, as a user's program is; a library built under a sanitizer needs its runtime.
sanitize=$(meson introspect "$build" --buildoptions |
    python3 -c 'import json, sys
options = {o["name"]: o["value"] for o in json.load(sys.stdin)}
print("" if options["b_sanitize"] == "none" else "-fsanitize=" + options["b_sanitize"])')

${CC:-cc} -std=c11 $strict $sanitize $flags "$example" -o "$stage/c-shared" $shared -pthread
LD_LIBRARY_PATH=$libraries run "$stage/c-shared"

${CC:-cc} -std=c11 $strict $sanitize $flags "$example" -o "$stage/c-static" \
    -L"$libraries" -Wl,-Bstatic -llockstep -Wl,-Bdynamic $private
run "$stage/c-static"

cat >"$stage/program.cc" <<'END'
#include <lockstep.h>
#include <cstdio>
int main()
{
    ls_options options = LS_OPTIONS_INIT;
    ls_post_options post = LS_POST_OPTIONS_INIT;
    ls *handle = nullptr;
    uint64_t clock = 0;
    post.carry_clock = true;
    if (ls_open(&handle, "mem:", &options) != 0 ||
        ls_post(handle, LS_USER, LS_NO_EVENT, ls_text("x"), &post, &clock) != 0) {
        return 1;
    }
    ls_close(handle);
    std::puts(clock != 0 ? "the counter is 100" : "no clock");
    return 0;
}
END
for standard in c++11 c++20; do
    ${CXX:-c++} -std=$standard $strict $sanitize $flags "$stage/program.cc" -o "$stage/cc-shared" \
        $shared
    LD_LIBRARY_PATH=$libraries run "$stage/cc-shared"
    ${CXX:-c++} -std=$standard $strict $sanitize $flags "$stage/program.cc" -o "$stage/cc-static" \
        -L"$libraries" -Wl,-Bstatic -llockstep -Wl,-Bdynamic $private
    run "$stage/cc-static"
done

# The shared library needs what it says, and no event loop.
if readelf -d "$libraries/liblockstep.so" | grep -q 'NEEDED.*libuv'; then
    echo "liblockstep.so needs libuv"
    exit 1
fi
