# shellcheck shell=bash
# Functions of the scripts that access a cluster. Sourced after tools.sh, from the project's folder.
# Exit codes of these scripts: 0 done, 1 failed, 2 wrong usage.

context=${RDEV_KUBE_CONTEXT:-}
namespace=${RDEV_NAMESPACE:-rdev}
# Namespace of projects and workers; empty: the one that rdev-api of that namespace watches.
projects_namespace=${RDEV_PROJECTS_NAMESPACE:-}

# need_cluster requires an explicit cluster: a default would be the wrong one some day.
need_cluster() {
    local files file contexts name
    command -v kubectl >/dev/null || fail "please install kubectl"
    [ -n "${KUBECONFIG:-}" ] || misuse "KUBECONFIG is not set; accepted: the path of a kubeconfig"
    IFS=: read -r -a files <<<"$KUBECONFIG"
    for file in "${files[@]}"; do
        [ -r "$file" ] || misuse "KUBECONFIG names '$file', which cannot be read"
    done
    contexts=$(kubectl config get-contexts -o name) || fail "kubectl cannot read KUBECONFIG=$KUBECONFIG"
    contexts=${contexts//$'\n'/ }
    [ -n "$context" ] || misuse "no context: name one with --context or RDEV_KUBE_CONTEXT; accepted: $contexts"
    [[ " $contexts " == *" $context "* ]] || misuse "context '$context' is not in $KUBECONFIG; accepted: $contexts"
    for name in "$namespace" ${projects_namespace:+"$projects_namespace"}; do
        [[ "$name" =~ ^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$ ]] ||
            misuse "namespace '$name': accepted are 1 to 63 lower-case letters, digits and hyphens"
    done
}

# need_answer requires that the cluster answers: kubectl says the same in many lines, at each call.
need_answer() {
    local said
    said=$(cluster get --raw /version --request-timeout 10s 2>&1 >/dev/null) && return
    fail "the cluster of context '$context' does not answer: $(tail -n 1 <<<"$said")"
}

# find_projects sets projects_namespace to that of the running rdev-api; to rdev-api's own namespace where none runs.
find_projects() {
    [ -z "$projects_namespace" ] || return 0
    projects_namespace=$(kube get deployment rdev-api --ignore-not-found -o \
        go-template='{{range .spec.template.spec.containers}}{{range .env}}{{if and (eq .name "RDEV_NAMESPACE") .value}}{{.value}}{{end}}{{end}}{{end}}') ||
        fail "the cluster of context '$context' did not return the Deployment rdev-api of namespace $namespace"
    projects_namespace=${projects_namespace:-$namespace}
}

# cluster runs kubectl without a namespace.
cluster() {
    kubectl --context "$context" "$@"
}

# kube runs kubectl in the namespace of rdev-api, in_projects in that of projects and workers.
kube() {
    cluster --namespace "$namespace" "$@"
}

in_projects() {
    cluster --namespace "$projects_namespace" "$@"
}

# secret_keys NAMESPACE NAME prints the names of a Secret's keys, nothing for a missing Secret.
secret_keys() {
    cluster --namespace "$1" get secret "$2" --ignore-not-found -o go-template='{{range $key, $value := .data}}{{$key}} {{end}}'
}
