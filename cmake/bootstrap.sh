#!/bin/sh
# usage: sh cmake/bootstrap.sh speedup [ARGUMENT...]   build brood, then run `brood speedup ARGUMENT...`
#        sh cmake/bootstrap.sh test [--all] [ARGUMENT...]
#                                                      build brood and its tests, then run `ctest ARGUMENT...`; without --all
#                                                      no models, valgrind, single steps, kill storms, other pollers
#
# Installs what is missing with the system's package manager (apt-get, dnf, pacman, apk or zypper), through sudo when not
# root, and says so first.  When nothing is missing it asks no package manager and needs no network.  Builds in build/release.
set -eu

say()
{
    printf 'brood: %s\n' "$*" >&2
}

usage()
{
    sed -n '2,8s/^# \{0,1\}//p' "$0"
}

# ---- what is there: look for the thing itself, not for a package ----

has_program()
{
    command -v "$1" >/dev/null 2>&1
}

# has_library <header> [<linker flag>...]: can a program include the one and link to the other?
has_library()
{
    header=$1
    shift
    printf '#include <stdio.h>\n#include <%s>\nint main(void) { return 0; }\n' "$header" |
        ${CC:-cc} -x c - -o /dev/null "$@" 2>/dev/null
}

has_cmake()
{
    version=$(cmake --version 2>/dev/null | sed -n '1s/^cmake version \([0-9]*\)\.\([0-9]*\).*/\1 \2/p')
    # shellcheck disable=SC2086 # two words
    set -- ${version:-0 0}
    [ "$1" -gt 3 ] || { [ "$1" -eq 3 ] && [ "$2" -ge 25 ]; }
}

# Packages cannot change it, so it is looked at before any is installed.  (Without getconf, CMake will tell.)
require_glibc()
{
    has_program getconf || return 0
    version=$(getconf GNU_LIBC_VERSION 2>/dev/null | sed -n 's/^glibc \([0-9]*\)\.\([0-9]*\).*/\1 \2/p')
    # shellcheck disable=SC2086 # two words
    set -- ${version:-0 0}
    [ "$1" -lt 2 ] || { [ "$1" -eq 2 ] && [ "$2" -lt 34 ]; } || return 0
    say "brood needs glibc 2.34 or newer, and this system has $([ "$1" -eq 0 ] && echo another C library || echo "$1.$2")"
    exit 1
}

# has <thing>: the names are those of the columns in package().
has()
{
    case $1 in
    compiler) has_library stdio.h ;;
    cmake) has_cmake ;;
    jansson) has_library jansson.h -ljansson ;;
    liburing) has_library liburing.h -luring ;;
    check) has_library check.h && pkg-config --exists check 2>/dev/null ;;
    c++) has_program c++ || has_program g++ || has_program clang++ ;;
    ck) has_library ck_ring.h -lck ;;
    libuv) has_library uv.h -luv ;;
    zlib) has_library zlib.h -lz ;;
    *) has_program "$1" ;;
    esac
}

# missing <thing>...: those that are not there.
missing()
{
    for thing; do
        has "$thing" || printf '%s ' "$thing"
    done
}

# ---- what it is called: package <thing> prints the packages of this system that bring it, or nothing if it has none ----

package()
{
    case $manager:$1 in
    apt-get:compiler) echo gcc libc6-dev ;;
    apt-get:jansson) echo libjansson-dev ;;
    apt-get:liburing) echo liburing-dev ;;
    apt-get:c++) echo g++ ;;
    apt-get:ck) echo libck-dev ;;
    apt-get:libuv) echo libuv1-dev ;;
    apt-get:zlib) echo zlib1g-dev ;;

    dnf:compiler) echo gcc glibc-devel ;;
    dnf:pkg-config) echo pkgconf-pkg-config ;;
    dnf:jansson) echo jansson-devel ;;
    dnf:liburing) echo liburing-devel ;;
    dnf:check) echo check-devel ;;
    dnf:c++) echo gcc-c++ ;;
    dnf:ck) echo ck-devel ;;
    dnf:libuv) echo libuv-devel ;;
    dnf:zlib) echo zlib-devel ;;

    pacman:compiler) echo gcc ;;
    pacman:pkg-config) echo pkgconf ;;
    pacman:c++) echo gcc ;;
    pacman:ck | pacman:spin) ;; # not among its packages

    apk:compiler) echo gcc glibc-dev linux-headers ;; # Wolfi; Alpine has musl
    apk:pkg-config) echo pkgconf ;;
    apk:jansson) echo jansson-dev ;;
    apk:liburing) echo liburing-dev ;;
    apk:check) echo check-dev ;;
    apk:c++) echo g++ ;;
    apk:libuv) echo libuv-dev ;;
    apk:zlib) echo zlib-dev ;;
    apk:ck | apk:spin) ;;

    zypper:compiler) echo gcc glibc-devel ;;
    zypper:pkg-config) echo pkgconf-pkg-config ;;
    zypper:jansson) echo libjansson-devel ;;
    zypper:liburing) echo liburing-devel ;;
    zypper:check) echo check-devel ;;
    zypper:c++) echo gcc-c++ ;;
    zypper:libuv) echo libuv-devel ;;
    zypper:zlib) echo zlib-devel ;;
    zypper:ck | zypper:spin) ;;

    *) echo "$1" ;;
    esac
}

