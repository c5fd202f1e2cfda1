#!/usr/bin/env bash
# Verifies rdev in a cluster: pods, health, rdev-api doctor, and one real command from request to last line.
#
#   KUBECONFIG=… scripts/verify.sh --context NAME
#
#   --context NAME     context of the kubeconfig (or RDEV_KUBE_CONTEXT); required
#   --namespace NAME   of rdev-api, whose configuration names that of projects; default: rdev (or RDEV_NAMESPACE)
#   --project NAME     project of the command; default: the first in the list of the API
#
# Changes the history of that project, and nothing else. Every check runs, also after a failure.
# Exit codes: 0 all checks passed, 1 a check failed, 2 wrong usage.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=scripts/lib/tools.sh
source scripts/lib/tools.sh
# shellcheck source=scripts/lib/kube.sh
source scripts/lib/kube.sh

project=
while [ "$#" -gt 0 ]; do
    case "$1" in
    -h | --help) print_help && exit 0 ;;
    --context) context=$(value "$@") ;;
    --namespace) namespace=$(value "$@") ;;
    --project) project=$(value "$@") ;;
    *) misuse "unknown argument '$1'" ;;
    esac
    shift 2
done
[[ "$project" =~ ^[A-Za-z0-9._-]*$ ]] || misuse "--project '$project': accepted are letters, digits, '.', '_' and '-'"
need_cluster
need_answer
find_projects
command -v curl >/dev/null || fail "please install curl"

work=$(mktemp -d)
forward=
# shellcheck disable=SC2317,SC2329 # called by the trap
stop() {
    [ -z "$forward" ] || kill "$forward" 2>/dev/null || true
    rm -rf "$work"
}
trap stop EXIT

failed=0
ok() { printf 'ok    %s\n' "$1"; }
bad() {
    printf 'FAIL  %s\n' "$1"
    failed=1
}

pods() {
    local of name phase ready seen='' namespaces=("$namespace")
    [ "$projects_namespace" = "$namespace" ] || namespaces+=("$projects_namespace")
    for of in "${namespaces[@]}"; do
        cluster -n "$of" get pods -o go-template='{{range .items}}{{if not .metadata.deletionTimestamp}}{{.metadata.name}} {{.status.phase}} {{range .status.conditions}}{{if eq .type "Ready"}}{{.status}}{{end}}{{end}}{{"\n"}}{{end}}{{end}}' \
            >"$work/pods" || { bad "pods of namespace $of cannot be listed"; continue; }
        while read -r name phase ready; do
            case "$phase" in Succeeded | '') continue ;; esac
            case "$of/$name" in "$namespace"/rdev-api-*) seen=yes ;; esac
            if [ "$ready" = True ]; then ok "pod $name is ready"; else bad "pod $name is $phase and not ready: kubectl -n $of describe pod $name"; fi
        done <"$work/pods"
    done
    [ -n "$seen" ] || bad "no pod of rdev-api in namespace $namespace"
}

# connect forwards a port to rdev-api and sets url: neither an ingress nor the cluster's network is needed.
connect() {
    local _
    # Not by `kube`: a function in the background is a shell, and killing that leaves kubectl behind.
    kubectl --context "$context" --namespace "$namespace" port-forward deployment/rdev-api :8080 >"$work/forward" 2>&1 &
    forward=$!
    for _ in $(seq 150); do
        url=$(sed -n 's/^Forwarding from \(127[^ ]*\).*/http:\/\/\1/p' "$work/forward")
        [ -z "$url" ] || return 0
        kill -0 "$forward" 2>/dev/null || break
        sleep 0.1
    done
    bad "no connection to rdev-api: kubectl port-forward: $(tr '\n' ' ' <"$work/forward")"
    return 1
}

# The address is on this machine, whatever proxy is set.
fetch() { curl -sS --noproxy '*' "$@"; }

answers() {
    local code
    code=$(fetch --max-time 10 -o "$work/body" -w '%{http_code}' "$url$1" 2>"$work/said") || true
    if [ "$code" = 200 ]; then ok "$1: $(head -c 200 "$work/body")"; else bad "$1: HTTP $code $(head -c 500 "$work/body" 2>/dev/null) $(cat "$work/said")"; fi
}

doctor() {
    if kube exec deployment/rdev-api -c rdev-api -- rdev-api doctor >"$work/doctor" 2>&1; then ok "rdev-api doctor"; else bad "rdev-api doctor"; fi
    sed 's/^/      /' "$work/doctor"
}

# command_runs runs one line in a project and counts its output lines.
command_runs() {
    local key marker lines
    key=$(kube get secret rdev-api -o go-template='{{index .data "admin-key" | base64decode}}' | cut -d, -f1) ||
        { bad "the admin key cannot be read from Secret rdev-api"; return; }
    # In a file of this user: arguments are visible to every user.
    printf 'Authorization: Bearer %s\n' "$key" >"$work/header"
    if [ -z "$project" ]; then
        fetch --fail --max-time 20 -H "@$work/header" "$url/projects" >"$work/projects" 2>"$work/said" ||
            { bad "/projects: $(cat "$work/said")"; return; }
        project=$(grep -o '"id":"[^"]*"' "$work/projects" | head -n 1 | cut -d '"' -f 4 || true)
        [ -n "$project" ] || { printf -- '--    no project, so no command was tried\n'; return; }
    fi
    marker=rdev-verify-$$-$RANDOM
    fetch --fail --max-time 90 -N -H "@$work/header" -H 'Content-Type: application/json' -H 'Accept: text/event-stream' \
        -d "{\"command\":\"printf 'rdev-verify-%s\\\\n' ${marker#rdev-verify-}\",\"timeout_seconds\":60}" \
        "$url/projects/$project/shell" >"$work/events" 2>"$work/said" ||
        { bad "a command in $project: $(cat "$work/said") $(tail -c 500 "$work/events")"; return; }
    lines=$(grep -c "\"line\":\"$marker\"" "$work/events" || true)
    if [ "$lines" = 1 ] && grep -A 3 '^event: complete' "$work/events" | grep '"status":"completed"' | grep -q '"exit_code":0'; then
        ok "a command in $project ran, and its line arrived once"
    else
        bad "a command in $project: its line arrived $lines times (wanted: 1, then complete with exit code 0): $(tail -c 500 "$work/events")"
    fi
}

pods
doctor
if connect; then
    answers /health
    answers /ready
    command_runs
fi
exit "$failed"
