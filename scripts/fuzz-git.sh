#!/usr/bin/env bash
# Runs lines of git's arguments under strace: of all lines made of an option of a subcommand and a dangerous argument after
# it, those that POST …/git accepts. No program but git's own may run, and nothing outside the workspace may be read or
# written. Hours; scripts/test.sh runs a random part.
#
#   scripts/fuzz-git.sh           arguments go to `cargo test`
#
# RDEV_FUZZ_SEED=number repeats a random part: cargo test -p rdev-engine fuzz
set -euo pipefail
cd "$(dirname "$0")/.."

# shellcheck source=scripts/lib/tools.sh
source scripts/lib/tools.sh
help_if_asked "$@"
need_programs git:git strace:strace

cargo test --package rdev-engine --lib "$@" -- \
    --exact invocation::git::fuzz::all_lines_run_nothing_and_touch_nothing_outside --ignored --nocapture