find_manager()
{
    for manager in apt-get dnf pacman apk zypper; do
        if has_program $manager; then return; fi
    done
    manager=
}

as_root()
{
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    else
        sudo "$@"
    fi
}

# install <package>...
install()
{
    case $manager in
    apt-get)
        as_root apt-get update -qq || say "apt-get update failed; trying with the lists that are there"
        as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@"
        ;;
    dnf) as_root dnf install -y "$@" ;;
    pacman) as_root pacman -Sy --needed --noconfirm "$@" ;;
    apk) as_root apk add "$@" ;;
    zypper) as_root zypper --non-interactive install "$@" ;;
    esac
}

# packages <thing>...
packages()
{
    for thing; do
        package "$thing"
    done | tr '\n' ' '
}

# install_things <thing>...
install_things()
{
    # shellcheck disable=SC2046 # the names are meant to be split
    install $(packages "$@")
}

can_install()
{
    [ -n "$manager" ] && { [ "$(id -u)" -eq 0 ] || has_program sudo; }
}

explain() # <package>...
{
    case $manager in
    "") say "none of apt-get, dnf, pacman, apk and zypper is here to install it with" ;;
    apk) say "as root: apk add $*" ;;
    pacman) say "as root: pacman -S $*" ;;
    *) say "as root: $manager install $*" ;;
    esac
}

# provide "<needed things>" "<wished things>": the needed are there afterwards, or this script has ended; without the wished,
# only something is left out.
# shellcheck disable=SC2086 # the lists are meant to be split
provide()
{
    needed=$(missing $1)
    wished=$(missing $2)
    [ -n "$needed$wished" ] || return 0
    say "missing: $needed$wished"

    find_manager
    names=$(packages $needed $wished)
    if ! can_install; then
        explain $names
    elif [ -n "${names% }" ]; then
        say "installing with $manager: $names"
        # one unknown package makes a manager refuse them all, so the needed get a second chance by themselves
        install $names >&2 || { [ -n "$needed" ] && [ -n "$wished" ] && install_things $needed >&2; } || say "$manager failed"
        needed=$(missing $1)
        wished=$(missing $2)
    fi

    if [ -n "$needed" ]; then
        say "cannot go on without: $needed"
        case " $needed" in
        *" cmake "*) say "cmake must be 3.25 or newer; here: $(cmake --version 2>/dev/null | sed -n 1p | grep . || echo none)" ;;
        esac
        exit 1
    fi
    [ -z "$wished" ] || say "going on without: $wished"
}

# ---- build ----

# quietly <command>...: the output is of interest if it fails.
quietly()
{
    "$@" >>"$log" 2>&1 || {
        cat "$log" >&2
        say "failed: $*"
        exit 1
    }
}

# build <cmake option>...
build()
{
    mkdir -p "$build"
    : >"$log"
    fresh=
    if [ -f "$build/CMakeCache.txt" ] && ! grep -qxF "CMAKE_HOME_DIRECTORY:INTERNAL=$source" "$build/CMakeCache.txt"; then
        fresh=--fresh # the tree was copied or moved here with its build
    fi
    say "building in build/release"
    quietly cmake $fresh -S "$source" -B "$build" -DCMAKE_BUILD_TYPE=Release "$@"
    quietly cmake --build "$build" --parallel "$(getconf _NPROCESSORS_ONLN)"
}

source=$(cd "$(dirname "$0")/.." && pwd -P)
build=$source/build/release
log=$build/bootstrap.log

verb=${1-}
[ $# -eq 0 ] || shift
case $verb in
speedup)
    require_glibc
    provide "compiler cmake make pkg-config jansson" "liburing"
    build -DBROOD_TESTS=OFF
    exec "$build/workers/brood" speedup "$@"
    ;;
test)
    require_glibc
    provide "compiler cmake make pkg-config jansson check" "liburing c++ ck libuv spin valgrind zlib"
    build -DBROOD_TESTS=ON
    cd "$build"
    if [ "${1-}" = --all ]; then
        shift
    else
        set -- --label-exclude '^(model|valgrind|steps|stress|poller|peers)$' "$@"
    fi
    exec ctest --output-on-failure --parallel 2 "$@" # more would take the CPUs from each other's workers
    ;;
-h | --help | help)
    usage
    ;;
*)
    [ -z "$verb" ] || say "unknown: $verb"
    usage >&2
    exit 2
    ;;
esac
