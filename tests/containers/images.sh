#!/bin/sh
# What the container suite needs: a Docker that answers, an image of PostgreSQL, an image of the router. Called by ./dev containers, which
# takes what this prints last: POSTGRES_IMAGE=… and PGWEAVE_IMAGE=….
#
# POSTGRES_IMAGE in the environment names another image of PostgreSQL; it must take what the official one takes. If none can be pulled, one is
# made of Debian's packages.
set -eu
cd "$(dirname "$0")/../.."
work=${TMPDIR:-/tmp}/pgweave-images.$$
trap 'rm -rf "$work"' EXIT

main() {
    docker_answers || start_docker
    postgres=${POSTGRES_IMAGE:-$(postgres_image)}
    router=pgweave-router:suite
    mkdir -p "$work/router"
    strip -o "$work/router/pgweave" target/debug/pgweave 2>/dev/null || cp target/debug/pgweave "$work/router/pgweave"
    # The server's image has a system that the router runs on as well.
    say "building $router"
    docker build --quiet --build-arg "BASE=$postgres" --file tests/containers/router.Dockerfile --tag "$router" "$work/router" >&2
    echo "POSTGRES_IMAGE=$postgres"
    echo "PGWEAVE_IMAGE=$router"
}

docker_answers() {
    command -v docker >/dev/null && docker info >/dev/null 2>&1
}

start_docker() {
    [ "$(id -u)" -eq 0 ] || fail "Docker does not answer, and only root can start it: install and start it, then run this again"
    if ! command -v dockerd >/dev/null; then
        command -v apt-get >/dev/null || fail "install Docker, then run this again: no package manager that I know is here"
        say "installing docker.io and iptables"
        apt-get update >&2 || fail "the list of packages cannot be fetched"
        DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends docker.io iptables >&2 ||
            fail "Docker cannot be installed"
    fi
    log=${TMPDIR:-/tmp}/pgweave-dockerd.log
    say "starting dockerd; it says what it does in $log"
    setsid dockerd >"$log" 2>&1 </dev/null &
    tries=0
    until docker_answers; do
        tries=$((tries + 1))
        [ "$tries" -lt 60 ] || fail "dockerd does not answer; see $log"
        sleep 1
    done
}

postgres_image() {
    for image in pgweave-postgres:suite postgres:17-bookworm; do
        if docker image inspect "$image" >/dev/null 2>&1; then
            echo "$image"
            return
        fi
    done
    say "pulling postgres:17-bookworm"
    if timeout 120 docker pull --quiet postgres:17-bookworm >&2; then
        echo postgres:17-bookworm
        return
    fi
    image_of_packages >&2
    echo pgweave-postgres:suite
}

image_of_packages() {
    [ "$(id -u)" -eq 0 ] || fail "postgres:17-bookworm cannot be pulled; name an image in POSTGRES_IMAGE"
    command -v debootstrap >/dev/null || DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends debootstrap ||
        fail "postgres:17-bookworm cannot be pulled, and debootstrap not be installed; name an image in POSTGRES_IMAGE"
    say "making an image of Debian's packages"
    mkdir -p "$work"
    debootstrap --variant=minbase --include=postgresql,ca-certificates bookworm "$work/root" >"$work/log" 2>&1 ||
        fail "debootstrap failed: $(tail -n 3 "$work/log")"
    rm -rf "$work/root/var/cache/apt/archives"/*.deb
    tar -C "$work/root" -cf - . | docker import - pgweave-debian:suite
    rm -rf "$work/root"
    docker build --quiet --build-arg BASE=pgweave-debian:suite --tag pgweave-postgres:suite docker/postgres
}

say() {
    echo "== $*" >&2
}

fail() {
    echo "./dev containers: $*" >&2
    exit 1
}

main
