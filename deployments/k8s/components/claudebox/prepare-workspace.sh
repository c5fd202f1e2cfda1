#!/usr/bin/env bash
# prepare-workspace.sh FOLDER: clones $REPOSITORY into FOLDER where it is missing or empty, otherwise fetches. Existing
# files are not changed, and an interrupted clone starts again. Runs before anything else in the pod.
set -euo pipefail
folder=$1
repository=${REPOSITORY:-}
unfinished=$folder.unfinished
export GIT_TERMINAL_PROMPT=0

say() { printf 'prepare-workspace: %s\n' "$1"; }

rm -rf "$unfinished"

if [ -z "$(ls -A "$folder" 2>/dev/null)" ]; then
    if [ -z "$repository" ]; then
        mkdir -p "$folder"
        say "no repository is named (annotation rdev.orchard9.ai/repository): $folder is empty"
        exit 0
    fi
    say "cloning $repository"
    timeout 1800 git clone --quiet -- "$repository" "$unfinished"
    sync --file-system "$unfinished"
    mv -T "$unfinished" "$folder"
    say "cloned, at $(git -C "$folder" log -1 --format='%h %s' 2>/dev/null || echo 'no commit yet')"
    exit 0
fi

if [ ! -e "$folder/.git" ]; then
    say "$folder holds files but no repository: left as it is"
    exit 0
fi

# No other process uses the volume now: a killed git left these locks, and the next git would fail at them.
find "$folder/.git" -type f -name '*.lock' -print -delete

origin=$(git -C "$folder" remote get-url origin 2>/dev/null || true)
if [ -n "$repository" ] && [ "$origin" != "$repository" ]; then
    say "warning: origin is '$origin', the project names '$repository': left as it is"
fi
# A pod with old commits is better than no pod.
if [ -n "$origin" ]; then
    timeout 300 git -C "$folder" fetch --quiet origin || say "warning: could not fetch from $origin; going on with what is here"
fi
