#!/bin/sh
# usage: tests/words.sh [--shrink]
#
# Code, pages and tests use the field's terms and name the actor: the terms of tests/words.txt do not occur.
# tests/words-left.txt lists the files that still have some, and how many lines: "path count".  The list only shrinks: a
# count that is too high is an error, too, and --shrink corrects it.  Prints each line that breaks the rule, with what to
# say instead; exits 1 if any does.
set -u
cd "$(dirname "$0")/.." || exit 2

list=tests/words-left.txt
terms=$(grep -v '^#' tests/words.txt | cut -f1 | paste -sd '|' -)

# "path:number:text" of each such line; programs and their names may be split by underscores.
found()
{
    find include lib workers docs tests cmake README.md CHANGELOG.md CONTRIBUTING.md -type f \
        ! -path 'tests/words*' -exec grep -niIE "(^|[^a-z])($terms)([^a-z]|\$)" {} +
}

counts()
{
    found | awk -F: '{ count[$1]++ } END { for (file in count) print file, count[file] }' | sort
}

if [ "${1-}" = --shrink ]; then
    left=$(counts | awk '
        FILENAME != "-" { if ($0 ~ /^#/) print; else allowed[$1] = $2; next }
        $1 in allowed { print $1, $2 < allowed[$1] ? $2 : allowed[$1] }' "$list" -)
    printf '%s\n' "$left" >"$list"
fi
found | awk -F: -v list="$list" '
    BEGIN {
        while ((getline line < list) > 0)
            if (line !~ /^#/) { split(line, a, " "); allowed[a[1]] = a[2] }
        while ((getline line < "tests/words.txt") > 0)
            if (line !~ /^#/) { split(line, a, "\t"); term[++terms] = a[1]; instead[a[1]] = a[2] }
    }
    {
        count[$1]++
        text = tolower($0)
        sub(/^[^:]*:[0-9]*:/, "", text)
        for (i = 1; i <= terms; i++)
            if (text ~ "(^|[^a-z])(" term[i] ")([^a-z]|$)")
                lines[$1] = lines[$1] "\n    " $0 "\n        say instead: " instead[term[i]]
    }
    END {
        for (file in count)
            if (count[file] > allowed[file] + 0) {
                print file ": " count[file] " lines with terms of tests/words.txt, " allowed[file] + 0 " are listed:" lines[file]
                bad = 1
            }
        for (file in allowed)
            if (count[file] + 0 < allowed[file]) {
                print file ": " count[file] + 0 " lines with terms of tests/words.txt: run tests/words.sh --shrink"
                bad = 1
            }
        exit bad
    }'
