#!/usr/bin/env bash
# Deploys rdev, or projects, to a cluster and waits until they are ready. May be repeated at any time.
#
#   KUBECONFIG=… scripts/deploy.sh --context NAME --overlay single --project pantheon --registry HOST/PATH
#
#   --context NAME     context of the kubeconfig (or RDEV_KUBE_CONTEXT); required
#   --overlay NAME     a folder of deployments/k8s/overlays: the server
#   --project NAME     a folder of deployments/k8s/projects; may be given more than once
#   --component NAME   a folder of deployments/k8s/components, such as worker-pool; may be given more than once
#   --registry PATH    registry of the images; without it they must be on the nodes already
#   --tag TAG          tag of the images; default: `git describe` of this working tree
#   --namespace NAME   of rdev-api; default: rdev (or RDEV_NAMESPACE)
#   --projects-namespace NAME
#                      of projects and workers (or RDEV_PROJECTS_NAMESPACE); default: the namespace that the running
#                      rdev-api watches; with an overlay of two namespaces that of rdev-api with `-projects`
#   --pull-secret NAME Secret in each of the namespaces with which nodes pull the images
#   --timeout SECONDS  longest wait for each part; default: 300
#   --when-idle SECONDS
#                      replaces a project's pod once no command runs in it, and waits for that at most this long;
#                      without this option it is replaced at once, and its commands end as `pod_lost`
#   --dry-run          print the changes, change nothing
#
# The cluster validates everything before anything is changed. The Secret rdev-api is created with random keys where it is
# missing, and never changed. A project's pod is replaced when its template has changed in more than annotations; annotations,
# such as description and repository, are set on the running pod. Exit codes: 0 ready, 1 failed, 2 wrong usage.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=scripts/lib/tools.sh
source scripts/lib/tools.sh
# shellcheck source=scripts/lib/kube.sh
source scripts/lib/kube.sh
# shellcheck source=scripts/lib/renew.sh
source scripts/lib/renew.sh

servers=() places=() two='' registry='' tag='' pull_secret='' timeout=300 when_idle='' dry_run=''

