#!/bin/sh
# usage: tests/floors.sh [<libbrood.a> [--shrink]]
#
# Holds lib/ against its floors: a file may use its own floor and those below, and some things have one home only.
# The rules are the two lists below.  No file includes itself by way of others, and with an archive: no file calls itself
# by way of others.  A call through a table of functions is none: that is how a lower file reaches a higher one.
# tests/floors.txt lists the files of lib/pool that are still in a circle of calls; it only shrinks: a file there that is
# in none is an error, too, and --shrink takes it out.  Prints what breaks a rule; exits 1 if anything does.
set -u
archive=${1:+$(realpath "$1")} shrink=${2-}
cd "$(dirname "$0")/.." || exit 2

# may <folder> <floor>...: the internal headers that files in <folder> may include.
# only '<pattern>' <folder>...: code that matches appears in these folders and nowhere else under lib/ and workers/.
rules()
{
    may lib/os   os
    may lib/shm  os shm
    may lib/sync os shm sync
    may lib/run  os shm run
    may lib/proto      os shm run proto
    may lib/worker     os shm run proto worker
    may lib/supervisor os shm run proto worker supervisor
    may lib/pool/core   os shm proto pool/core
    may lib/pool/future os shm proto pool/core pool/future
    may lib/pool/work   os shm proto pool/core pool/future pool/work
    may lib/pool/host   os shm proto worker supervisor pool

    only 'liburing\.h'            lib/os
    only '(^|[^_a-z])syscall *\(' lib/os
    only 'memory_order_'          lib/os lib/shm lib/sync lib/run lib/proto lib/worker lib/supervisor lib/pool

    only '#include "sync/queue/'  lib/sync/queue # queues are built on the locks
    only '#include "(os|shm|sync|run|proto|worker|supervisor|pool)/' lib # programs use the public headers
}

# Lines of code as "path:number:text".  Lines of comment are left out: prose may name anything.
code()
{
    find "$@" -name '*.[ch]' -exec grep -nHE '' {} + | grep -vE '^[^:]*:[0-9]+: *(/\*|\*|//)'
}

complain() # <what is wrong>; the lines on standard input
{
    lines=$(cat)
    [ -z "$lines" ] || printf '%s\n%s\n' "$1" "$lines"
}

may()
{
    folder=$1
    shift
    [ -d "$folder" ] || return 0
    floors=$(echo "$*" | tr ' ' '|')
    code "$folder" | grep -E ':#include "' | grep -vE ":#include \"($floors)/" | complain "$folder may include only: $*"
}

only()
{
    pattern=$1
    shift
    homes=$(echo "$*" | tr ' ' '|')
    code lib workers | grep -E ":[0-9]+:.*$pattern" | grep -vE "^($homes)/" | complain "only $* may use $pattern"
}

# No file includes itself by way of others: tsort names the files of each circle.
circles()
{
    code lib | sed -nE 's|^lib/([^:]+):[0-9]+:#include "([^"]+)".*|\1 \2|p' | sort -u | tsort 2>&1 >/dev/null | sed 's/^tsort: //'
}

# The same for nouns, a .c file with its .h file, in the folders that are named.
noun_circles()
{
    for folder in "$@"; do
        code "$folder" | sed -nE 's|^lib/([^:]+)\.[ch]:[0-9]+:#include "([^"]+)\.h".*|\1 \2|p' | awk '$1 != $2' | sort -u |
            tsort 2>&1 >/dev/null | sed 's/^tsort: //'
    done
}

# "caller callee function" for each call between two files of the archive: what one defines as code, another needs.  The
# name of a member is that of its file, which occurs once in lib/ (tests/names.sh).
calls()
{
    nm -A "$archive" 2>&1 | awk '
        { split($1, part, ":"); file = part[2]; sub(/\.c\.o$/, "", file) }
        $NF !~ /^brood_/ { next }
        $(NF - 1) == "T" || $(NF - 1) == "W" { home[$NF] = file }
        $(NF - 1) == "U" { needs[file, $NF] = 1 }
        END {
            for (pair in needs) {
                split(pair, part, SUBSEP)
                if ((part[2] in home) && home[part[2]] != part[1]) print part[1], home[part[2]], part[2]
            }
        }'
}

# "file file that it calls, which calls it: functions": the files that reach themselves.
call_circles()
{
    calls | awk '
        { node[$1]; node[$2]; reach[$1, $2] = 1; calls[$1, $2] = calls[$1, $2] " " $3 }
        END {
            for (k in node) for (i in node) if ((i, k) in reach) for (j in node) if ((k, j) in reach) reach[i, j] = 1
            for (pair in calls) {
                split(pair, part, SUBSEP)
                if ((part[2], part[1]) in reach) print part[1], "calls", part[2] ":" calls[pair]
            }
        }' | sort
}

listed_circles()
{
    found=$(call_circles)
    if [ "$shrink" = --shrink ]; then
        list=$(echo "$found" | awk 'NR == FNR { if (/^#/ || !NF) print; else listed[$1]; next } ($1 in listed) && !seen[$1]++ { print $1 }' \
            tests/floors.txt -)
        echo "$list" >tests/floors.txt
    fi
    echo "$found" | awk '
        NR == FNR { if (!/^#/ && NF) listed[$1]; next }
        NF && !($1 in listed) { print $0 ": and is called by it, perhaps by way of others" }
        { circled[$1] }
        END { for (file in listed) if (!(file in circled)) print file " is in no circle of calls: run tests/floors.sh <libbrood.a> --shrink" }' \
        tests/floors.txt -
}

complaints=$(
    rules
    circles
    noun_circles lib/os lib/shm lib/sync lib/run lib/proto lib/worker lib/supervisor
    [ -z "$archive" ] || listed_circles
)
[ -z "$complaints" ] || { echo "$complaints"; exit 1; }
