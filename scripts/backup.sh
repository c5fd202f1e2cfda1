#!/usr/bin/env bash
# Backs the SQLite database of a running rdev-api up to a file on this machine. Changes nothing in the cluster.
#
#   KUBECONFIG=… scripts/backup.sh [--context NAME] [--namespace NAME] FILE
#
#   FILE               new file, for this user alone
#   --context NAME     context of the kubeconfig (or RDEV_KUBE_CONTEXT); required
#   --namespace NAME   of rdev-api; default: rdev (or RDEV_NAMESPACE)
#
# Exit codes: 0 backed up, 1 failed, 2 wrong usage.
set -euo pipefail
cd_from=$PWD
cd "$(dirname "$0")/.."
# shellcheck source=scripts/lib/tools.sh
source scripts/lib/tools.sh
# shellcheck source=scripts/lib/kube.sh
source scripts/lib/kube.sh

file=''
while [ "$#" -gt 0 ]; do
    case "$1" in
    -h | --help) print_help && exit 0 ;;
    --context) context=$(value "$@"); shift ;;
    --namespace) namespace=$(value "$@"); shift ;;
    -*) misuse "unknown argument '$1'" ;;
    *) [ -z "$file" ] || misuse "one FILE is accepted, not also '$1'" && file=$1 ;;
    esac
    shift
done
[ -n "$file" ] || misuse "name the FILE to write"
file=$(cd "$cd_from" && realpath -m -- "$file")
[ ! -e "$file" ] || misuse "'$file' exists: a backup replaces no file"
need_cluster

umask 077
unfinished=$(mktemp "$file.XXXXXX")
trap 'rm -f "$unfinished"' EXIT
said=$(kube exec deploy/rdev-api -c rdev-api -- rdev-api backup - 2>&1 >"$unfinished") || fail "rdev-api backup: $said"
# A connection that broke in the middle may look like an end.
bytes=$(sed -n 's/^backed up \([0-9]*\) bytes$/\1/p' <<<"$said")
[ "$(stat -c %s "$unfinished")" = "$bytes" ] || fail "got $(stat -c %s "$unfinished") of ${bytes:-?} bytes: $said"
sync "$unfinished"
mv -n "$unfinished" "$file"
printf 'backed up %s bytes to %s\n' "$bytes" "$file"
