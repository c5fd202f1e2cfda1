#!/usr/bin/env bash
# Runs the stories of commands, events, cancel and restart in pods of a real one-node cluster, and those that need a
# real cluster: lost pods, restarted daemons, exhausted memory, clones, pushes, a lost node. Starts the cluster with
# ../shared/cluster/cluster.sh (Kubernetes 1.20 from Debian packages; the first start compiles for about seven
# minutes) and stops it again, also after a failure.
#
#   ./scripts/test-cluster.sh                      everything
#   ./scripts/test-cluster.sh walking::cluster::   the stories with this text in their names
#   ./scripts/test-cluster.sh --keep …             leaves the cluster running and prints how to use it, as does a
#                                                  run that finds one running
#   ./scripts/test-cluster.sh --down               stops it
#
# CLUSTER_SH names another cluster.sh. Needs root, Debian 12, and the requirements of cluster.sh.
set -euo pipefail
cd "$(dirname "$0")/.."

# shellcheck source=scripts/lib/tools.sh
source scripts/lib/tools.sh
# shellcheck source=scripts/lib/images.sh
source scripts/lib/images.sh

keep='' down='' only=()
while [ $# -gt 0 ]; do
    case $1 in
    -h | --help)
        print_help
        exit 0
        ;;
    --keep) keep=yes ;;
    --down) down=yes ;;
    -*) misuse "unknown argument '$1'" ;;
    *) only+=("$1") ;;
    esac
    shift
done

CLUSTER_SH=$(readlink -f "${CLUSTER_SH:-../shared/cluster/cluster.sh}")
CACHE=${K8S_DEB_CACHE:-${HOME:-/root}/.cache/k8s-from-debian}
# A state of its own: a cluster of another run is not stopped.
K8S_DEB_STATE=${K8S_DEB_STATE:-$CACHE/rdev-test}
IMAGE=docker.io/library/claudebox:it
API_IMAGE=docker.io/library/rdev-api:it
work=$(mktemp -d)
export CLUSTER_SH K8S_DEB_STATE

stage() { printf '==> %s\n' "$*"; }
cluster() { "$CLUSTER_SH" "$@"; }
kctl() { cluster kubectl "$@"; }

# shellcheck disable=SC2329 # called by the trap
finish() {
    local code=$?
    trap - EXIT
    if [ -n "${up:-}" ] && [ -z "$keep" ]; then
        stage "stopping the cluster"
        cluster down || code=1
        rm -rf "$work"
    elif [ -n "${up:-}" ]; then
        stage "the cluster keeps running: K8S_DEB_STATE=$K8S_DEB_STATE $CLUSTER_SH kubectl …; variables of the stories: $work/env"
    else
        rm -rf "$work"
    fi
    exit "$code"
}
trap finish EXIT
trap 'exit 130' INT TERM

# make_images RUNNER: the images of projects' pods and of the Deployment.
make_images() {
    local debian agents root=$work/root
    mkdir -p "$LAYERS" "$root/usr/local/bin" "$root/etc"
    debian=$(debian_layer "$CACHE/images/test.tar")
    agents=$(agents_layer)
    install -m 755 "$1" "$root/usr/local/bin/rdev-runner"
    install -m 644 deployments/k8s/components/claudebox/gitconfig "$root/etc/gitconfig"
    pack_layer "$root" "$work/runner.layer"
    pack_image "$IMAGE" /usr/bin/bash "$work/claudebox.tar" "$debian" "$agents" "$work/runner.layer"
    rm "$root/usr/local/bin/rdev-runner"
    install -m 755 "${CARGO_TARGET_DIR:-target}/debug/rdev-api" "$root/usr/local/bin/rdev-api"
    pack_layer "$root" "$work/api.layer"
    pack_image "$API_IMAGE" rdev-api "$work/rdev-api.tar" "$debian" "$work/api.layer"
    cluster load "$work/claudebox.tar" "$work/rdev-api.tar"
    rm -r "$root" "$work"/*.tar "$work"/*.layer
}

# Applies the base, adapted to an old cluster without a registry. Pods cannot reach this cluster's API server, so the
# Deployment runs commands in its own pod.
apply_base() {
    kctl apply -f deployments/k8s/server/namespace.yaml
    kctl --namespace rdev create secret generic rdev-api --dry-run=client --output yaml \
        --from-literal "admin-key=$(openssl rand -hex 24)" --from-literal "master-key=$(openssl rand -base64 32)" |
        kctl apply -f -
    kctl kustomize deployments/k8s/base | sed -E -e 's#policy/v1$#policy/v1beta1#' \
        -e "s#image: rdev-api(:.*)?\$#image: $API_IMAGE#" -e 's/imagePullPolicy: .*/imagePullPolicy: Never/' \
        -e 's/value: kubernetes$/value: local/' | kctl apply -f -
}

