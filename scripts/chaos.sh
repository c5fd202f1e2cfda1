#!/usr/bin/env bash
# Shows that one server keeps its word whatever happens to it, at full size. First chaos: a server with SQLite and the
# local runtime, whose disk is full and has room again, whose clock is set, whose log is not read any more, whose clients
# half-close their connections, and which is killed -9, all of it by chance for ten minutes, with 3,000 tasks that have a
# side effect each. Then power cuts: a server and its runners are traced while they serve some tasks, and a server is
# started on what each flush of the trace would have left. Fifteen to thirty minutes on two busy cores; both are tests
# of scripts/test.sh at a small size.
#
#   scripts/chaos.sh            runs, and prints the seeds, how long it took, and how much was compared
#   scripts/chaos.sh --release  arguments go to `cargo test`
#
# RDEV_CHAOS_SEED=number draws the tasks and the events of an earlier run again. What is checked is told in
# crates/rdev-api/tests/it/oracle, chaos/readiness.rs and power/verdict.rs beside it.
set -euo pipefail
cd "$(dirname "$0")/.."

# shellcheck source=scripts/lib/tools.sh
source scripts/lib/tools.sh
help_if_asked "$@"
need_programs faketime:faketime mount:mount unshare:util-linux strace:strace

# What is interrupted leaves servers and supervisors behind: all of them work in here.
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

for test in chaos::one_server_to_which_all_happens_at_once_for_long power::a_power_cut_at_any_moment_breaks_no_promise; do
    cargo test --package rdev-api --test it "$@" -- --exact "$test" --ignored --nocapture
done
