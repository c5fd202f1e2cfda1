#!/usr/bin/env bash
# Runs the stories of scripts/deploy.sh on an API server with its controllers, of Kubernetes 1.20: refusals before any change,
# replaced pods, unchanged pods. There is no node: a stand-in for the kubelet makes pods ready.
#
#   ./scripts/test-deploy.sh
#
# The programs are built by ../shared/cluster/cluster.sh (CLUSTER_SH names another one; `cluster.sh up` builds
# them, which takes minutes the first time). Needs no root. Exit codes: 0 all stories passed, 1 a story failed, 2 wrong usage.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=scripts/lib/tools.sh
source scripts/lib/tools.sh

help_if_asked "$@"
[ "$#" = 0 ] || misuse "unknown argument '$1'"
CACHE=${K8S_DEB_CACHE:-${HOME:-/root}/.cache/k8s-from-debian}
PATH=$CACHE/bin:$CACHE/root/usr/bin:$PATH
for program in etcd kube-apiserver kube-controller-manager kubectl; do
    [ -x "$CACHE/bin/$program" ] || [ -x "$CACHE/root/usr/bin/$program" ] ||
        fail "no $program in $CACHE; cluster.sh builds it"
done
need_programs curl:curl openssl:openssl python3:python3

work=$(mktemp -d)
daemons=()
# shellcheck disable=SC2329 # called by the trap
finish() {
    local code=$?
    trap - EXIT
    [ "$code" = 0 ] || tail -n 5 "$work"/*.log >&2
    {
        [ "${#daemons[@]}" = 0 ] || kill -9 "${daemons[@]}" || true
        wait
    } 2>/dev/null
    rm -rf "$work"
    exit "$code"
}
trap finish EXIT
trap 'exit 130' INT TERM

free_ports() {
    python3 -c 'import socket; all = [socket.create_server(("127.0.0.1", 0)) for _ in range(4)]; print(*(one.getsockname()[1] for one in all))'
}

daemon() {
    "$@" >"$work/$1.log" 2>&1 &
    daemons+=($!)
}

start() {
    local client peer api controllers
    read -r client peer api controllers < <(free_ports)
    openssl genrsa -out "$work/accounts.key" 2048 2>/dev/null
    openssl rsa -in "$work/accounts.key" -pubout -out "$work/accounts.pub" 2>/dev/null
    printf 'secret,admin,admin,system:masters\n' >"$work/tokens"
    export KUBECONFIG=$work/kubeconfig RDEV_KUBE_CONTEXT=test
    cat >"$KUBECONFIG" <<END
apiVersion: v1
kind: Config
clusters: [{name: test, cluster: {server: "https://127.0.0.1:$api", insecure-skip-tls-verify: true}}]
users: [{name: test, user: {token: secret}}]
contexts: [{name: test, context: {cluster: test, user: test}}]
current-context: test
END
    server=https://127.0.0.1:$api
    daemon etcd --data-dir "$work/etcd" --log-level error --unsafe-no-fsync --listen-client-urls "http://127.0.0.1:$client" \
        --advertise-client-urls "http://127.0.0.1:$client" --listen-peer-urls "http://127.0.0.1:$peer" \
        --initial-advertise-peer-urls "http://127.0.0.1:$peer" --initial-cluster "default=http://127.0.0.1:$peer"
    daemon kube-apiserver --bind-address 127.0.0.1 --advertise-address 127.0.0.1 --secure-port "$api" \
        --etcd-servers "http://127.0.0.1:$client" --cert-dir "$work/certificates" --token-auth-file "$work/tokens" \
        --endpoint-reconciler-type none --disable-admission-plugins ServiceAccount --authorization-mode RBAC \
        --service-account-issuer https://kubernetes.default.svc --service-account-key-file "$work/accounts.pub" \
        --service-account-signing-key-file "$work/accounts.key"
    until kubectl get --raw /readyz >/dev/null 2>&1; do sleep 0.2; done
    daemon kube-controller-manager --kubeconfig "$KUBECONFIG" --bind-address 127.0.0.1 --secure-port "$controllers" --port 0 \
        --leader-elect=false --cert-dir "$work/certificates" --controllers 'statefulset,deployment,replicaset,garbagecollector'
}

# kubelet reports every pod as running, except those of the missing image `broken`. The file `runs` has the output of
# `rdev-runner list`: without a node there is no exec.
kubelet() {
    local pod
    while sleep 0.2; do
        kubectl -n rdev get pods -o go-template='{{range .items}}{{if not .status.containerStatuses}}{{.metadata.name}} {{with index .spec.containers 0}}{{.name}} {{.image}}{{end}}{{"\n"}}{{end}}{{end}}' 2>/dev/null |
            while read -r pod container image; do
                case "$image" in *:broken) continue ;; esac
                curl -sSk -o /dev/null -X PATCH -H 'Authorization: Bearer secret' -H 'Content-Type: application/strategic-merge-patch+json' \
                    -d "{\"status\":{\"phase\":\"Running\",\"conditions\":[{\"type\":\"Ready\",\"status\":\"True\"}],\"containerStatuses\":[{\"name\":\"$container\",\"image\":\"$image\",\"imageID\":\"\",\"ready\":true,\"restartCount\":0,\"state\":{\"running\":{}}}]}}" \
                    "$server/api/v1/namespaces/rdev/pods/$pod/status"
            done
    done
}

make_exec() {
    mkdir "$work/bin"
    printf '#!/bin/sh\ncase " $* " in *" exec "*) exec cat "%s" ;; esac\nexec "%s" "$@"\n' "$work/runs" "$(command -v kubectl)" >"$work/bin/kubectl"
    chmod +x "$work/bin/kubectl"
    PATH=$work/bin:$PATH
    : >"$work/runs"
}

# deploys CODE ARGUMENT …: expects this exit code of deploy.sh; `said` is its output.
deploys() {
    local wanted=$1 code=0
    shift
    said=$("$work/tree/scripts/deploy.sh" --timeout 30 "$@" 2>&1) || code=$?
    [ "$code" = "$wanted" ] || fail "deploy.sh $* ended with $code, wanted $wanted: $said"
}

of_rdev() { kubectl -n rdev get "$1" "$2" -o "jsonpath={$3}"; }
uid() { of_rdev pod claudebox-demo-0 .metadata.uid; }
is() { [ "$2" = "$3" ] || fail "$1: '$2', wanted '$3'; output of deploy.sh: $said"; }
says() { case "$said" in *"$1"*) ;; *) fail "deploy.sh did not print '$1': $said" ;; esac; }
story() { printf '==> %s\n' "$1"; }

start
make_exec
kubelet &
daemons+=($!)
mkdir "$work/tree"
cp -r scripts deployments "$work/tree/"
demo=$work/tree/deployments/k8s/projects/demo
template=$work/tree/deployments/k8s/components/claudebox/statefulset.yaml

story "everything from nothing"
deploys 0 --tag one --overlay single --project demo --component worker-pool --component project-disruption
says 'keep a copy of Secret rdev-api'
first=$(uid)

story "the same again replaces nothing"
deploys 0 --tag one --overlay single --project demo --component worker-pool
is "the pod" "$(uid)" "$first"

story "a description reaches the running pod"
sed -i "s/A place to try rdev/It's = \"another\" place, \\& here/" "$demo/kustomization.yaml"
deploys 0 --tag one --project demo
is "the pod" "$(uid)" "$first"
is "its description" "$(of_rdev pod claudebox-demo-0 '.metadata.annotations.rdev\.orchard9\.ai/description')" "It's = \"another\" place, & here"
sed -i '/rdev.orchard9.ai\/description/d; s/^commonAnnotations:/commonAnnotations: {}/' "$demo/kustomization.yaml"
deploys 0 --tag one --project demo
is "the pod" "$(uid)" "$first"
is "its description" "$(of_rdev pod claudebox-demo-0 '.metadata.annotations.rdev\.orchard9\.ai/description')" ""

story "another image waits until no command runs"
printf 'cmd-1\trunning\t1\n' >"$work/runs"
deploys 1 --tag two --project demo --when-idle 3
says 'commands still run in pod claudebox-demo-0'
is "the pod" "$(uid)" "$first"
is "its label" "$(of_rdev pod claudebox-demo-0 '.metadata.labels.rdev\.orchard9\.ai/project')" true
: >"$work/runs"
deploys 0 --tag two --project demo --when-idle 30
second=$(uid)
[ "$second" != "$first" ] || fail "the pod still has the previous image: $said"
is "its image" "$(of_rdev pod claudebox-demo-0 '.spec.containers[0].image')" claudebox:two
is "its label" "$(of_rdev pod claudebox-demo-0 '.metadata.labels.rdev\.orchard9\.ai/project')" true

story "a broken image is reported with a remedy, and the next one repairs it"
deploys 1 --tag broken --project demo --timeout 5
says 'rollout undo statefulset/claudebox-demo && kubectl --context test -n rdev delete pod claudebox-demo-0'
deploys 0 --tag two --project demo
is "its image" "$(of_rdev pod claudebox-demo-0 '.spec.containers[0].image')" claudebox:two
third=$(uid)

story "an immutable field is reported before any change"
echo '# Changed' >>"$demo/CLAUDE.md"
sed -i 's/storage: 20Gi/storage: 30Gi/' "$template"
deploys 1 --tag two --project demo
says 'nothing was changed'
says 'delete statefulset/claudebox-demo --cascade=orphan'
case "$(of_rdev configmap instructions-demo .data)" in *Changed*) fail "the instructions were changed" ;; esac
kubectl -n rdev delete statefulset/claudebox-demo --cascade=orphan >/dev/null
deploys 0 --tag two --project demo
is "the pod" "$(uid)" "$third"

story "an autoscaler starts from the present number of workers"
kubectl -n rdev scale deployment rdev-worker --replicas 5 >/dev/null
deploys 0 --tag two --component worker-autoscaling
is "workers" "$(of_rdev deployment rdev-worker .spec.replicas)" 5

story "a policy of another version is listed"
kubectl -n rdev get networkpolicy projects-model -o yaml | sed -e 's/projects-model/projects-of-old/' -e '/uid:/d; /resourceVersion:/d' | kubectl create -f - >/dev/null
deploys 0 --tag two --overlay single
says 'delete networkpolicy projects-of-old'

story "images are pulled with a Secret"
deploys 1 --tag two --project demo --pull-secret registry
says "has no key '.dockerconfigjson'"
kubectl -n rdev create secret docker-registry registry --docker-server r.example --docker-username u --docker-password p >/dev/null
deploys 0 --tag two --overlay single --project demo --component worker-pool --pull-secret registry
for of in deployment/rdev-api deployment/rdev-worker statefulset/claudebox-demo; do
    is "$of" "$(of_rdev "${of%/*}" "${of#*/}" '.spec.template.spec.imagePullSecrets[*].name')" registry
done
printf 'all stories passed\n'
