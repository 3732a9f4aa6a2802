#!/bin/sh
# usage: semantics.sh [--list]
# Every case of semantics.txt is named by a test, in a comment "/* semantics: L1 L8 */", or by docs/differences.md, as "**L6**"; and
# these name no other.  Prints what is not so, and exits 1 if there is anything.  --list prints each case with its tests.
set -eu
cd "$(dirname "$0")/.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# "L1 tests/check_lock.c:a_new_lock_is_free": each case that stands above a test, and that test.
named_by_tests()
{
    awk '
    FNR == 1 { cases = "" }
    /\/\* semantics: / { cases = $0; sub(/.*semantics: */, "", cases); sub(/ *\*\/.*/, "", cases); next }
    match($0, /^START_TEST\([a-z0-9_]+/) {
        n = split(cases, each, /[ ,]+/)
        for (i = 1; i <= n; i++) print each[i], FILENAME ":" substr($0, 12, RLENGTH - 11)
        cases = ""
    }
    cases && !/^[ \t]*$/ && !/\*\/$/ && !/^ \*/ && !/^\/\*/ { print "?", FILENAME ":" FNR ": no test follows these cases"; cases = "" }' "$@"
}

sed -nE 's/^([A-Z][0-9]+) .*/\1/p' tests/semantics.txt | sort -u >"$work/cases"
named_by_tests tests/*.c | sort -V >"$work/tests"
grep -oE '\*\*[A-Z][0-9]+\*\*' docs/differences.md 2>/dev/null | tr -d '*' | sort -u >"$work/differences" || true

if [ "${1-}" = --list ]; then
    while IFS= read -r line; do
        case $line in
        [A-Z][0-9]*) echo "$line" && sed -n "s/^${line%% *} /    /p" "$work/tests" ;;
        esac
        if grep -qx "${line%% *}" "$work/differences"; then echo "    docs/differences.md"; fi
    done <tests/semantics.txt
    exit 0
fi
{
    sed -n 's/^? //p' "$work/tests"
    awk '{ print $1 }' "$work/tests" | grep -v '?' | sort -u | cat - "$work/differences" | sort -u >"$work/named"
    comm -23 "$work/cases" "$work/named" | sort -V | while read -r id; do
        echo "no test and no difference: $(grep "^$id " tests/semantics.txt)"
    done
    comm -13 "$work/cases" "$work/named" | sed 's/^/semantics.txt has no case /'
} >"$work/complaints"
cat "$work/complaints"
[ ! -s "$work/complaints" ]
