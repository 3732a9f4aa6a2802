#!/bin/sh
# usage: exports.sh libbrood.so
# The functions that the public headers declare, those that lib/brood.map lists, and those that the library exports are the same.
# Whatever else the headers name begins with brood, too: all other names are the program's.
set -eu
library=$1
cd "$(dirname "$0")/.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

grep -hv '^#' include/brood/*.h | tr '\n' ' ' | grep -oE 'BROOD_API [^;(]*\(' | sed -E 's/.*[ *](brood_[a-z0-9_]+)\($/\1/' |
    sort >"$work/headers"
sed -nE 's/^ *(brood_[a-z0-9_]+);$/\1/p' lib/brood.map | sort >"$work/map"
nm -D --defined-only "$library" | awk '$2 != "A" { sub(/@.*/, "", $3); print $3 }' | sort >"$work/library"

status=0
for pair in "headers map" "map library"; do
    left=${pair% *} right=${pair#* }
    if ! diff "$work/$left" "$work/$right" >"$work/diff"; then
        echo "< only in the $left, > only in the $right:"
        grep '^[<>]' "$work/diff"
        status=1
    fi
done
names='^(typedef )?(struct|union|enum) [A-Za-z_]|^#define [A-Za-z_]'
if grep -nE "$names" include/brood.h include/brood/*.h | grep -vE ':(typedef )?(struct|union|enum|#define) (brood_|brood$|BROOD_)'; then
    echo "these names in the headers do not begin with brood_"
    status=1
fi
[ -s "$work/headers" ] || { echo "no BROOD_API declaration was found"; status=1; }
exit $status
