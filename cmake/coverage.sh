#!/bin/sh
# usage: coverage.sh BUILD_DIR
# What the tests that ran in BUILD_DIR, built with BROOD_COVERAGE, reached of lib/: lines, by file and in all.
# A process that was killed has not written its counts; what it alone reached counts as not reached.
set -eu
find "$1/lib" -name '*.gcda' -exec gcov -n {} + 2>/dev/null | awk '
    /^File / { file = $2; gsub(/\047/, "", file); wanted = file ~ /\/lib\/[a-z]+\/[a-z_]+\.[ch]$/ }
    wanted && /^Lines executed:/ {
        split($0, part, /[:% ]+/)
        sub(/.*\/lib\//, "lib/", file)
        lines[file] = part[5]
        reached[file] = part[3] * part[5] / 100
        wanted = 0
    }
    END {
        for (file in lines) {
            printf "%6.1f %% of %4d  %s\n", 100 * reached[file] / lines[file], lines[file], file | "sort -k5"
            all += lines[file]
            all_reached += reached[file]
        }
        close("sort -k5")
        if (all == 0) {
            print "no test has run here"
            exit 1
        }
        printf "%6.1f %% of %4d  in all\n", 100 * all_reached / all, all
    }'
