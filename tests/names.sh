#!/bin/sh
# usage: tests/names.sh [--shrink]
#
# A name in a backtrace or a debugger says which file it is from: no two files of lib/ have static functions of the same
# name, no struct tag is defined twice, and no two folders have a file of the same name.  tests/names.txt lists the names
# that are still to be changed, one a line; a name there that occurs once is an error, too, so the list only shrinks:
# --shrink takes such names out of it.  Prints what breaks the rule; exits 1 if anything does.
set -u
cd "$(dirname "$0")/.." || exit 2

# "name file" of each static function that has a body.
functions()
{
    find lib -name '*.[ch]' -exec awk '
        FNR == 1 { name = "" }
        /^(__attribute__\(\([a-z, ()]*\)\) )?static [^=;]*\(/ {
            line = $0
            gsub(/__attribute__\(\([a-z_, ("-]*\)*\)\)/, "", line)
            sub(/\(.*/, "", line)
            sub(/.*[ *]/, "", line)
            name = line
        }
        /;$/ { name = "" }
        /^\{/ && name != "" { print name, FILENAME; name = "" }
    ' {} +
}

# "tag file" of each struct that is defined.
tags()
{
    find lib -name '*.[ch]' -exec sed -nE 's/^.*struct ([a-z_0-9]+) \{$/\1/p' {} \; -print | awk '
        /\// { for (i = 0; i < n; i++) print names[i], $0; n = 0; next }
        { names[n++] = $0 }'
}

# "name file" of each file: a debugger and a compiler's message show the last part of a path.
files()
{
    find lib -name '*.[ch]' | awk -F/ '{ print $NF, $0 }'
}

# <what they are>; "name file" lines on standard input.
repeated()
{
    sort | awk -v what="$1" '
        { count[$1]++; files[$1] = files[$1] " " $2 }
        END { for (name in count) if (count[name] > 1) print name, what, "in" files[name] }'
}

found=$({ functions | sort -u | repeated "is a static function"; tags | repeated "is a struct tag"
    files | repeated "is a file"; } | sort)
if [ "${1-}" = --shrink ]; then
    list=$(awk 'NR == FNR { found[$1] = 1; next } /^#/ || $1 in found' /dev/fd/3 tests/names.txt 3<<END
$found
END
    )
    echo "$list" >tests/names.txt
fi
echo "$found" | awk '
        NR == FNR { if ($0 !~ /^#/) listed[$1] = 1; next }
        NF > 0 { found[$1] = 1; if (!($1 in listed)) { print $0 ": put the noun of the file into the name"; bad = 1 } }
        END {
            for (name in listed)
                if (!(name in found)) { print name " occurs once: run tests/names.sh --shrink"; bad = 1 }
            exit bad
        }' tests/names.txt -
