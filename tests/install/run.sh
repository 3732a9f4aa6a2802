#!/bin/sh
# usage: run.sh BUILD_DIR
# Installs what was built there, moves the installed tree, and builds and runs consumer.c against it: with find_package(brood)
# and with the compiler and pkg-config.  Looks what brood does as a part of another tree.  Then installs and uninstalls, which
# must leave nothing.
set -eu
build=$(cd "$1" && pwd)
here=$(cd "$(dirname "$0")" && pwd)
: "${CC:=cc}" "${CMAKE:=cmake}"
expected=249999750000

if ! command -v pkg-config >/dev/null; then
    echo "pkg-config is missing"
    exit 77
fi

work=$(mktemp -d)
manifest=$build/install_manifest.txt
[ ! -f "$manifest" ] || cp "$manifest" "$work/manifest" # of the user's own installation: `uninstall` needs it
finish()
{
    rm -f "$manifest"
    [ ! -f "$work/manifest" ] || mv "$work/manifest" "$manifest"
    rm -rf "$work"
}
trap finish EXIT

run() # <what> <command>...
{
    what=$1
    shift
    got=$("$@") || { echo "$what failed"; exit 1; }
    [ "$got" = $expected ] || { echo "$what printed '$got' instead of $expected"; exit 1; }
    echo "$what: ok"
}

"$CMAKE" --install "$build" --prefix "$work/first" >"$work/log"
mv "$work/first" "$work/moved"
if grep -rlF "$work/first" "$work/moved" || grep -rlIF "$build" "$work/moved"; then
    echo "these installed files name the place where they were installed or built"
    exit 1
fi

"$CMAKE" -S "$here" -B "$work/consumer" -DCMAKE_PREFIX_PATH="$work/moved" -DCMAKE_C_COMPILER="$CC" >"$work/log" ||
    { cat "$work/log"; exit 1; }
"$CMAKE" --build "$work/consumer" >"$work/log" || { cat "$work/log"; exit 1; }
run "find_package, brood::brood" "$work/consumer/consumer"
run "find_package, brood::static" "$work/consumer/consumer_static"

library=$(find "$work/moved" -name libbrood.so)
PKG_CONFIG_PATH=$(dirname "$library")/pkgconfig
export PKG_CONFIG_PATH
# shellcheck disable=SC2046 # the words are meant to be split
"$CC" -std=c11 "$here/consumer.c" -o "$work/plain" $(pkg-config --cflags --libs brood)
run "pkg-config" env LD_LIBRARY_PATH="$(dirname "$library")" "$work/plain"

rm "$library" # so that -lbrood finds libbrood.a
# shellcheck disable=SC2046
"$CC" -std=c11 "$here/consumer.c" -o "$work/plain_static" $(pkg-config --static --cflags --libs brood)
run "pkg-config --static" "$work/plain_static"

if [ -x "$work/moved/bin/brood" ]; then
    "$work/moved/bin/brood" --version
fi

"$CMAKE" -S "$here/parent" -B "$work/parent" -DBROOD_SOURCE="$here/../.." -DCMAKE_C_COMPILER="$CC" >"$work/log" 2>&1 ||
    { cat "$work/log"; exit 1; }
echo "add_subdirectory: ok"

"$CMAKE" --install "$build" --prefix "$work/second" >"$work/log"
"$CMAKE" -P "$build/uninstall.cmake" >"$work/log"
left=$(find "$work/second" ! -type d)
left=$left$(find "$work/second" -name brood)
if [ -n "$left" ]; then
    echo "uninstall left: $left"
    exit 1
fi
echo "uninstall: ok"
