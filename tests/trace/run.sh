#!/bin/sh
# usage: tests/trace/run.sh CC   prints how a map of one item goes through the files of lib/pool, and how often it changes
# from one to another.  Exits 1 if that is more often than MOST.
#
# Only functions of .c files count, as they are entered; the way back does not.  (Those of headers are not traced: addr2line
# takes some for functions of the .c file of the same name.)
set -eu
MOST=25
cc=$1
top=$(cd "$(dirname "$0")/../.." && pwd)
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

# as lib/CMakeLists.txt does, without optimization across functions
find "$top/lib" -name '*.c' ! -name 'poller_uring.c' | while read -r file; do
    printf '%s %s\n' "-o $folder/$(echo "${file#"$top"/}" | tr / _).o" "$file"
done | xargs -P 2 -L 1 "$cc" -c -O1 -g -fno-inline -finstrument-functions -finstrument-functions-exclude-file-list=.h -std=gnu11 -D_GNU_SOURCE \
    "-I$top/include" "-I$top/lib" -include "$top/lib/os/uncancelled.h"
"$cc" -g -no-pie -std=gnu11 -I"$top/include" -o "$folder/map" "$top/tests/trace/map.c" "$folder"/*.o -lpthread -ldl -lm -lrt
"$folder/map" >"$folder/addresses"
addr2line -e "$folder/map" <"$folder/addresses" | sed -n 's|.*/lib/\(pool/[a-z_/]*\.c\):.*|\1|p' >"$folder/files"

uniq -c "$folder/files" | awk '{ print "  " $2 " (" $1 ")" }'
moves=$(uniq "$folder/files" | wc -l)
echo "$(wc -l <"$folder/files") functions of $(sort -u "$folder/files" | wc -l) files of lib/pool, $moves moves from one file to another"
if [ "$moves" -eq 0 ] || [ "$moves" -gt "$MOST" ]; then
    echo "1 to $MOST moves were expected"
    exit 1
fi
