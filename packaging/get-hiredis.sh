#!/bin/sh
# get-hiredis.sh [DIRECTORY]: sees to it that there is a hiredis of at least 1.1 to build with.
# The system's own, installed or offered by its apt, when that is new enough. Else the source
# package of a newer release of the same distribution, unpacked into DIRECTORY (default:
# build/hiredis, where CMake looks). Fetched by a private apt, which checks the signature;
# the machine's apt configuration stays as it is. Needs root only to install packages.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
. "$here/lib.sh"
into=${1:-$here/../build/hiredis}

if have pkg-config && pkg-config --atleast-version=1.1 hiredis; then
    say "hiredis: the system's $(pkg-config --modversion hiredis) will do"
    exit 0
fi
if [ -f "$into/hiredis.h" ]; then
    say "hiredis: $into is there"
    exit 0
fi
have apt-get || die "there is no apt-get here: install hiredis 1.1 or newer, or unpack its" \
    "source and name the directory to CMake as VLOCK_HIREDIS_SOURCE"

if offers libhiredis-dev 1.1; then
    need libhiredis-dev pkg-config
    exit 0
fi

case $(. /etc/os-release && say "$ID") in
    debian) suite=trixie components=main keyring=debian-archive-keyring ;;
    ubuntu) suite=noble components='main universe' keyring=ubuntu-keyring ;;
    *) die "no source package of hiredis is known for this distribution: unpack its source" \
        "and name the directory to CMake as VLOCK_HIREDIS_SOURCE" ;;
esac
need dpkg-dev ca-certificates "$keyring"
# shellcheck disable=SC2086 # the components are words
private_apt deb-src "$suite" $components
mkdir -p "$(dirname "$into")" "$scratch/source"
chown _apt "$scratch/source" 2>/dev/null || :  # apt downloads as _apt, when root runs it
(
    cd "$scratch/source"
    private apt-get -q --download-only source hiredis
    # apt has checked every file against the signed list.
    dpkg-source --no-check -q -x ./*.dsc tree
)
[ ! -e "$into" ] || rmdir "$into" || die "$into is in the way, and is no hiredis"
# Complete or not there at all: a half-copied tree would be taken for a whole one.
rm -rf "$into.new"
cp -R "$scratch/source/tree" "$into.new"
mv "$into.new" "$into"
say "hiredis: unpacked into $into"
