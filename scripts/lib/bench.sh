# shellcheck shell=bash
# What the scripts of benchmarks share. Sourced by them, after lib/tools.sh and lib/postgres.sh.

# begin_bench [ARGUMENT …] reads the arguments of the script: sets SMOKE, and ABOUT to the options that name commit and date.
begin_bench() {
    local argument changes commit
    SMOKE=
    for argument in "$@"; do
        [ "$argument" != --smoke ] || SMOKE=yes
    done
    commit=$(git rev-parse --short HEAD 2>/dev/null || echo unknown)
    # A table that another script has just written is no change of what is measured.
    changes=$(git status --porcelain -- . ':!docs/benchmarks.md' 2>/dev/null | head -n 1)
    # shellcheck disable=SC2034 # read by the scripts
    ABOUT=(--commit "$commit${changes:++changes}" --date "$(date -u +%F)")
}

# built_program PROGRAM [NAMED] prints the program that the environment has named, or builds it: as the image is built, for a smoke
# test without optimization. One by one: built together, programs would have other features.
built_program() {
    if [ -n "${2:-}" ]; then
        printf '%s\n' "$2"
        return
    fi
    local profile=dist folder=dist
    [ -z "$SMOKE" ] || { profile=dev && folder=debug; }
    printf 'building %s\n' "$1" >&2
    cargo build --quiet --locked --profile "$profile" -p "$1" || return
    printf '%s\n' "${CARGO_TARGET_DIR:-target}/$folder/$1"
}

# bench_folder makes FOLDER for all data; remove_bench_folder belongs in a trap.
bench_folder() {
    FOLDER=$(mktemp -d "${TMPDIR:-/tmp}/rdev-bench.XXXXXX")
}

# need_bench copies rdev-bench to the folder and sets BENCH: a build during the measurement changes nothing.
need_bench() {
    local program
    program=$(built_program rdev-bench "${RDEV_BENCH:-}") || fail "could not build rdev-bench"
    BENCH="$FOLDER/rdev-bench"
    cp "$program" "$BENCH"
}

# need_api copies rdev-api to the folder and sets API.
need_api() {
    local program
    program=$(built_program rdev-api "${RDEV_API:-}") || fail "could not build rdev-api"
    API="$FOLDER/rdev-api"
    cp "$program" "$API"
}

# remove_bench_folder removes the folder; the last commands end within their timeouts.
remove_bench_folder() {
    [ -n "${FOLDER:-}" ] || return 0
    rm -rf "$FOLDER" 2>/dev/null || { sleep 2 && rm -rf "$FOLDER"; }
}

# start_bench_postgres starts a private server that flushes: an existing one may have any settings.
start_bench_postgres() {
    unset RDEV_TEST_POSTGRES
    export RDEV_TEST_POSTGRES_FSYNC=on
    start_postgres
}
