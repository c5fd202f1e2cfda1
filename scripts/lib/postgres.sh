# shellcheck shell=bash
# A private Postgres server, deleted after the run. Sourced by scripts, after lib/tools.sh.

# postgres_bin prints the folder of the newest installed server; Debian keeps it off the PATH.
postgres_bin() {
    local initdb
    initdb=$(command -v initdb || find /usr/lib/postgresql /usr/pgsql-* -name initdb -path '*/bin/*' 2>/dev/null |
        sort -V | tail -n 1)
    [ -n "$initdb" ] && dirname "$(readlink -f "$initdb")"
}

# need_postgres installs a server where none is installed.
need_postgres() {
    postgres_bin >/dev/null && return 0
    # Debian's package would create and start a server of its own, on port 5432.
    if [ -d /etc/apt ]; then
        as_root mkdir -p /etc/postgresql-common &&
            as_root sh -c 'echo "create_main_cluster = false" >/etc/postgresql-common/createcluster.conf' || true
    fi
    need_programs initdb:postgresql
    postgres_bin >/dev/null || fail "could not find the programs of postgresql; please install it"
}

# free_port prints a free port of this machine.
free_port() {
    python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

# as_postgres runs a program as the user of the server, which refuses to be root.
as_postgres() {
    if [ "$(id -u)" -eq 0 ]; then
        setpriv --reuid="$POSTGRES_USER" --regid="$POSTGRES_USER" --clear-groups -- "$@"
    else
        "$@"
    fi
}

# start_postgres starts a server on 127.0.0.1 and a socket, and exports its address as RDEV_TEST_POSTGRES;
# stop_postgres ends it, and belongs in a trap. Its data need not survive a crash of
# the machine: RDEV_TEST_POSTGRES_FSYNC=on makes it as durable, and as slow, as a real one.
start_postgres() {
    if [ -n "${RDEV_TEST_POSTGRES:-}" ]; then return 0; fi
    need_postgres
    POSTGRES_USER=nobody
    getent passwd postgres >/dev/null && POSTGRES_USER=postgres
    POSTGRES_FOLDER=$(mktemp -d "${TMPDIR:-/tmp}/rdev-pg.XXXXXX")
    local bin port
    bin=$(postgres_bin)
    [ "$(id -u)" -ne 0 ] || chown "$POSTGRES_USER" "$POSTGRES_FOLDER"
    as_postgres "$bin/initdb" --pgdata "$POSTGRES_FOLDER/data" --username rdev --auth trust --encoding UTF8 \
        --locale C.UTF-8 --no-sync >"$POSTGRES_FOLDER/initdb.log" 2>&1 ||
        fail "initdb failed: $(tail -n 3 "$POSTGRES_FOLDER/initdb.log")"
    # Another program may take the port between the check and the start.
    local attempt
    for attempt in 1 2 3; do
        port=$(free_port)
        if as_postgres "$bin/pg_ctl" --pgdata "$POSTGRES_FOLDER/data" --silent --wait \
            --log "$POSTGRES_FOLDER/log" --options "-c listen_addresses=127.0.0.1 -c port=$port \
-c unix_socket_directories=$POSTGRES_FOLDER -c fsync=${RDEV_TEST_POSTGRES_FSYNC:-off} \
-c max_connections=400 -c shared_buffers=64MB -c max_wal_size=2GB" start >/dev/null; then
            export RDEV_TEST_POSTGRES="postgres://rdev@127.0.0.1:$port/postgres"
            return 0
        fi
    done
    fail "Postgres did not start ($attempt attempts): $(tail -n 3 "$POSTGRES_FOLDER/log")"
}

# restart_postgres MODE restarts the server in place: `fast` for a clean shutdown, `immediate` as after a crash.
restart_postgres() {
    as_postgres "$(postgres_bin)/pg_ctl" --pgdata "$POSTGRES_FOLDER/data" --silent --wait --mode "$1" \
        --log "$POSTGRES_FOLDER/log" restart >/dev/null ||
        fail "Postgres did not restart: $(tail -n 3 "$POSTGRES_FOLDER/log")"
}

stop_postgres() {
    if [ -z "${POSTGRES_FOLDER:-}" ]; then return 0; fi
    as_postgres "$(postgres_bin)/pg_ctl" --pgdata "$POSTGRES_FOLDER/data" --silent --mode immediate stop \
        >/dev/null 2>&1 || true
    rm -rf "$POSTGRES_FOLDER"
}
