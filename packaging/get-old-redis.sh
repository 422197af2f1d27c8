#!/bin/sh
# get-old-redis.sh [DIRECTORY]: unpacks Redis 6.0 of Debian 11 and its libraries into DIRECTORY
# (default: build/old-redis), for the tests that show that vlock works with a server which does
# not push. Nothing is installed. Fetched by a private apt, which checks the signatures. Status 1
# where it cannot be had: on another distribution or processor, or without a network.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
. "$here/lib.sh"
into=${1:-$here/../build/old-redis}

[ ! -x "$into/redis-server" ] || exit 0
have apt-get || die "there is no apt-get here to fetch Redis 6.0 with"
[ "$(. /etc/os-release && say "$ID")" = debian ] || die "Redis 6.0 is fetched on Debian only"
private_apt deb bullseye main
mkdir -p "$(dirname "$into")" "$scratch/debs"
chown _apt "$scratch/debs" 2>/dev/null || :  # apt downloads as _apt, when root runs it
(
    cd "$scratch/debs"
    # What is installed here says nothing about what is to be fetched.
    private apt-get -q -o Dir::State::status=/dev/null download redis-server redis-tools \
        libhiredis0.14 liblua5.1-0 lua-cjson lua-bitop libssl1.1
    for package in ./*.deb; do dpkg-deb -x "$package" "$scratch/unpacked"; done
)
libraries=$(dirname "$(find "$scratch/unpacked" -name 'liblua5.1.so.0' | head -n 1)")
cat >"$scratch/redis-server" <<'RUN'
#!/bin/sh
here=$(dirname "$(readlink -f "$0")")
LD_LIBRARY_PATH=$here/lib exec "$here/bin/redis-server" "$@"
RUN
chmod 755 "$scratch/redis-server"
# Complete or not there at all.
rm -rf "$into" "$into.new"
mkdir -p "$into.new"
cp -R "$scratch/unpacked/usr/bin" "$into.new/bin"
cp -R "$libraries" "$into.new/lib"
cp "$scratch/redis-server" "$into.new/redis-server"
"$into.new/redis-server" --version >/dev/null || die "the Redis that was fetched does not run here"
mv "$into.new" "$into"
say "redis 6.0: unpacked into $into"
