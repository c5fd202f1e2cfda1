#!/usr/bin/env bash
# Shows that no single death loses anything, at full size: three rdev-api processes with 24 workers on one private
# Postgres, 5,000 tasks with a side effect each, one process killed -9 every second for a minute and started again,
# and Postgres restarted twice, once as after a crash. Ten to sixteen minutes on two busy cores; the same storm at a small size is one of the
# tests of scripts/test.sh.
#
#   scripts/storm.sh            blows, and prints the seed, how long it took, and how much was compared
#   scripts/storm.sh --release  arguments go to `cargo test`
#
# RDEV_STORM_SEED=number draws the tasks and the victims of an earlier storm again. What is checked afterwards is told
# in crates/rdev-api/tests/it/oracle/verdict.rs: every accepted task has ended and has run as often as it says, those
# that must not run twice once; and every stream, read from each of the three servers, is whole and the same.
set -euo pipefail
cd "$(dirname "$0")/.."

# shellcheck source=scripts/lib/tools.sh
source scripts/lib/tools.sh
help_if_asked "$@"
# shellcheck source=scripts/lib/postgres.sh
source scripts/lib/postgres.sh
need_programs python3:python3 setpriv:util-linux
need_postgres

# A storm that is interrupted leaves servers, supervisors and a Postgres behind: all of them work in here.
folder=$(mktemp -d "${TMPDIR:-/tmp}/rdev-storm.XXXXXX")
clean_up() {
    local process
    for process in /proc/[0-9]*; do
        case "$(readlink "$process/cwd" 2>/dev/null)" in "$folder"/*) kill -KILL "${process#/proc/}" 2>/dev/null || true ;; esac
    done
    rm -rf "$folder"
}
trap clean_up EXIT
# The server's user is another one.
chmod 711 "$folder"
export TMPDIR="$folder"

cargo test --package rdev-api --test it "$@" -- \
    --exact storm::no_death_loses_or_repeats_anything_at_full_size --ignored --nocapture
