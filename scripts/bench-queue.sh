#!/usr/bin/env bash
# Measures rdev's queue beside its peers on one private Postgres, and prints the card of the machine and one table; every figure is
# a ratio from the same run.
#
#   scripts/bench-queue.sh            everything, about twenty minutes
#   scripts/bench-queue.sh --write    the same, and the table goes into docs/benchmarks.md
#   scripts/bench-queue.sh --small    small sizes, two to three minutes
#   scripts/bench-queue.sh --smoke    the smallest ones, without peers and optimization: tests this script
#   scripts/bench-queue.sh --only throughput,latency,idle,claim,first-event
#
# The peers: graphile_worker (the Rust crate), graphile-worker and pg-boss (npm, on Node). Each has a database
# of its own on the same server (fsync and synchronous_commit on), sixteen connections, and runs alone: in
# alternation, and in reverse order in the next round. Axes:
#   throughput   no-op tasks a second: stored, and processed (timed from the first start until all are stored as
#                finished). One by one: a task a statement, 16 at once. Batched: 500 a statement where the
#                program supports it, 100 tasks at once. rdev's port stores, starts and finishes one task a
#                call, and batches concurrent calls: its batched figures are of as many concurrent calls as the
#                others have tasks in their statements. Its worker claims for all that are free in one statement, and
#                knows the projects' pods.
#                rdev with one project, whose log entries wait for each other, and with 64.
#   latency      from before a task is stored to its start, at 100 tasks a second; for rdev with the worker in
#                the same process, and in another one, which is notified through Postgres. The others are
#                notified through Postgres; pg-boss polls twice a second, its maximum
#   idle         transactions a second that a waiting worker costs, set up as for the latency
#   claim        a claim with 1,000,000 tasks waiting and 1,000,000 finished, beside a small table; and
#                one behind 100,000 tasks that wait for a concurrency key, beside one without them
#   first-event  time that Postgres adds to a command's first event, beside SQLite (rdev's stores alone)
#
# Reading the table: rdev keeps a task's row and three events of its log, written in three transactions. pg-boss
# keeps the row. graphile-worker deletes it, so here a trigger on the deleting statement keeps a copy; the
# figures without it are printed below the table, without a judgment. rdev is judged by the best of the others.
# Client, server and peer share the machine's cores, for every contender alike. Only ratios count:
# absolute figures are this machine's, and mostly those of its disk (TMPDIR). Run it on an idle machine.
#
# graphile_worker is a program of its own, benches/graphile, so that its two hundred crates stay out of the workspace.
# RDEV_BENCH=program measures with that program instead of building one.
set -euo pipefail
cd "$(dirname "$0")/.."

# shellcheck source=scripts/lib/tools.sh
source scripts/lib/tools.sh
# shellcheck source=scripts/lib/postgres.sh
source scripts/lib/postgres.sh
# shellcheck source=scripts/lib/bench.sh
source scripts/lib/bench.sh

# The last versions that run on Node 20.
PEERS=(graphile-worker@0.17.3 pg-boss@10.4.2)
NODE_MIN=20

help_if_asked "$@"
begin_bench "$@"

need_peers() {
    need_programs node:nodejs npm:npm python3:python3
    local major
    major=$(node --print 'process.versions.node.split(".")[0]')
    [ "$major" -ge "$NODE_MIN" ] || fail "node $major is too old: the peers need $NODE_MIN"
    modules="$PWD/$TOOLS/queue-peers"
    case "$TOOLS" in /*) modules="$TOOLS/queue-peers" ;; esac
    [ "$(cat "$modules/installed" 2>/dev/null)" = "${PEERS[*]}" ] && return
    mkdir -p "$modules"
    npm install --silent --no-audit --no-fund --prefix "$modules" "${PEERS[@]}" ||
        fail "could not install ${PEERS[*]}"
    printf '%s\n' "${PEERS[*]}" >"$modules/installed"
}

# need_graphile builds the program of graphile_worker.
need_graphile() {
    local built="${CARGO_TARGET_DIR:-target}/bench-graphile"
    printf 'building graphile_worker; the first time takes minutes\n' >&2
    cargo build --quiet --release --locked --manifest-path benches/graphile/Cargo.toml --target-dir "$built"
    graphile="$built/release/bench-graphile"
}

peers=()
if [ -z "$SMOKE" ]; then
    need_peers
    need_graphile
    peers=(--modules "$modules" --graphile "$graphile")
fi
need_programs python3:python3
trap 'stop_postgres; remove_bench_folder' EXIT
bench_folder
need_bench
start_bench_postgres
"$BENCH" queue --postgres "$RDEV_TEST_POSTGRES" ${peers[@]+"${peers[@]}"} --folder "$FOLDER" "${ABOUT[@]}" "$@"
