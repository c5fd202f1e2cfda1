#!/usr/bin/env bash
# Tests prepare-workspace.sh on real repositories in a temporary folder. Prints nothing on success.
set -euo pipefail
script=$(cd "$(dirname "$0")" && pwd)/prepare-workspace.sh
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export HOME=$work GIT_CONFIG_NOSYSTEM=1
cd "$work"

wrong() {
    printf 'prepare-workspace: %s\n' "$1" >&2
    cat said >&2
    exit 1
}
prepare() { REPOSITORY=$1 bash "$script" "$work/$2" >said 2>&1; }
commit() { git -C origin -c user.name=a -c user.email=a@b commit --quiet --allow-empty -m "$1"; }

git init --quiet --initial-branch main origin
echo one >origin/file
git -C origin add file
commit first

{ prepare "$work/origin" clone/repository && [ "$(cat clone/repository/file)" = one ]; } || wrong "a missing folder is not cloned"

commit second
echo changed >clone/repository/file
touch clone/repository/new clone/repository/.git/index.lock
prepare "$work/origin" clone/repository || wrong "an existing clone fails"
[ "$(git -C clone/repository status --short | sort | tr -d '\n')" = " M file?? new" ] || wrong "local work is touched"
[ "$(git -C clone/repository log -1 --format=%s origin/main)" = second ] || wrong "an existing clone is not fetched"
git -C clone/repository add . || wrong "a lock of a killed git stays"

mkdir -p cut/repository cut/repository.unfinished/.git
echo half >cut/repository.unfinished/file
{ prepare "$work/origin" cut/repository && [ "$(cat cut/repository/file)" = one ]; } || wrong "a clone that was cut does not begin anew"

if prepare "$work/nowhere" bad/repository; then wrong "a repository that is not there does not fail"; fi
[ ! -e bad/repository ] || wrong "a clone that failed leaves a workspace"

{ prepare '' none/repository && [ -d none/repository ]; } || wrong "a project without repository gets no workspace"
touch none/repository/file
{ prepare "$work/origin" none/repository && [ ! -e none/repository/.git ]; } || wrong "files without repository are touched"

mv origin elsewhere
prepare "$work/origin" clone/repository || wrong "an origin that cannot be reached keeps the pod from starting"
