#!/usr/bin/env bash
# Runs every line of git's arguments that POST …/git accepts, of those that are made of each option of each subcommand
# and something dangerous behind it, under strace: no program runs but git's own, nothing outside the workspace is read
# or written. Hours; a part that is drawn is one of the tests of scripts/test.sh.
#
#   scripts/fuzz-git.sh           arguments go to `cargo test`
#
# RDEV_FUZZ_SEED=number draws the same part again: cargo test -p rdev-engine fuzz
set -euo pipefail
cd "$(dirname "$0")/.."

# shellcheck source=scripts/lib/tools.sh
source scripts/lib/tools.sh
help_if_asked "$@"
need_programs git:git strace:strace

cargo test --package rdev-engine --lib "$@" -- \
    --exact invocation::git::fuzz::all_lines_run_nothing_and_touch_nothing_outside --ignored --nocapture
