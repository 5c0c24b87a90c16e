#!/bin/sh
# Prints the path of a pgbouncer that keeps prepared statements in transaction mode (1.21 or newer), for the benchmark.
# One that is installed and new enough serves. Otherwise Debian's newest source package is fetched by apt and built
# into target/pgbouncer, since stable distributions ship older binaries. Without apt the installed one has to do.
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
place=${CARGO_TARGET_DIR:-$root/target}/pgbouncer
suite=trixie

new_enough() {
    version=$("$1" --version 2>/dev/null | sed -n 's/^PgBouncer \([0-9]*\)\.\([0-9]*\).*/\1 \2/p')
    [ -n "$version" ] && [ "${version% *}" -ge 1 ] && { [ "${version% *}" -gt 1 ] || [ "${version#* }" -ge 21 ]; }
}

for candidate in "${PGBOUNCER:-}" "$(command -v pgbouncer || true)" /usr/sbin/pgbouncer "$place/pgbouncer"; do
    if [ -n "$candidate" ] && [ -x "$candidate" ] && new_enough "$candidate"; then
        echo "$candidate"
        exit
    fi
done

build() {
    # apt reads this list instead of the machine's own, which stays as it is.
    apt="apt-get -q -o Dir::Etc::sourcelist=$place/sources.list -o Dir::Etc::sourceparts=/dev/null -o Dir::State::lists=$place/lists"
    cd "$place" &&
        mkdir -p lists/partial source &&
        echo "deb-src http://deb.debian.org/debian $suite main" >sources.list &&
        $apt update &&
        $apt source --download-only pgbouncer &&
        tar -xzf pgbouncer_*.orig.tar.gz -C source --strip-components 1 &&
        cd source &&
        ./configure --quiet --without-pam &&
        make pgbouncer &&
        cp pgbouncer "$place/pgbouncer" &&
        cd "$place" && rm -rf source lists pgbouncer_*
}

needed="libevent-dev libssl-dev pkg-config make gcc"
if command -v apt-get >/dev/null; then
    if [ "$(id -u)" = 0 ]; then
        echo "installing $needed, and building pgbouncer from Debian's source package" >&2
        { apt-get -q update && apt-get -q install -y --no-install-recommends $needed; } >&2 || true
    fi
    mkdir -p "$place"
    if (build) >"$place/build.log" 2>&1; then
        echo "$place/pgbouncer"
        exit
    fi
    echo "building pgbouncer failed, see $place/build.log; its needs: apt-get install $needed" >&2
fi
command -v pgbouncer || { [ -x /usr/sbin/pgbouncer ] && echo /usr/sbin/pgbouncer; } || {
    echo "no pgbouncer: install it with the system's package manager" >&2
    exit 1
}
