#!/bin/sh
# Runs the tests of everything that is kept in the database on a PostgreSQL server of their own: in a temporary folder,
# reached by a socket there, gone at the end. Installs Debian's packages where there is no server and this is root.
# Arguments are passed on to pytest.
set -eu
cd "$(dirname "$0")/.."

server() { find /usr/lib/postgresql -maxdepth 2 -name bin 2>/dev/null | sort -V | tail -n 1; }

if [ -z "$(server)" ]; then
    if [ "$(id -u)" != 0 ]; then
        echo "test-postgres: expected a PostgreSQL server below /usr/lib/postgresql, found none; as root, run:" \
            "apt-get install postgresql" >&2
        exit 1
    fi
    # The packages would start a server of the machine's own; nothing here needs it.
    mkdir -p /etc/postgresql-common
    [ -e /etc/postgresql-common/createcluster.conf ] ||
        echo 'create_main_cluster = false' >/etc/postgresql-common/createcluster.conf
    apt-get -q update
    DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=300 -o Dpkg::Options::=--force-confold \
        install --no-install-recommends postgresql
fi
bin=$(server)

folder=$(mktemp -d /tmp/edgenas-postgres.XXXXXX)
# The server refuses to run as root.
as_owner() { if [ "$(id -u)" = 0 ]; then runuser -u postgres -- "$@"; else "$@"; fi; }
if [ "$(id -u)" = 0 ]; then chown postgres "$folder"; fi
chmod 755 "$folder"

stop() {
    as_owner "$bin/pg_ctl" -D "$folder/data" -m immediate -s stop 2>/dev/null || true
    rm -rf "$folder"
}
trap stop EXIT
trap 'exit 130' INT TERM

cd "$folder"
as_owner "$bin/initdb" -D "$folder/data" -U edgenas --auth=trust --encoding=UTF8 --no-sync >"$folder/initdb.log"
as_owner "$bin/pg_ctl" -D "$folder/data" -s -w -l "$folder/server.log" \
    -o "-c listen_addresses='' -c unix_socket_directories='$folder' -c max_connections=60" start
as_owner "$bin/createdb" -h "$folder" -U edgenas edgenas
cd - >/dev/null

echo "test-postgres: $("$bin/postgres" --version)"
EDGENAS_TEST_POSTGRES="postgresql://edgenas@/edgenas?host=$folder" \
    "${PYTHON:-.venv/bin/python}" -m pytest \
    tests/edgenas/database tests/edgenas/fleet tests/edgenas/search/test_study.py tests/edgenas/search/test_study_kill.py \
    tests/edgenas/rollout/test_store.py tests/edgenas/rollout/test_host_desk.py "$@"