# folder KIND OPTION [NAME …] adds a folder of deployments/k8s to the folders to apply.
folder() {
    local kind=$1 name
    name=$(value "${@:2}") || exit 2
    [[ "$name" =~ ^[a-z0-9-]+$ && -f "deployments/k8s/$kind/$name/kustomization.yaml" ]] ||
        misuse "no '$name' in deployments/k8s/$kind; accepted: $(cd "deployments/k8s/$kind" && echo *)"
    case "$kind/$name" in components/claudebox*) misuse "'$name' is the base of projects, see deployments/README.md; name a --project" ;; esac
    case "$kind/$name" in
    overlays/*-two-namespaces) two=yes ;;&
    overlays/* | components/gvisor | components/ingress | components/prometheus*) servers+=("deployments/k8s/$kind/$name") ;;
    *) places+=("deployments/k8s/$kind/$name") ;;
    esac
}

while [ "$#" -gt 0 ]; do
    case "$1" in
    -h | --help) print_help && exit 0 ;;
    --dry-run) dry_run=yes && shift && continue ;;
    --context) context=$(value "$@") ;;
    --overlay) folder overlays "$@" ;;
    --project) folder projects "$@" ;;
    --component) folder components "$@" ;;
    --registry) registry=$(value "$@") ;;
    --tag) tag=$(value "$@") ;;
    --namespace) namespace=$(value "$@") ;;
    --projects-namespace) projects_namespace=$(value "$@") ;;
    --pull-secret) pull_secret=$(value "$@") ;;
    --timeout) timeout=$(value "$@") ;;
    --when-idle) when_idle=$(value "$@") ;;
    *) misuse "unknown argument '$1'" ;;
    esac
    shift 2
done
folders=("${servers[@]}" "${places[@]}")
[ "${#folders[@]}" -gt 0 ] || misuse "nothing to deploy: name an --overlay, a --project or a --component"
[[ "$timeout" =~ ^[1-9][0-9]{0,4}$ ]] || misuse "--timeout '$timeout': accepted are 1 to 99999 seconds"
[[ "$when_idle" =~ ^([1-9][0-9]{0,5})?$ ]] || misuse "--when-idle '$when_idle': accepted are 1 to 999999 seconds"
[[ "$pull_secret" =~ ^([a-z0-9]([-a-z0-9.]*[a-z0-9])?)?$ ]] ||
    misuse "--pull-secret '$pull_secret': accepted is the name of a Secret, lower-case letters, digits, hyphens and dots"
need_cluster
[ -n "$tag" ] || tag=$(image_tag)
prefix=${registry:+${registry%/}/}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# render FOLDER … prints the manifests of these folders, with the requested images.
render() {
    local name odd
    {
        printf 'bases:\n'
        for name in "$@"; do
            printf '  - %s\n' "$(realpath --relative-to="$(realpath "$work")" "$name")"
        done
        printf 'images:\n'
        for name in rdev-api claudebox rdev-worker; do
            printf '  - {name: %s, newName: "%s%s", newTag: "%s"}\n' "$name" "$prefix" "$name" "$tag"
        done
    } >"$work/kustomization.yaml"
    # Current kustomize warns about the deprecated fields that kubectl 1.20 needs.
    kubectl kustomize "$work" >"$work/rendered" 2>"$work/said" || fail "kubectl kustomize: $(cat "$work/said")"
    # The names above do not apply to a folder that names a registry itself. Images of other names are not checked.
    odd=$(awk -v tag=":$tag" 'NF > 1 && $(NF - 1) == "image:" && $NF ~ /(^|\/)(rdev-api|claudebox|rdev-worker)[:@]/ &&
        substr($NF, length($NF) - length(tag) + 1) != tag { print $NF }' "$work/rendered")
    [ -z "$odd" ] || fail "images that do not follow --tag $tag: ${odd//$'\n'/ }"
    if [ -z "$pull_secret" ]; then
        cat "$work/rendered"
    else
        # Every pod template has its containers at this depth, and kustomize writes no other field of that name there.
        sed "s/^      containers:\$/      imagePullSecrets:\n      - name: $pull_secret\n&/" "$work/rendered"
    fi
}

# manifests prints everything, in the requested namespaces. The folders name the server's namespace `rdev`, and that of projects
# `rdev-projects` where it differs; folders of projects and workers name `rdev`, and are moved to the namespace of projects.
manifests() {
    # kustomize's own namespace leaves the Namespace itself, subjects of bindings and names in queries as they are.
    local own=(-e "s/^( +)namespace: rdev$/\1namespace: $namespace/"
        -e "s/namespace=\"rdev\"/namespace=\"$namespace\"/g" -e "s/namespace=~\"rdev\|rdev-projects\"/namespace=~\"$namespace|$projects_namespace\"/g"
        -e "/^kind: Namespace$/,/^---$/s/^  name: rdev$/  name: $namespace/")
    if [ "${#servers[@]}" -gt 0 ]; then
        render "${servers[@]}" | sed -E "${own[@]}" -e "s/^( +)(namespace|value): rdev-projects$/\1\2: $projects_namespace/" \
            -e "/^kind: Namespace$/,/^---$/s/^  name: rdev-projects$/  name: $projects_namespace/"
        printf -- '---\n'
    fi
    if [ "${#places[@]}" -gt 0 ]; then
        render "${places[@]}" | sed -E -e "s/^  namespace: rdev$/  namespace: $projects_namespace/" "${own[@]}"
    fi
}

# need_secrets fails early for missing Secrets: pods would wait for them for ever.
need_secrets() {
    local keys pod repository project of where=()
    if grep -q 'name: rdev-postgres$' "$work/manifests"; then
        keys=$(secret_keys "$namespace" rdev-postgres)
        [[ " $keys" == *" url "* ]] || fail "Secret rdev-postgres in namespace $namespace has no key 'url'; accepted: postgres://USER:PASSWORD@HOST:5432/DATABASE without a newline. deployments/README.md shows how to create it"
    fi
    if [ -n "$pull_secret" ]; then
        [ "${#servers[@]}" = 0 ] || where+=("$namespace")
        [ "${#places[@]}" = 0 ] || where+=("$projects_namespace")
        for of in "${where[@]}"; do
            keys=$(secret_keys "$of" "$pull_secret")
            [[ " $keys" == *" .dockerconfigjson "* ]] ||
                fail "Secret $pull_secret in namespace $of has no key '.dockerconfigjson'; kubectl -n $of create secret docker-registry creates one"
        done
    fi
    while read -r pod repository; do
        # Other addresses need no key.
        case "$repository" in ssh://* | *@*:*) ;; *) continue ;; esac
        project=${pod#claudebox-}
        keys=$(secret_keys "$projects_namespace" "$project-git")
        [[ " $keys" == *" known_hosts "* && " $keys" == *" ssh-privatekey "* ]] ||
            fail "Secret $project-git in namespace $projects_namespace must have the keys 'ssh-privatekey' and 'known_hosts' to clone $repository; it has: ${keys:-nothing}. deployments/README.md shows how to create it"
    done < <(awk '/^kind: / { kind = $2; repository = "" }
        kind == "StatefulSet" && /^    rdev.orchard9.ai\/repository: / { repository = $2 }
        kind == "StatefulSet" && /^  name: / { print $2, repository }' "$work/manifests")
}

# need_keys creates the Secret rdev-api where it is missing. The keys are passed to the cluster by a pipe only.
need_keys() {
    local keys key
    grep -q 'key: admin-key$' "$work/manifests" || return 0
    keys=$(secret_keys "$namespace" rdev-api)
    if [ -n "$keys" ]; then
        for key in admin-key master-key; do
            [[ " $keys" == *" $key "* ]] || fail "Secret rdev-api in namespace $namespace has no key '$key'; it has: $keys"
        done
    elif [ -n "$dry_run" ]; then
        echo "secret/rdev-api would be created, with random keys"
    else
        printf 'apiVersion: v1\nkind: Secret\nmetadata: {name: rdev-api, labels: {app.kubernetes.io/part-of: rdev}}\nstringData: {admin-key: "%s", master-key: "%s"}\n' \
            "$(head -c 32 /dev/urandom | base64 -w0 | tr '+/' '-_' | tr -d =)" "$(head -c 32 /dev/urandom | base64 -w0)" |
            kube create -f - || fail "could not create Secret rdev-api in namespace $namespace"
        echo "keep a copy of Secret rdev-api: without its master-key stored credentials cannot be read"
    fi
}

# workloads prints kind, name, namespace and, where set, the number of replicas of each Deployment and StatefulSet.
workloads() {
    awk 'function row() { if (kind == "deployment" || kind == "statefulset") print kind, name, of, replicas }
        /^---/ { row(); kind = name = of = replicas = "" }
        /^kind: / { kind = tolower($2) } /^  name: / { name = $2 } /^  namespace: / { of = $2 } /^  replicas: / { replicas = $2 }
        END { row() }' "$work/manifests"
}

# namespaces prints the namespaces of all manifests.
namespaces() {
    awk '/^  namespace: / { print $2 }' "$work/manifests" | sort -u
}

# rehearse runs a dry run of everything.
rehearse() {
    local mode=server of kind name
    while read -r of; do
        # A missing namespace has no object that could not be changed.
        [ -n "$(cluster get namespace "$of" --ignore-not-found -o name </dev/null)" ] || mode=client
    done < <(namespaces)
    cluster apply --dry-run="$mode" -f "$work/manifests" >"$work/rehearsed" 2>&1 && return
    if grep -q 'does not support dry run' "$work/rehearsed"; then
        echo "the cluster does not support a dry run: $(grep -m 1 'does not support dry run' "$work/rehearsed")" >&2
        return
    fi
    cat "$work/rehearsed" >&2
    # Only StatefulSets have this remedy; for other objects the cluster's own message has to do.
    while read -r kind name of _; do
        grep -q "^The StatefulSet \"$name\" is invalid:.*Forbidden: updates to statefulset spec" "$work/rehearsed" || continue
        printf '%s cannot be changed in place. This command keeps its pods and their claims, and the next run of this script creates it around them:\n    kubectl --context %s -n %s delete %s --cascade=orphan\n' \
            "$kind/$name" "$context" "$of" "$kind/$name" >&2
    done < <(workloads)
    fail "the cluster refuses the above; nothing was changed"
}

# keep_replicas removes the number of replicas from the last applied state where the manifest no longer sets one: otherwise
# an autoscaler would start from 1.
keep_replicas() {
    local kind name of replicas
    while read -r kind name of replicas; do
        [ "$kind/$replicas" = deployment/ ] || continue
        cluster -n "$of" apply view-last-applied "$kind/$name" -o yaml >"$work/applied" 2>/dev/null || continue
        grep -q '^  replicas:' "$work/applied" || continue
        sed -i '/^  replicas:/d' "$work/applied"
        cluster -n "$of" apply set-last-applied -f "$work/applied" >/dev/null ||
            fail "could not remove the number of replicas from the last applied state of $kind/$name in namespace $of"
    done < <(workloads)
}

# report_leftovers lists network policies of earlier versions: they stay in force.
report_leftovers() {
    local of name
    find deployments/k8s -name '*.yaml' -exec awk '/^---/ || FNR == 1 { kind = "" } /^kind: / { kind = $2 }
        kind == "NetworkPolicy" && /^  name: / { print $2 }' {} + >"$work/policies"
    while read -r of; do
        while read -r name; do
            grep -qx "${name##*/}" "$work/policies" ||
                printf 'NetworkPolicy %s belongs to another version of rdev, and is still in force: kubectl --context %s -n %s delete networkpolicy %s\n' \
                    "${name##*/}" "$context" "$of" "${name##*/}" >&2
        done < <(cluster -n "$of" get networkpolicy -l app.kubernetes.io/part-of=rdev -o name </dev/null)
    done < <(namespaces)
}

