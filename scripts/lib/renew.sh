# shellcheck shell=bash
# Pods of projects: their StatefulSets replace none by themselves (updateStrategy OnDelete), so that a changed template ends
# no command. Sourced by deploy.sh, after kube.sh; `when_idle` and `timeout` are seconds.

# How long the controller may take to see a change, in seconds.
CONTROLLER_PATIENCE=60
# rdev-api sees within so many seconds that a pod takes nothing new.
NEWS_SECONDS=2
# Annotations that the pod's template may have had and has no more.
PROJECT_ANNOTATIONS=(repository description default-agent workspace-path container)

# await SECONDS COMMAND … runs it once a second until it succeeds.
await() {
    local until=$((SECONDS + $1))
    shift
    until "$@"; do
        [ "$SECONDS" -lt "$until" ] || return 1
        sleep 1
    done
}

# pod_is_ready NAMESPACE POD waits until there is such a pod that stays, and it is ready.
pod_is_ready() {
    await "$timeout" shown Ready "$1" pod "$2" \
        '{{if not .metadata.deletionTimestamp}}{{range .status.conditions}}{{if and (eq .type "Ready") (eq .status "True")}}Ready{{end}}{{end}}{{end}}'
}

# shown TEXT NAMESPACE KIND NAME TEMPLATE: whether the object shows exactly this.
shown() {
    [ "$(cluster -n "$2" get "$3" "$4" --ignore-not-found -o go-template="$5" 2>/dev/null)" = "$1" ]
}

# what_runs NAMESPACE REVISION prints what a pod of this revision is, but for its annotations.
what_runs() {
    cluster -n "$1" get controllerrevision "$2" --ignore-not-found \
        -o go-template='{{.data.spec.template.metadata.labels}}{{.data.spec.template.spec}}'
}

# renew_pod NAMESPACE STATEFULSET has the pod be what the template says: by its annotations alone where that is all that has
# changed, else by deleting it.
renew_pod() {
    local of=$1 set=$2 pod=$2-0 wanted is
    await "$CONTROLLER_PATIENCE" shown seen "$of" statefulset "$set" \
        '{{if eq .metadata.generation .status.observedGeneration}}seen{{end}}' ||
        fail "the cluster's controllers do not look at statefulset/$set in namespace $of; its pod was not replaced"
    wanted=$(cluster -n "$of" get statefulset "$set" -o go-template='{{.status.updateRevision}}')
    is=$(cluster -n "$of" get pod "$pod" --ignore-not-found \
        -o go-template='{{if not .metadata.deletionTimestamp}}{{index .metadata.labels "controller-revision-hash"}}{{end}}')
    case "$is" in '' | "$wanted") return ;; esac
    if [ "$(what_runs "$of" "$is")" = "$(what_runs "$of" "$wanted")" ]; then
        annotate_pod "$of" "$set" "$pod"
        return
    fi
    [ -z "$when_idle" ] || take_out_when_idle "$of" "$pod"
    cluster -n "$of" delete pod "$pod" --timeout "${timeout}s" || fail "pod $pod in namespace $of does not go"
}

# annotate_pod NAMESPACE STATEFULSET POD puts the template's annotations on the pod that runs.
annotate_pod() {
    local annotations key
    mapfile -d '' annotations < <(cluster -n "$1" get statefulset "$2" \
        -o go-template='{{range $key, $value := .spec.template.metadata.annotations}}{{$key}}={{$value}}{{"\x00"}}{{end}}')
    for key in "${PROJECT_ANNOTATIONS[@]/#/rdev.orchard9.ai/}"; do
        [[ " ${annotations[*]%%=*} " == *" $key "* ]] || annotations+=("$key-")
    done
    cluster -n "$1" annotate pod "$3" --overwrite "${annotations[@]}" || fail "could not annotate pod $3 in namespace $1"
}

# is_idle NAMESPACE POD: whether no command runs in its first container.
is_idle() {
    local container runs
    # One that does not run has nothing that runs in it.
    container=$(cluster -n "$1" get pod "$2" -o go-template='{{$first := (index .spec.containers 0).name}}{{range .status.containerStatuses}}{{if and (eq .name $first) .state.running}}{{.name}}{{end}}{{end}}') || return 1
    [ -n "$container" ] || return 0
    runs=$(cluster -n "$1" exec "$2" -c "$container" -- rdev-runner list 2>/dev/null) || return 1
    ! grep -q $'\trunning\t' <<<"$runs"
}

# take_out_when_idle NAMESPACE POD waits until nothing runs in the pod, and has rdev-api start nothing more in it.
take_out_when_idle() {
    local label=rdev.orchard9.ai/project until=$((SECONDS + when_idle))
    echo "waiting until nothing runs in pod $2"
    while await "$((until > SECONDS ? until - SECONDS : 0))" is_idle "$1" "$2"; do
        cluster -n "$1" label pod "$2" "$label-" >/dev/null || fail "could not take the label $label off pod $2 in namespace $1"
        sleep "$NEWS_SECONDS"
        is_idle "$1" "$2" && return
        # A command has come in that moment.
        cluster -n "$1" label pod "$2" "$label=true" >/dev/null || fail "could not give pod $2 in namespace $1 its label $label=true again"
    done
    fail "commands still run in pod $2 of namespace $1 after $when_idle s, or it cannot be asked: it stays as it is, and the next run of this script replaces it"
}
