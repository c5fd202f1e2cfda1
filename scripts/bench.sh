#!/usr/bin/env bash
# Measures rdev beside its peers, and prints the card of the machine and one table; every figure is a ratio from the same run.
#
#   scripts/bench.sh            everything, about fifteen minutes
#   scripts/bench.sh --write    the same, and the table goes into docs/benchmarks.md
#   scripts/bench.sh --small    small sizes
#   scripts/bench.sh --smoke    the smallest ones, without peers and optimization: tests this script
#   scripts/bench.sh --only lines,first-event,fanout,subscribers,commands,requests,startup,peer
#
# Axes, and the programs beside rdev:
#   lines        lines a second from a command to one SSE client, beside the same command through a plain
#                pipe into a file, beside loopback (a server that writes the same recorded events from its
#                memory to the same client) and beside websocketd; for a flood (seq) and for a command that
#                writes line by line. Timed from the POST to `complete`; every line is counted, once and in
#                order.
#                Then the same as JSON lines, in batches and as both, beside the pipe.
#   first-event  POST to the first output event, on SQLite and on Postgres, beside a bare spawn of the same command
#   fanout       1,000 subscribers of one stream, idle (memory) and in a burst (deliveries a second),
#                beside nginx with nchan (2 workers) and messages of the same size
#   subscribers  the most subscribers (1,000, 2,000, 5,000, 10,000) of one stream, and of a project's, that
#                receive 20 messages a second with a p99 under 250 ms, beside nchan; and 10,000 at one message
#                a second. Timed from the line's writing to its arrival; the generator's own lateness is told
#   commands     1,000 commands at once on SQLite and on Postgres: the server's memory, and leases lost
#   requests     GET /projects with a key beside an empty axum route, both under wrk -t1 -c32
#   startup      start of the process to the first 200 on /health, and idle memory, beside sandbox-agent
#   peer         sandbox-agent's process API: a short command, a reader that stalls, kill -9 of the server
#
# Reading the table: the load generator (crates/rdev-bench, one thread), the server and the command share the
# machine's cores, in every axis and for every program alike; nothing is pinned. Figures are medians of
# alternated rounds. Only ratios count: absolute figures are this machine's. Run it on an idle
# machine. SQLite flushes what it accepts, so the folder's file system (TMPDIR) counts as well.
#
# Missing Debian packages are installed, with sudo where needed; other systems get a list of them.
# RDEV_API=program measures that program instead of building one; RDEV_BENCH=program measures with that one.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=scripts/lib/tools.sh
source scripts/lib/tools.sh
# shellcheck source=scripts/lib/postgres.sh
source scripts/lib/postgres.sh
# shellcheck source=scripts/lib/bench.sh
source scripts/lib/bench.sh
help_if_asked "$@"
begin_bench "$@"

PEER=@sandbox-agent/cli@0.4.2
PACKAGES=(websocketd nginx libnginx-mod-nchan wrk)

has() { command -v "$1" >/dev/null || [ -x "/usr/sbin/$1" ]; }

install_missing() {
    if has websocketd && has wrk && has nginx && [ -e /usr/lib/nginx/modules/ngx_nchan_module.so ]; then
        return
    fi
    if ! has apt-get; then
        echo "bench.sh: please install the programs of these Debian packages: ${PACKAGES[*]}" >&2
        exit 1
    fi
    local root=()
    [ "$(id -u)" -eq 0 ] || root=(sudo)
    "${root[@]}" apt-get update -qq
    # nginx must not listen on port 80: only this script runs it.
    "${root[@]}" env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 \
        apt-get install -y -qq --no-install-recommends "${PACKAGES[@]}" >/dev/null
}

install_peer() {
    local folder=target/bench/peer
    mkdir -p "$folder"
    if [ ! -d "$folder/node_modules/@sandbox-agent/cli" ]; then
        has npm || { echo "bench.sh: install npm" >&2; exit 1; }
        npm install --prefix "$folder" --no-audit --no-fund --silent "$PEER" >&2
    fi
    peer=$(find "$PWD/$folder/node_modules/@sandbox-agent" -name sandbox-agent -type f -path '*/bin/*' -size +1M)
    chmod +x "$peer"
}

peers=()
if [ -z "$SMOKE" ]; then
    install_missing
    install_peer
    peers=(--sandbox-agent "$peer")
fi
need_programs python3:python3
trap 'stop_postgres; remove_bench_folder' EXIT
bench_folder
need_bench
need_api

start_bench_postgres
# Ten thousand subscribers need as many open files in both programs.
ulimit -n "$(ulimit -Hn)"
"$BENCH" run --rdev "$API" ${peers[@]+"${peers[@]}"} --postgres "$RDEV_TEST_POSTGRES" --folder "$FOLDER" \
    "${ABOUT[@]}" "$@"
