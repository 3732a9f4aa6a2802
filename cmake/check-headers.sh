#!/bin/sh
# usage: check-headers.sh INCLUDE_DIR STANDARD COMPILER
# Each public header compiles alone, and a second time, without a warning, as strict c11, c17 or c++17.
# Exits 77 (skipped) if there is no such compiler.
set -u
include=$1 standard=$2 compiler=$3

if ! command -v "$compiler" >/dev/null; then
    echo "no compiler for $standard"
    exit 77
fi
case $standard in
c++*) language=c++ ;;
*) language=c ;;
esac

cd "$include" || exit 2
checked=0 failed=0
for header in *.h brood/*.h; do
    printf '#include <%s>\n#include <%s>\nint main(void) { return 0; }\n' "$header" "$header" |
        "$compiler" -x $language -std="$standard" -Wall -Wextra -Wpedantic -Werror -fsyntax-only -I. - || {
        echo "$header does not compile alone as $standard"
        failed=1
    }
    checked=$((checked + 1))
done
[ $failed -eq 0 ] && echo "$checked headers compile alone as $standard"
exit $failed
