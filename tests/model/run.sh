#!/bin/sh
# Checks the Spin models beside this script, exhaustively.
#
# A model's first lines name its cases:
#
#     // expect ok: <flags>               every reachable state is fine, and all of them were visited
#     // expect long: <flags>             the same, but too large to be checked every time (run.sh -l)
#     // expect error: <flags>  # why     a protocol with a step left out: Spin must find the mistake
#
# The flags go to `spin -a`. -DCYCLES asks Spin to look for executions that go on for ever instead: there must be none.
# Usage: run.sh [-l] [-v] [model ...]      model: ring or ring.pml; default: all
#        -l: the long cases too   -v: with Spin's own report
# Exit: 0, or 1 if a case failed, or 77 without Spin.
set -u

here=$(cd "$(dirname "$0")" && pwd) || exit 1
cc=${CC:-cc}
depth=${MODEL_DEPTH:-2000000}     # steps; a longer path fails the case
megabytes=${MODEL_MEMORY:-1400}   # a case that needs more fails
verbose=
kinds='ok|error'
failed=0

while getopts lv option; do
    case $option in
    l) kinds='ok|long|error' ;;
    v) verbose=yes ;;
    *) exit 1 ;;
    esac
done
shift $((OPTIND - 1))
if ! command -v spin >/dev/null 2>&1; then
    echo "spin is not installed: the models are not checked"
    exit 77
fi

work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT PIPE TERM

# build MODEL FLAGS KIND: makes $work/pan
build()
{
    search="-DSAFETY"
    case " $2 " in *" -DCYCLES "*) search="-DNP" ;; esac
    # A mistake is found within a second; compiling pan.c with optimisation takes longer than that.
    level=-O1
    [ "$3" = error ] && level=-O0
    # The flags are words for spin.
    # shellcheck disable=SC2086
    (cd "$work" && rm -f pan pan.* ./*.trail && spin -a $2 "$1" >spin.log 2>&1 &&
        "$cc" $level -w $search -DCOLLAPSE -DVECTORSZ=2048 -DMEMLIM="$megabytes" -o pan pan.c >>spin.log 2>&1)
}

# search FLAGS: runs pan; its words are in $work/pan.log
search()
{
    mode=
    case " $1 " in *" -DCYCLES "*) mode="-l" ;; esac
    # shellcheck disable=SC2086
    (cd "$work" && ./pan $mode -m"$depth" -w22 >pan.log 2>&1)
}

exhaustive()
{
    ! grep -qE 'search depth too small|reached -DMEMLIM|out of memory|aborting|VECTORSZ|not completed' "$work/pan.log"
}

# verdict: "clean", "caught: ..." or what else went on
verdict()
{
    what=$(sed -n 's/^pan:1: *//p' "$work/pan.log" | sed 's/ *(at depth [0-9]*)//' | head -n 1)
    case $what in
    *"array index"*) mistake= ;; # the model's mistake, not the protocol's
    "assertion violated"* | "invalid end state"* | "non-progress cycle"*) mistake=yes ;;
    *) mistake= ;;
    esac
    if grep -q 'errors: [1-9]' "$work/pan.log" && [ "$mistake" ]; then
        echo "caught: $what"
    elif grep -q 'errors: 0$' "$work/pan.log" && exhaustive; then
        echo "clean"
    else
        echo "incomplete: ${what:-not every state was visited}"
    fi
}

# run_case MODEL KIND FLAGS WHY
run_case()
{
    if ! build "$1" "$3" "$2"; then
        printf 'FAIL %-12s %s: does not build\n' "$(basename "$1")" "$3"
        cat "$work/spin.log"
        failed=1
        return
    fi
    search "$3"
    found=$(verdict)
    states=$(sed -n 's/^ *\([0-9.e+]*\) states, stored.*/\1/p' "$work/pan.log" | head -n 1)
    seconds=$(sed -n 's/^pan: elapsed time \([0-9.e+-]*\) seconds.*/\1/p' "$work/pan.log")
    result=FAIL
    case "$2 $found" in
    "ok clean" | "long clean" | "error caught:"*) result=ok ;;
    *) failed=1 ;;
    esac
    note=${4:+# $4: }
    [ "$found" = clean ] && [ $result = ok ] || note="${note:-# }$found"
    printf '%-4s %-10s %-5s %9s states %5s s  %s  %s\n' \
        $result "$(basename "$1")" "$2" "${states:-?}" "${seconds:-0}" "$3" "$note"
    if [ "$result" = FAIL ] || [ -n "$verbose" ]; then
        cat "$work/pan.log"
    fi
}

run_model()
{
    grep -E "^// expect ($kinds):" "$1" >"$work/cases"
    if [ ! -s "$work/cases" ]; then
        echo "FAIL $(basename "$1"): names no case"
        failed=1
    fi
    while IFS= read -r line <&3; do
        kind=${line#// expect }
        kind=${kind%%:*}
        rest=${line#*:}
        flags=${rest%%#*}
        why=
        case "$rest" in *"# "*) why=${rest#*# } ;; esac
        run_case "$1" "$kind" "$(echo "$flags" | xargs)" "$why"
    done 3<"$work/cases"
}

if [ $# -eq 0 ]; then
    set -- "$here"/*.pml
fi
for model; do
    case "$model" in
    */*) file=$model ;;
    *) file=$here/${model%.pml}.pml ;;
    esac
    if [ ! -r "$file" ]; then
        echo "FAIL no model $file"
        failed=1
        continue
    fi
    run_model "$(cd "$(dirname "$file")" && pwd)/$(basename "$file")"
done
exit "$failed"
