#!/usr/bin/env bash
# Runs every test of rdev. On a fresh Debian machine with only Rust it first installs the programs that the tests
# use; elsewhere it lists the missing ones. A missing program fails the run: no test is skipped.
#
#   ./scripts/test.sh              everything, the manifests too
#   ./scripts/test.sh -p rdev-sql  arguments go to `cargo test`
#
# RDEV_TEST_POSTGRES=postgres://… names a server to use instead of a private one; every test creates a database
# of its own there. RDEV_TEST_RENEW_EXAMPLES=1 writes the examples of the document anew, as they are recorded
# (crates/rdev-api/src/openapi/examples.json).
set -euo pipefail
cd "$(dirname "$0")/.."

# shellcheck source=scripts/lib/tools.sh
source scripts/lib/tools.sh
help_if_asked "$@"
# shellcheck source=scripts/lib/postgres.sh
source scripts/lib/postgres.sh
need_programs cc:gcc make:make git:git faketime:faketime python3:python3 node:nodejs setpriv:util-linux mount:mount strace:strace chromium:chromium \
    kubectl:kubernetes-client systemd-analyze:systemd curl:curl
need_claude
need_client_generators
need_nginx
trap stop_postgres EXIT
start_postgres

# Most tests wait for processes and leases: twice as many as there are processors keep these busy.
export RUST_TEST_THREADS="${RUST_TEST_THREADS:-$((2 * $(nproc)))}"

# Plain output for logs.
export CARGO_TERM_COLOR="${CARGO_TERM_COLOR:-never}"
if [ "$#" -eq 0 ]; then
    ./scripts/check-manifests.sh
    set -- --workspace
fi
cargo test --no-fail-fast "$@"
