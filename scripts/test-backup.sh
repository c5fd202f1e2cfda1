#!/usr/bin/env bash
# Runs the story of a lost node in a cluster: backs rdev-api up, loses its volume, restores. Works in a namespace of its own, which it
# deletes again. Commands run in rdev-api's own pod.
#
#   KUBECONFIG=… RDEV_KUBE_CONTEXT=… ./scripts/test-backup.sh IMAGE
#
# IMAGE is one of rdev-api that the nodes have; pods must be reachable by their addresses. scripts/test-cluster.sh runs this. Exit
# codes: 0 passed, 1 failed, 2 wrong usage.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=scripts/lib/tools.sh
source scripts/lib/tools.sh
# shellcheck source=scripts/lib/kube.sh
source scripts/lib/kube.sh

help_if_asked "$@"
[ "$#" = 1 ] || misuse "name the IMAGE of rdev-api"
image=$1
export RDEV_NAMESPACE=rdev-backup-test
namespace=$RDEV_NAMESPACE
need_cluster
need_programs curl:curl openssl:openssl python3:python3

work=$(mktemp -d)
key=$(openssl rand -hex 24)
# shellcheck disable=SC2329 # called by the trap
finish() {
    local code=$?
    trap - EXIT
    [ "$code" = 0 ] || kube logs deploy/rdev-api --tail 20 >&2 || true
    cluster delete namespace "$namespace" --wait=false --ignore-not-found >/dev/null
    rm -rf "$work"
    exit "$code"
}
trap finish EXIT
trap 'exit 130' INT TERM

# The overlay of an operator with one server, adapted to an old cluster, and to pods that cannot reach its API server.
apply() {
    kubectl kustomize deployments/k8s/overlays/single | sed -E -e 's#policy/v1$#policy/v1beta1#' -e "s#namespace: rdev\$#namespace: $namespace#" \
        -e "s#image: rdev-api(:.*)?\$#image: $image#" -e 's/imagePullPolicy: .*/imagePullPolicy: Never/' \
        -e 's/value: kubernetes$/value: local/' | kube apply -f - >/dev/null
    kube rollout status deploy rdev-api --timeout 120s >/dev/null
}

# api PATH [ARGUMENT …]: asks the running server; prints the body.
api() {
    local path=$1 address
    shift
    address=$(kube get pod -l app.kubernetes.io/name=rdev-api --field-selector status.phase=Running -o 'jsonpath={.items[0].status.podIP}')
    curl -sS --max-time 60 -H "Authorization: Bearer $key" -H 'Content-Type: application/json' "$@" "http://$address:8080$path"
}

# field NAME: prints a field of `data` of the JSON on standard input, or the code of the error.
field() {
    python3 -c 'import json, sys; body = json.load(sys.stdin); print(body["data"][sys.argv[1]] if "data" in body else body["error"]["code"])' "$1"
}

is() { [ "$2" = "$3" ] || fail "$1: '$2', wanted '$3'"; }
story() { printf '==> %s\n' "$1"; }

# ends CODE COMMAND …: expects this exit code; `said` is the output.
ends() {
    local wanted=$1 code=0
    shift
    said=$("$@" 2>&1) || code=$?
    [ "$code" = "$wanted" ] || fail "$* ended with $code, wanted $wanted: $said"
}

story "a server with a command that has ended"
cluster create namespace "$namespace" >/dev/null
kube create secret generic rdev-api --from-literal "admin-key=$key" --from-literal "master-key=$(openssl rand -base64 32)" >/dev/null
apply
id=$(api /projects/demo/shell -d '{"command":"echo kept"}' | field id)
is "the command" "$(api "/projects/demo/commands/$id?wait=30" | field status)" completed

story "a backup of the running server"
ends 0 scripts/backup.sh "$work/backup.db"
is "its mode" "$(stat -c %a "$work/backup.db")" 600
ends 2 scripts/backup.sh "$work/backup.db"
later=$(api /projects/demo/shell -d '{"command":"echo after the backup"}' | field id)

story "the volume is lost, and a new one is empty"
kube scale deploy rdev-api --replicas 0 >/dev/null
kube wait pod -l app.kubernetes.io/name=rdev-api --for=delete --timeout 120s >/dev/null
kube delete pvc rdev-api-data --timeout 120s >/dev/null
apply
is "the command" "$(api "/projects/demo/commands/$id" | field status)" COMMAND_NOT_FOUND

story "what is no backup is refused, and the server serves again"
printf 'no database' >"$work/other"
ends 1 scripts/restore.sh --timeout 120 "$work/other"
kube rollout status deploy rdev-api --timeout 120s >/dev/null
is "the command" "$(api "/projects/demo/commands/$id" | field status)" COMMAND_NOT_FOUND

story "the backup is restored"
ends 0 scripts/restore.sh --timeout 120 "$work/backup.db"
is "the command" "$(api "/projects/demo/commands/$id" | field status)" completed
is "its output" "$(api "/projects/demo/commands/$id/output")" kept
is "a later command" "$(api "/projects/demo/commands/$later" | field status)" COMMAND_NOT_FOUND
is "a new command" "$(api "/projects/demo/commands/$(api /projects/demo/shell -d '{"command":"true"}' | field id)?wait=30" | field status)" completed
printf 'all stories passed\n'
