#!/usr/bin/env bash
# Tests the API against its own document with schemathesis (PyPI): all checks, at least 5,000 cases; no 5xx, no
# undocumented answer. Builds rdev-api, and starts it in a temporary folder.
#
#   ./scripts/schemathesis.sh              arguments go to `schemathesis run`
set -euo pipefail
cd "$(dirname "$0")/.."

# shellcheck source=scripts/lib/tools.sh
source scripts/lib/tools.sh
help_if_asked "$@"
need_programs python3:python3
need_python_packages schemathesis==4.32.5

cargo build --quiet -p rdev-api
folder=$(mktemp -d)
server=
# shellcheck disable=SC2329 # called by the trap
stop() {
    [ -z "$server" ] || kill "$server" 2>/dev/null || true
    wait 2>/dev/null || true
    rm -rf "$folder"
}
trap stop EXIT

# Random text becomes shell lines: with an empty PATH they run no program.
env -i PATH="$folder/empty" RDEV_BIND=127.0.0.1:0 RDEV_DATA_DIR="$folder/data" RDEV_LOG=warn \
    RDEV_RATE_LIMIT_PER_MINUTE=100000000 RDEV_HEARTBEAT_SECONDS=1 \
    "$PWD/target/debug/rdev-api" >"$folder/out" 2>"$folder/err" &
server=$!
for _ in $(seq 100); do
    url=$(sed -n 's/^rdev listens on \(http[^ ]*\).*/\1/p' "$folder/out")
    [ -z "$url" ] || break
    sleep 0.1
done
[ -n "${url:-}" ] || fail "rdev-api did not start: $(cat "$folder/err")"

"$TOOLS/python/bin/schemathesis" --config-file scripts/lib/schemathesis.toml run "$url/openapi.json" \
    --header "Authorization: Bearer $(cat "$folder/data/admin.key")" \
    --checks all --max-examples "${MAX_EXAMPLES:-400}" --workers 1 --request-timeout 10 "$@"
