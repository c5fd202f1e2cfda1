#!/usr/bin/env bash
# Fills every place that rdev-api has for connections with sockets that say nothing, 22,000 of them or as many as
# `ulimit -Hn` allows, from many addresses; /health and /ready must be answered on both listeners all the same. Half a
# minute. The same at a small size is one of the tests of scripts/test.sh.
#
#   scripts/silent.sh            opens them, and prints how many
#   scripts/silent.sh --release  arguments go to `cargo test`
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=scripts/lib/tools.sh
source scripts/lib/tools.sh
help_if_asked "$@"

cargo test --package rdev-api --test it "$@" -- \
    --exact door::silent_sockets_keep_no_probe_waiting_at_full_size --ignored --nocapture
