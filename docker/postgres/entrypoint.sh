#!/bin/sh
# Makes a data directory at the first start, and runs the server as its own user.
set -eu
programs=$(ls -d /usr/lib/postgresql/*/bin | tail -n 1)
data=/var/lib/postgresql/data
if [ ! -s "$data/PG_VERSION" ]; then
    install -d -o postgres -g postgres -m 700 "$data"
    setpriv --reuid postgres --regid postgres --clear-groups \
        "$programs/initdb" -D "$data" --username postgres --auth "${POSTGRES_HOST_AUTH_METHOD:-scram-sha-256}" >/dev/null
    echo "host all all all ${POSTGRES_HOST_AUTH_METHOD:-scram-sha-256}" >>"$data/pg_hba.conf"
fi
install -d -o postgres -g postgres /var/run/postgresql
[ "${1:-}" != postgres ] || shift
exec setpriv --reuid postgres --regid postgres --clear-groups \
    "$programs/postgres" -D "$data" -c listen_addresses='*' "$@"
