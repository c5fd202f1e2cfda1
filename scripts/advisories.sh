#!/usr/bin/env bash
# Compares rdev's dependencies with the advisories of RustSec, and with versions yanked from crates.io.
#
#   scripts/advisories.sh
#
# Needs the network: the advisories are fetched from github.com. Exit codes: 0 no advisory applies, 1 one
# applies, 2 wrong usage, 3 the advisories cannot be fetched, so nothing was compared.
set -euo pipefail
cd "$(dirname "$0")/.."

# shellcheck source=scripts/lib/tools.sh
source scripts/lib/tools.sh
help_if_asked "$@"
[ "$#" = 0 ] || misuse "unknown argument '$1'"
need_programs git:git
need_cargo_deny

if ! said=$("$CARGO_DENY" --color never fetch db 2>&1); then
    printf '%s: nothing was compared: the advisories cannot be fetched\n%s\n' "$(basename "$0")" "$said" >&2
    exit 3
fi
"$CARGO_DENY" check --hide-inclusion-graph advisories
