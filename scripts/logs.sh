#!/usr/bin/env bash
# Shows the log of rdev-api, or of a project's pod.
#
#   KUBECONFIG=… scripts/logs.sh --context NAME -f -e
#
#   -f                 follow until interrupted
#   -n LINES           lines of each container, before the filter; default: 200
#   -e                 errors only
#   -p PROJECT         the project's pod, with the preparation of its workspace; the output of commands is in the API
#   --previous         the containers before their last restart
#   --context NAME     context of the kubeconfig (or RDEV_KUBE_CONTEXT); required
#   --namespace NAME   of rdev-api, whose configuration names that of projects; default: rdev (or RDEV_NAMESPACE)
#
# Exit codes: 0 done, 1 the log cannot be read, 2 wrong usage.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=scripts/lib/tools.sh
source scripts/lib/tools.sh
# shellcheck source=scripts/lib/kube.sh
source scripts/lib/kube.sh

lines=200 errors='' project='' options=()
while [ "$#" -gt 0 ]; do
    case "$1" in
    -h | --help) print_help && exit 0 ;;
    -f | --previous) options+=("$1") && shift && continue ;;
    -e) errors=yes && shift && continue ;;
    -n) lines=$(value "$@") ;;
    -p) project=$(value "$@") ;;
    --context) context=$(value "$@") ;;
    --namespace) namespace=$(value "$@") ;;
    *) misuse "unknown argument '$1'" ;;
    esac
    shift 2
done
[[ "$lines" =~ ^[0-9]{1,9}$ ]] || misuse "-n '$lines': accepted is a number of lines"
[[ "$project" =~ ^[a-z0-9-]*$ ]] || misuse "-p '$project': accepted are lower-case letters, digits and '-'"
need_cluster
need_answer

selector=app.kubernetes.io/name=rdev-api of=$namespace
if [ -n "$project" ]; then
    find_projects
    selector=rdev.orchard9.ai/project-id=$project of=$projects_namespace
fi
found=$(cluster -n "$of" get pods -l "$selector" -o name) || fail "the cluster of context '$context' did not list its pods"
[ -n "$found" ] || fail "namespace $of has no pod with $selector; it has: $(cluster -n "$of" get pods -o name | tr '\n' ' ')"

if [ -n "$errors" ]; then
    # rdev writes JSON in pods, text with RDEV_LOG_FORMAT=text; git and the shell write plain words.
    filter=(grep --line-buffered -E '"level":"ERROR"| ERROR |panicked')
    [ -z "$project" ] || filter=(grep --line-buffered -iE 'error|fatal|warning|denied|refused')
else
    filter=(cat)
fi
# No match is not a failure.
cluster -n "$of" logs -l "$selector" --all-containers --prefix --tail "$lines" --max-log-requests 50 "${options[@]}" |
    { "${filter[@]}" || [ "$?" -eq 1 ]; }
