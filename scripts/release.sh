#!/usr/bin/env bash
# Makes a release of main: sets the version, runs the gate of a landing (.ci/run), commits and tags.
#
#   scripts/release.sh 0.2.0            pushes nothing
#   scripts/release.sh 0.2.0 --push     pushes main and the tag to origin, or neither
#
# CHANGELOG.md must have a section of that version. After a failure nothing is committed, and the files are unchanged.
# Exit codes: 0 released, 1 failed, 2 wrong usage.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=scripts/lib/tools.sh
source scripts/lib/tools.sh

version='' push=
while [ "$#" -gt 0 ]; do
    case "$1" in
    -h | --help) print_help && exit 0 ;;
    --push) push=yes ;;
    -*) misuse "unknown option '$1'" ;;
    *)
        [ -z "$version" ] || misuse "one version, not '$version' and '$1'"
        version=$1
        ;;
    esac
    shift
done
[ -n "$version" ] || misuse "no version; accepted is one such as 0.2.0"
[[ "$version" =~ ^(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)$ ]] || misuse "version '$version': accepted is one such as 0.2.0"
old=$(sed -n '/^\[workspace.package\]/,/^$/s/^version = "\(.*\)"/\1/p' Cargo.toml)
[ -n "$old" ] || fail "Cargo.toml has no version under [workspace.package]"
# The first release may have the present version.
[ "$(printf '%s\n' "$old" "$version" | sort -V | tail -n 1)" = "$version" ] || fail "version $version is older than $old in Cargo.toml"

branch=$(git branch --show-current)
[ "$branch" = main ] || fail "the branch is '$branch'; releases are made from main"
[ -z "$(git status --porcelain)" ] || fail "the working tree has changes: $(git status --porcelain | head -n 5 | tr '\n' ';')"
[ -z "$(git tag --list "v$version")" ] || fail "tag v$version exists already, at $(git rev-parse --short "v$version^{commit}")"
grep -q "^## $version\$" CHANGELOG.md ||
    fail "CHANGELOG.md has no section '## $version': rename 'Unreleased', and say what operators must know"
if [ -n "$push" ]; then
    git fetch --quiet origin main || fail "origin cannot be reached"
    git merge-base --is-ancestor FETCH_HEAD HEAD || fail "origin has commits on main that are missing here; pull them first"
fi

# The tree was clean, so the reset loses nothing but the new version.
trap 'git reset --quiet --hard HEAD' EXIT
sed -i "/^\[workspace.package\]/,/^\$/s/^version = .*/version = \"$version\"/" Cargo.toml
git ls-files -z 'deployments/k8s/*kustomization.yaml' | xargs -0 sed -i "s/^\( *newTag: \)v.*/\1v$version/"
cargo update --quiet --workspace
cargo xtask openapi
.ci/run || fail "the gate of a landing failed; nothing was committed"

git diff --quiet || git commit --quiet --all --message "Version $version"
git tag --annotate "v$version" --message "Version $version"
trap - EXIT
echo "tagged v$version at $(git rev-parse --short HEAD)"
if [ -n "$push" ]; then
    git push --atomic origin main "v$version" || fail "not pushed; the commit and tag v$version exist here: git push --atomic origin main v$version"
else
    echo "not pushed; after a review: git push --atomic origin main v$version"
fi
