#!/usr/bin/env bash
# Opens silent connections up to the limit of rdev-api, 22,000 of them or as many as `ulimit -Hn` allows, from many
# addresses; /health and /ready must still be answered on both listeners. Half a minute. scripts/test.sh runs the same
# at a small size.
#
#   scripts/silent.sh            opens them, and prints their number
#   scripts/silent.sh --release  arguments go to `cargo test`
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=scripts/lib/tools.sh
source scripts/lib/tools.sh
help_if_asked "$@"

cargo test --package rdev-api --test it "$@" -- \
    --exact door::silent_sockets_keep_no_probe_waiting_at_full_size --ignored --nocapture