# wait_for NAMESPACE KIND NAME waits until all its pods are ready.
wait_for() {
    local undo="kubectl --context $context -n $1 rollout undo $2/$3"
    if [ "$2" = statefulset ]; then
        # `rollout status` ignores pods that are replaced by hand, and an undo does not replace them.
        undo="$undo && kubectl --context $context -n $1 delete pod $3-0"
        pod_is_ready "$1" "$3-0" && return
    else
        cluster -n "$1" rollout status "$2/$3" --timeout "${timeout}s" && return
    fi
    printf '\n' >&2
    cluster -n "$1" get pods -o wide >&2 || true
    cluster -n "$1" get events --sort-by=.lastTimestamp 2>/dev/null | tail -n 15 >&2 || true
    fail "$2/$3 is not ready after $timeout s; scripts/logs.sh [-p PROJECT] shows its log, and this restores the previous version: $undo"
}

# need_namespace NAME creates the namespace where it is missing: Secrets belong in it, and pods wait for Secrets.
need_namespace() {
    [ -n "$(cluster get namespace "$1" --ignore-not-found -o name)" ] || cluster create namespace "$1" --save-config
}

api_versions=$(kube api-versions) || fail "the cluster of context '$context' does not answer"
[ -z "$two" ] || projects_namespace=${projects_namespace:-$namespace-projects}
find_projects
[ -z "$two" ] || [ "$projects_namespace" != "$namespace" ] ||
    misuse "an overlay of two namespaces needs two: --namespace and --projects-namespace are both '$namespace'"