# Writes a kubeconfig for the service account of the base, with the permissions of its Role only.
make_kubeconfig() {
    local secret='' left=60 server
    until [ -n "$secret" ]; do
        secret=$(kctl --namespace rdev get serviceaccount rdev-api --output 'jsonpath={.secrets[0].name}')
        left=$((left - 1))
        [ "$left" -gt 0 ] || fail "the service account rdev-api got no token"
        [ -n "$secret" ] || sleep 0.5
    done
    server=$(kctl config view --output 'jsonpath={.clusters[0].cluster.server}')
    cat >"$work/rdev.kubeconfig" <<END
apiVersion: v1
kind: Config
clusters:
  - name: cluster
    cluster:
      server: $server
      certificate-authority-data: $(kctl --namespace rdev get secret "$secret" --output 'jsonpath={.data.ca\.crt}')
users:
  - name: rdev-api
    user:
      token: $(kctl --namespace rdev get secret "$secret" --output 'jsonpath={.data.token}' | base64 -d)
contexts:
  - name: cluster
    context: {cluster: cluster, user: rdev-api}
current-context: cluster
END
}

# Variables that support/cluster.rs reads.
variables() {
    cat <<END
export RDEV_TEST_KUBECTL=$CACHE/root/usr/bin/kubectl
export RDEV_TEST_ADMIN_KUBECONFIG=$(cluster kubeconfig)
export RDEV_TEST_KUBECONFIG=$work/rdev.kubeconfig
export RDEV_TEST_IMAGE=$IMAGE
export RDEV_TEST_CLUSTER_HOST=${K8S_DEB_SUBNET:-10.244.77}.1
export RDEV_TEST_CLUSTER_SH=$CLUSTER_SH
export K8S_DEB_STATE=$K8S_DEB_STATE
END
}

run_stories() {
    cargo test --package rdev-api --test it --no-fail-fast -- --ignored "$@"
}

[ -x "$CLUSTER_SH" ] || fail "no cluster.sh; set CLUSTER_SH=…"
[ "$(id -u)" = 0 ] || fail "must run as root: creates namespaces, a bridge and containers"
if [ -n "${down:-}" ]; then
    cluster down
    exit
fi
need_programs git:git python3:python3 dpkg-source:dpkg-dev patch:patch xz:xz-utils openssl:openssl ip:iproute2 \
    unshare:util-linux npm:npm
need_claude

stage "building rdev-api and its stories"
cargo test --quiet --package rdev-api --test it --no-run
runner=$(cargo build --quiet --package rdev-api --message-format json | grep '"reason":"build-script-executed"' |
    grep -F '/rdev-api#' | tail -n 1 | grep -o '"out_dir":"[^"]*"' | cut -d'"' -f4)/rdev-runner
[ -f "$runner" ] || fail "the build of rdev-api has no rdev-runner: $runner"

stage "starting the cluster"
if cluster status >/dev/null 2>&1; then keep=yes; fi
up=yes
cluster up

stage "building and loading the images"
make_images "$runner"

stage "applying deployments/k8s/base"
apply_base

stage "writing rdev-api's kubeconfig"
make_kubeconfig
variables >"$work/env"
# shellcheck source=/dev/null
source "$work/env"

if [ "${#only[@]}" -gt 0 ]; then
    stage "running the stories with ${only[*]} in their names"
    run_stories --test-threads 1 "${only[@]}"
    exit
fi

stage "running the stories in pods"
failed=0
run_stories --test-threads 3 cluster:: --skip ::alone:: || failed=1

stage "running the stories that disturb the whole cluster"
run_stories --test-threads 1 cluster::alone:: || failed=1

stage "waiting for the Deployment's pod, which runs commands in itself here"
kctl --namespace rdev rollout status deployment/rdev-api --timeout=120s || failed=1

stage "running the story of a lost node"
PATH=$CACHE/root/usr/bin:$PATH KUBECONFIG=$(cluster kubeconfig) RDEV_KUBE_CONTEXT=$(kctl config current-context) \
    ./scripts/test-backup.sh "$API_IMAGE" || failed=1

stage "running the stories of deploy.sh, on an API server of their own"
K8S_DEB_CACHE=$CACHE ./scripts/test-deploy.sh || failed=1

[ "$failed" = 0 ] || fail "a story failed, see above"
stage "all stories passed"
