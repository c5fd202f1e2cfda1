#!/usr/bin/env bash
# Tests the guarantees of one server under all faults, at full size. First chaos: a server with SQLite and the local
# runtime, with a disk that fills up and is freed, a clock that is set, a blocked log output, clients that half-close
# their connections, and kill -9, all at random for ten minutes, with 3,000 tasks that have a side effect each. Then
# power cuts: a server and its runners are traced while they run some tasks, and a server is started on the folder that
# a power cut at each flush of the trace would leave. Fifteen to thirty minutes on two busy cores; scripts/test.sh runs
# both at a small size.
#
#   scripts/chaos.sh            runs, and prints the seeds, the duration, and the number of comparisons
#   scripts/chaos.sh --release  arguments go to `cargo test`
#
# RDEV_CHAOS_SEED=number repeats the tasks and the events of an earlier run. The checks are in
# crates/rdev-api/tests/it/oracle, chaos/one_server/readiness.rs and power/verdict.rs beside it.
set -euo pipefail
cd "$(dirname "$0")/.."

# shellcheck source=scripts/lib/tools.sh
source scripts/lib/tools.sh
help_if_asked "$@"
need_programs faketime:faketime mount:mount unshare:util-linux strace:strace

# An interrupted run leaves servers and supervisors behind: all of them have working directories in this folder.
folder=$(mktemp -d "${TMPDIR:-/tmp}/rdev-chaos.XXXXXX")
clean_up() {
    local process
    for process in /proc/[0-9]*; do
        case "$(readlink "$process/cwd" 2>/dev/null)" in "$folder"/*) kill -KILL "${process#/proc/}" 2>/dev/null || true ;; esac
    done
    rm -rf "$folder"
}
trap clean_up EXIT
export TMPDIR="$folder"

for test in chaos::one_server::one_server_to_which_all_happens_at_once_for_long power::a_power_cut_at_any_moment_breaks_no_promise; do
    cargo test --package rdev-api --test it "$@" -- --exact "$test" --ignored --nocapture
done
