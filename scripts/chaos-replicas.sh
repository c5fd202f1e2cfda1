#!/usr/bin/env bash
# Tests that no single death loses data, at full size: three rdev-api processes with 24 workers on one private Postgres,
# 5,000 tasks with a side effect each, one process killed -9 every second for a minute and restarted, and Postgres
# restarted twice, once as after a crash. Ten to sixteen minutes on two busy cores; scripts/test.sh runs the same at a
# small size.
#
#   scripts/chaos-replicas.sh            runs, and prints the seed, the duration, and the number of comparisons
#   scripts/chaos-replicas.sh --release  arguments go to `cargo test`
#
# RDEV_CHAOS_SEED=number repeats the tasks and the victims of an earlier run. The checks are in
# crates/rdev-api/tests/it/oracle/verdict.rs: every accepted task has ended, its runs match its attempts, a task without
# retries has run once; and every stream, read from each of the three servers, is complete and the same.
set -euo pipefail
cd "$(dirname "$0")/.."

# shellcheck source=scripts/lib/tools.sh
source scripts/lib/tools.sh
help_if_asked "$@"
# shellcheck source=scripts/lib/postgres.sh
source scripts/lib/postgres.sh
need_programs python3:python3 setpriv:util-linux
need_postgres

# An interrupted run leaves servers, supervisors and a Postgres behind: all of them have working directories in this folder.
folder=$(mktemp -d "${TMPDIR:-/tmp}/rdev-chaos.XXXXXX")
clean_up() {
    local process
    for process in /proc/[0-9]*; do
        case "$(readlink "$process/cwd" 2>/dev/null)" in "$folder"/*) kill -KILL "${process#/proc/}" 2>/dev/null || true ;; esac
    done
    rm -rf "$folder"
}
trap clean_up EXIT
# The Postgres server runs as another user.
chmod 711 "$folder"
export TMPDIR="$folder"

cargo test --package rdev-api --test it "$@" -- \
    --exact chaos::replicas::no_death_loses_or_repeats_anything_at_full_size --ignored --nocapture
