#!/bin/sh
# usage: snippets.sh
# Holds the documentation against the code, so that it cannot rot:
#   - a block of C in README.md, docs/guide.md, docs/objects.md and docs/man is, but for its indentation, a part of a program that the tests run;
#   - a test that README.md or docs/reliability.md names in backticks, as words_with_underscores, is there, and so is a file in tests/;
#   - a file that a document links to is there;
#   - a function that a document names, as brood_name(), is one that a public header has;
#   - a line of a manual page's synopsis is what a public header declares, and every function that one declares is in a page.
# Prints what is not so; exits 1 if there is anything.
set -eu
cd "$(dirname "$0")/.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# ---- blocks of code ----

# Reads the programs first, then the documents.  A fence must name its language, so that no C can hide behind a bare one.
parts()
{
    awk '
    { sub(/^[ \t]+/, ""); sub(/[ \t]+$/, "") }
    FNR == 1 { inside = ""; heading = ""; if (FILENAME !~ /\.md$/) text[FILENAME] = "\n" }
    FILENAME !~ /\.md$/ { text[FILENAME] = text[FILENAME] $0 "\n"; next }
    !inside && /^#/ { heading = $0 }
    !inside && /^```/ {
        inside = substr($0, 4)
        if (!inside) { print FILENAME ":" FNR ": a block without a language"; inside = "?" }
        begin = FNR; block = "\n"; next
    }
    inside && /^```$/ {
        found = inside != "c" || heading == "## Synopsis"
        for (program in text) if (index(text[program], block)) found = 1
        if (!found) print FILENAME ":" begin ": this block is in no program that the tests run"
        blocks += inside == "c"; inside = ""; next
    }
    inside { block = block $0 "\n" }
    END { if (!blocks) print "no block of C was found" }' "$@"
}

# ---- synopses ----

# Everything on one line, words one space apart, without what only the compiler wants to know.
squeeze()
{
    sed -E 's/BROOD_(API|MUST_USE)//g; s/\\$//' "$@" | tr '\n' ' ' | sed -E 's/ +/ /g'
}

synopsis() # <page>: its statements, one a line
{
    sed -n '/^## Synopsis$/,/^## Description$/p' "$1" | grep -vE '^(#|```)' | squeeze | tr ';' '\n'
}

declarations()
{
    for page in docs/man/brood_*.md; do
        synopsis "$page" | sed 's/^ *//; s/ *$//; /^$/d' | while IFS= read -r line; do
            grep -qF "$line" "$work/headers" || echo "$page: no public header declares: $line"
        done
    done
}

missing()
{
    for header in include/brood/*.h; do
        grep -v '^#' "$header" | tr '\n' ' ' | grep -oE 'BROOD_API [^;(]*\(' |
            sed -E 's/.*[ *](brood_[a-z0-9_]+)\($/\1/' | while read -r name; do
            grep -qw "$name" "$work"/synopsis.* || echo "$name() has no page in docs/man"
        done
    done
}

# ---- tests that are named ----

quoted() # <document> <pattern>: what it has in backticks that is just that
{
    awk -F '`' '{ for (i = 2; i < NF; i += 2) print $i }' "$1" | grep -xE "$2" | sort -u
}

named() # <document>...: names of four words and more are those of tests
{
    for page in "$@"; do
        quoted "$page" '[a-z0-9]+(_[a-z0-9]+){3,}' | while read -r name; do
            grep -q "^START_TEST($name)" tests/*.c || echo "$page: there is no test $name"
        done
        quoted "$page" 'tests/[a-z0-9_./]+' | while read -r file; do
            [ -e "$file" ] || echo "$page: there is no file $file"
        done
    done
}

links() # <document>...
{
    for page in "$@"; do
        grep -oE '\]\([^)#:]+[)#]' "$page" | sed -E 's/^\]\(//; s/[)#]$//' | sort -u | while read -r file; do
            [ -e "$(dirname "$page")/$file" ] || echo "$page: there is no $file"
        done
    done
}

functions() # <document>...: not the page's own title, brood_ring(3)
{
    grep -ohE 'brood_[a-z0-9_]+\([^0-9]' "$@" | grep -oE 'brood_[a-z0-9_]+' | grep -v '__' | sort -u >"$work/said"
    grep -oE 'brood_[a-z0-9_]+' "$work/headers" | sort -u | comm -23 "$work/said" - | while read -r name; do
        grep -nF "$name(" "$@" | sed "s/:[^:]*$/: no public header has $name()/"
    done
}

squeeze include/brood/*.h >"$work/headers"
for page in docs/man/brood_*.md; do
    synopsis "$page" >"$work/synopsis.$(basename "$page")"
done
{
    parts docs/examples/*.c workers/integrate.c README.md docs/guide.md docs/objects.md docs/man/*.md
    named README.md docs/reliability.md
    functions README.md docs/*.md docs/man/*.md
    links ./*.md docs/*.md docs/man/*.md
    declarations
    missing
} >"$work/complaints"
cat "$work/complaints"
[ ! -s "$work/complaints" ]
