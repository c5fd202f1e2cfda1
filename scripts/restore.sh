#!/usr/bin/env bash
# Replaces the SQLite database of rdev-api by a backup: stops rdev-api, restores, and starts it again. Commands in the pods
# continue meanwhile.
#
#   KUBECONFIG=… scripts/restore.sh [--context NAME] [--namespace NAME] [--timeout SECONDS] FILE
#
#   FILE               a file that scripts/backup.sh or `rdev-api backup` has made
#   --context NAME     context of the kubeconfig (or RDEV_KUBE_CONTEXT); required
#   --namespace NAME   of rdev-api; default: rdev (or RDEV_NAMESPACE)
#   --timeout SECONDS  longest wait for each step; default: 300
#
# A backup that does not fit is refused, and rdev-api starts with the database it had. The replaced database stays in the volume as
# `rdev.db.replaced-TIME`. Exit codes: 0 restored and ready, 1 failed, 2 wrong usage.
set -euo pipefail
cd_from=$PWD
cd "$(dirname "$0")/.."
# shellcheck source=scripts/lib/tools.sh
source scripts/lib/tools.sh
# shellcheck source=scripts/lib/kube.sh
source scripts/lib/kube.sh

file='' timeout=300
while [ "$#" -gt 0 ]; do
    case "$1" in
    -h | --help) print_help && exit 0 ;;
    --context) context=$(value "$@"); shift ;;
    --namespace) namespace=$(value "$@"); shift ;;
    --timeout) timeout=$(value "$@"); shift ;;
    -*) misuse "unknown argument '$1'" ;;
    *) [ -z "$file" ] || misuse "one FILE is accepted, not also '$1'" && file=$1 ;;
    esac
    shift
done
[ -n "$file" ] || misuse "name the FILE to restore"
[[ "$timeout" =~ ^[1-9][0-9]{0,4}$ ]] || misuse "--timeout '$timeout': accepted are 1 to 99999 seconds"
file=$(cd "$cd_from" && realpath -m -- "$file")
[ -f "$file" ] || misuse "there is no file '$file'"
need_cluster

replicas=$(kube get deploy rdev-api -o go-template='{{.spec.replicas}}') || fail "there is no deployment rdev-api in namespace $namespace"
claim=$(kube get deploy rdev-api -o go-template='{{range .spec.template.spec.volumes}}{{if eq .name "data"}}{{with .persistentVolumeClaim}}{{.claimName}}{{end}}{{end}}{{end}}')
[ -n "$claim" ] || fail "rdev-api has no claim for its data (overlay single has one); Postgres is restored by pg_restore"
[ "$replicas" -gt 0 ] || replicas=1

restore=rdev-api-restore
back_to_work() {
    kube delete pod "$restore" --ignore-not-found --timeout "${timeout}s" >/dev/null || printf 'the pod %s stays; delete it\n' "$restore" >&2
    kube scale deploy rdev-api --replicas "$replicas" >/dev/null
}
trap back_to_work EXIT
kube scale deploy rdev-api --replicas 0 >/dev/null
deadline=$((SECONDS + timeout))
until [ -z "$(kube get pod -l app.kubernetes.io/name=rdev-api -o name)" ]; do
    [ "$SECONDS" -lt "$deadline" ] || fail "rdev-api has not stopped after $timeout s"
    sleep 1
done
# The pod of rdev-api itself, with the same volumes, user and image, which waits in place of serving.
kube get deploy rdev-api -o json | python3 -c '
import json, sys
template = json.load(sys.stdin)["spec"]["template"]
spec, container = template["spec"], template["spec"]["containers"][0]
spec["restartPolicy"] = "Never"
spec["terminationGracePeriodSeconds"] = 1
container["command"] = ["sleep", sys.argv[2]]
for probe in ("startupProbe", "livenessProbe", "readinessProbe", "lifecycle", "args"):
    container.pop(probe, None)
print(json.dumps({"apiVersion": "v1", "kind": "Pod", "spec": spec,
    "metadata": {"name": sys.argv[1], "labels": {"app.kubernetes.io/part-of": "rdev"}}}))' "$restore" 86400 | kube create -f - >/dev/null
kube wait pod "$restore" --for=condition=Ready --timeout "${timeout}s" >/dev/null
kube exec -i "$restore" -- rdev-api restore - <"$file" || fail "the backup is not known to be restored, see above; rdev-api starts again"
trap - EXIT
back_to_work
kube rollout status deploy rdev-api --timeout "${timeout}s"
