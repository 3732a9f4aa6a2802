#!/bin/sh
# usage: sh cmake/sysroot-aarch64.sh DIRECTORY   what brood and its tests link to, for aarch64, from Debian's packages
#
# The packages are fetched with lists of their own and unpacked in the directory: nothing is installed, the system gets no
# second architecture, and no root is needed.  What is there already is kept.
set -eu

suite=bookworm
mirror=http://deb.debian.org/debian
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
packages="check libjansson-dev libjansson4 libsubunit-dev libsubunit0 liburing-dev liburing2 zlib1g-dev zlib1g"

[ $# -eq 1 ] || {
    sed -n '2,5s/^# \{0,1\}//p' "$0"
    exit 2
}
root=$1
[ ! -f "$root/complete" ] || exit 0
mkdir -p "$root"
root=$(cd "$root" && pwd -P)

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT PIPE TERM
mkdir -p "$work/lists/partial" "$work/cache/archives/partial" "$work/debs"
: >"$work/status"
echo "deb [arch=arm64 signed-by=$keyring] $mirror $suite main" >"$work/sources.list"
cat >"$work/apt.conf" <<END
Dir::State "$work";
Dir::State::lists "$work/lists";
Dir::State::status "$work/status";
Dir::Cache "$work/cache";
Dir::Etc::sourcelist "$work/sources.list";
Dir::Etc::sourceparts "/dev/null";
APT::Architecture "arm64";
APT::Architectures { "arm64"; };
APT::Sandbox::User "root";
END
export APT_CONFIG="$work/apt.conf"

apt-get update -qq
# shellcheck disable=SC2086 # the names are meant to be split
(cd "$work/debs" && apt-get download -qq $packages)
for package in "$work"/debs/*.deb; do
    dpkg-deb -x "$package" "$root"
done
touch "$root/complete"