manifests >"$work/manifests"
# The same fields under an older version, before 1.23 and before 1.21.
grep -qx autoscaling/v2 <<<"$api_versions" || sed -i 's#^apiVersion: autoscaling/v2$#apiVersion: autoscaling/v2beta2#' "$work/manifests"
grep -qx policy/v1 <<<"$api_versions" || sed -i 's#^apiVersion: policy/v1$#apiVersion: policy/v1beta1#' "$work/manifests"

rehearse
if [ -n "$dry_run" ]; then
    need_secrets
    need_keys
    cat "$work/rehearsed"
    exit 0
fi
need_namespace "$namespace"
if [ -n "$two" ] || [ "${#places[@]}" -gt 0 ]; then need_namespace "$projects_namespace"; fi
need_secrets
need_keys
keep_replicas
cluster apply -f "$work/manifests"
report_leftovers
workloads >"$work/workloads"
while read -r kind name of _; do
    [ "$kind" != statefulset ] || renew_pod "$of" "$name"
done <"$work/workloads"
while read -r kind name of _; do
    wait_for "$of" "$kind" "$name"
done <"$work/workloads"
echo "deployed ${folders[*]#deployments/k8s/} with tag $tag to ${servers[*]:+namespace $namespace}${servers[*]:+${places[*]:+ and }}${places[*]:+namespace $projects_namespace} of $context; now: scripts/verify.sh --context $context"
