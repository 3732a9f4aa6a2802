#!/bin/sh
# Holds lib/ against its floors: a file may use its own floor and those below, and some things have one home only.
# The rules are the two lists below.  Prints each line that breaks one; exits 1 if any does.
set -u
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

# The same for nouns, a .c file with its .h file: so no file calls another that calls it.  In the folders that are named.
noun_circles()
{
    for folder in "$@"; do
        code "$folder" | sed -nE 's|^lib/([^:]+)\.[ch]:[0-9]+:#include "([^"]+)\.h".*|\1 \2|p' | awk '$1 != $2' | sort -u |
            tsort 2>&1 >/dev/null | sed 's/^tsort: //'
    done
}

complaints=$(rules; circles; noun_circles lib/os lib/shm lib/sync)
[ -z "$complaints" ] || { echo "$complaints"; exit 1; }
