#!/usr/bin/env bash
# Mutates the code in one place at a time, and fails when no test detects a mutant (cargo-mutants). Works on a copy of the
# sources; reports are in target/mutants.
#
#   scripts/mutants.sh                     rdev-domain whole, then the sample; an hour or more on two cores
#   scripts/mutants.sh domain              every mutant of rdev-domain
#   scripts/mutants.sh domain --shard 0/8  options go to `cargo mutants`
#   scripts/mutants.sh sample              a sample of mutants of rdev-runner and of the services, spread over their files
#
# .cargo/mutants.toml lists excluded mutants, with the reason. Exit codes: 0 every mutant is detected, 1 some are not or the
# run failed, 2 wrong usage.
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

# Slow tests of a crate, run only for mutants that no other test detects.
SLOW=git::installed
# The sample has one of this many mutants.
RUNNER_SAMPLE=40 SERVICES_SAMPLE=20

# mutants REPORT OPTION … tests the mutants; replaces the report of an earlier run in the same folder.
mutants() {
    local report=target/mutants/$1
    shift
    mkdir -p "$report"
    "$CARGO_MUTANTS" mutants --jobs 1 --colors never --output "$report" "$@"
}

domain() {
    local code=0 name again=()
    rm -rf target/mutants/domain
    # First without the tests that take twenty seconds, then the remaining mutants with them.
    mutants domain --package rdev-domain "$@" -- --tests -- --skip "$SLOW" || code=$?
    # 3: some tests did not end, and were killed; that is a detection.
    case "$code" in 0 | 3) return ;; 2) ;; *) return 1 ;; esac
    while IFS= read -r name; do again+=(--re "$name"); done \
        < <(sed 's/[][\\.*+?(){}|^$]/\\&/g; s/.*/^&$/' target/mutants/domain/mutants.out/missed.txt)
    code=0
    mutants domain --package rdev-domain --iterate "${again[@]}" -- --tests || code=$?
    [ "$code" = 0 ] || [ "$code" = 3 ]
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
