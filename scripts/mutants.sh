#!/usr/bin/env bash
# Changes the code in one small way after the other, and fails when no test notices a change (cargo-mutants). Works on a
# copy of the sources; reports are kept in target/mutants.
#
#   scripts/mutants.sh                     rdev-domain whole, then the sample; an hour or more on two cores
#   scripts/mutants.sh domain              every change of rdev-domain
#   scripts/mutants.sh domain --shard 0/8  options go to `cargo mutants`
#   scripts/mutants.sh sample              some changes of rdev-runner and of the services, spread over their files
#
# .cargo/mutants.toml lists the changes that are left out, with the reason. Exit codes: 0 every change is noticed, 1 some
# are not or something failed, 2 called wrongly.
set -euo pipefail
cd "$(dirname "$0")/.."

# shellcheck source=scripts/lib/tools.sh
source scripts/lib/tools.sh
help_if_asked "$@"
part=${1:-all}
[ "$#" = 0 ] || shift
case "$part" in all | domain | sample) ;; *) misuse "unknown argument '$part'" ;; esac
need_programs cc:gcc make:make git:git
need_cargo_mutants

# Slow tests of a crate, which only the changes have to pass that no other test notices.
SLOW=git::installed
# One change of so many is tried in the sample.
RUNNER_SAMPLE=40 SERVICES_SAMPLE=20

# mutants REPORT OPTION … tries the changes; the report of an earlier run in the same folder is replaced.
mutants() {
    local report=target/mutants/$1
    shift
    mkdir -p "$report"
    "$CARGO_MUTANTS" mutants --jobs 1 --colors never --output "$report" "$@"
}

domain() {
    rm -rf target/mutants/domain
    # First without what takes twenty seconds each time, then with it what is left.
    mutants domain --package rdev-domain "$@" -- --tests -- --skip "$SLOW" ||
        mutants domain --package rdev-domain --iterate "$@" -- --tests
}

sample() {
    local package failed=0
    mutants runner --package rdev-runner --sharding round-robin --shard "0/$RUNNER_SAMPLE" "$@" -- --tests || failed=1
    for package in rdev-services rdev-engine; do
        [ ! -d "crates/$package" ] ||
            mutants "${package#rdev-}" --package "$package" --sharding round-robin --shard "0/$SERVICES_SAMPLE" "$@" -- --tests || failed=1
    done
    return "$failed"
}

failed=0
[ "$part" = sample ] || domain "$@" || failed=1
[ "$part" = domain ] || sample "$@" || failed=1
[ "$failed" = 0 ] || fail "changes that no test notices: target/mutants/*/mutants.out/missed.txt"
