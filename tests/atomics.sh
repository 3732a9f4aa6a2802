#!/bin/sh
# usage: tests/atomics.sh [--shrink]
#
# Each atomic operation of lib/ names its memory order: memory_order_seq_cst too, where it is needed, and the code says why.
# (Programs name none: tests/floors.sh.)
# tests/atomics.txt lists the files that still have operations without one, and how many: "path count".  The list only
# shrinks: a count that is too high is an error, too, and --shrink corrects it.  Prints what breaks the rule; exits 1 if anything does.
set -u
cd "$(dirname "$0")/.." || exit 2

operation='atomic_(load|store|exchange|fetch_[a-z]+|compare_exchange_(weak|strong)|flag_[a-z_]+) *\('

# "path:number:text" of each such operation; prose in comments may name them.
found()
{
    grep -rnE --include='*.[ch]' "(^|[^_a-z])$operation" lib | grep -vE '^[^:]*:[0-9]+: *(/\*|\*|//)'
}

if [ "${1-}" = --shrink ]; then
    list=$(found | awk -F: '
        FILENAME == "tests/atomics.txt" { if ($0 ~ /^#/) print; else { split($0, a, " "); allowed[a[1]] = a[2] } next }
        $1 in allowed { count[$1]++ }
        END { for (file in count) print file, count[file] < allowed[file] ? count[file] : allowed[file] }' tests/atomics.txt - |
        sort)
    echo "$list" >tests/atomics.txt
fi
found | awk -F: '
    FILENAME == "tests/atomics.txt" { if ($0 !~ /^#/) { split($0, a, " "); allowed[a[1]] = a[2] } next }
    { count[$1]++; lines[$1] = lines[$1] "\n    " $0 }
    END {
        for (file in count)
            if (count[file] > allowed[file] + 0) {
                print file ": " count[file] " atomic operations without an order, " allowed[file] + 0 " are listed:" lines[file]
                bad = 1
            }
        for (file in allowed)
            if (count[file] + 0 < allowed[file]) {
                print file ": " count[file] + 0 " atomic operations without an order: run tests/atomics.sh --shrink"
                bad = 1
            }
        exit bad
    }' tests/atomics.txt -
