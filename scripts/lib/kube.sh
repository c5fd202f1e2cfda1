# shellcheck shell=bash
# What the scripts that touch a cluster share. Sourced after tools.sh, from the project's folder.
# Exit codes of these scripts: 0 done, 1 it failed, 2 called wrongly.

context=${RDEV_KUBE_CONTEXT:-}
namespace=${RDEV_NAMESPACE:-rdev}

# need_cluster refuses to go on unless it is said which cluster is meant: a default is the wrong one some night.
need_cluster() {
    local files file contexts
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
    [[ "$namespace" =~ ^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$ ]] ||
        misuse "namespace '$namespace': accepted are 1 to 63 lower-case letters, digits and hyphens"
}

kube() {
    kubectl --context "$context" --namespace "$namespace" "$@"
}

# secret_keys NAME prints the names of a Secret's keys, nothing where there is no such Secret.
secret_keys() {
    kube get secret "$1" --ignore-not-found -o go-template='{{range $key, $value := .data}}{{$key}} {{end}}'
}
