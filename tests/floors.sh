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
    may lib/pool os shm sync run pool

    only 'liburing\.h'            lib/os
    only '(^|[^_a-z])syscall *\(' lib/os
    only 'memory_order_'          lib/os lib/shm lib/sync lib/pool

    only '#include "(os|shm|sync|run|pool)/' lib # programs use the public headers
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

complaints=$(rules)
[ -z "$complaints" ] || { echo "$complaints"; exit 1; }
