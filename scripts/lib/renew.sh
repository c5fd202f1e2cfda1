# shellcheck shell=bash
# Replacement of projects' pods: their StatefulSets replace none by themselves (updateStrategy OnDelete), so a changed template
# ends no command. Sourced by deploy.sh, after kube.sh; `when_idle` and `timeout` are seconds.

# Longest time in which the controller observes a change, in seconds.
CONTROLLER_PATIENCE=60
# Seconds after which rdev-api starts nothing new in a pod without the label.
WATCH_SECONDS=2
# Annotations that an earlier template may have set.
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

# pod_is_ready NAMESPACE POD waits until the pod exists, does not terminate, and is ready.
pod_is_ready() {
    await "$timeout" shown Ready "$1" pod "$2" \
        '{{if not .metadata.deletionTimestamp}}{{range .status.conditions}}{{if and (eq .type "Ready") (eq .status "True")}}Ready{{end}}{{end}}{{end}}'
}

# shown TEXT NAMESPACE KIND NAME TEMPLATE: whether the template renders exactly this text for the object.
shown() {
    [ "$(cluster -n "$2" get "$3" "$4" --ignore-not-found -o go-template="$5" 2>/dev/null)" = "$1" ]
}

# pod_spec NAMESPACE REVISION prints labels and spec of a pod of this revision, without its annotations.
pod_spec() {
    cluster -n "$1" get controllerrevision "$2" --ignore-not-found \
        -o go-template='{{.data.spec.template.metadata.labels}}{{.data.spec.template.spec}}'
}

# renew_pod NAMESPACE STATEFULSET updates the pod to the template: sets its annotations when only those have changed, else
# deletes it.
renew_pod() {
    local of=$1 set=$2 pod=$2-0 wanted is
    await "$CONTROLLER_PATIENCE" shown seen "$of" statefulset "$set" \
        '{{if eq .metadata.generation .status.observedGeneration}}seen{{end}}' ||
        fail "the cluster's controllers have not observed statefulset/$set in namespace $of; its pod was not replaced"
    wanted=$(cluster -n "$of" get statefulset "$set" -o go-template='{{.status.updateRevision}}')
    is=$(cluster -n "$of" get pod "$pod" --ignore-not-found \
        -o go-template='{{if not .metadata.deletionTimestamp}}{{index .metadata.labels "controller-revision-hash"}}{{end}}')
    case "$is" in '' | "$wanted") return ;; esac
    if [ "$(pod_spec "$of" "$is")" = "$(pod_spec "$of" "$wanted")" ]; then
        annotate_pod "$of" "$set" "$pod"
        return
    fi
    [ -z "$when_idle" ] || take_out_when_idle "$of" "$pod"
    cluster -n "$of" delete pod "$pod" --timeout "${timeout}s" || fail "pod $pod in namespace $of was not deleted in time"
}

# annotate_pod NAMESPACE STATEFULSET POD sets the template's annotations on the running pod.
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
    # A stopped container runs no command.
    container=$(cluster -n "$1" get pod "$2" -o go-template='{{$first := (index .spec.containers 0).name}}{{range .status.containerStatuses}}{{if and (eq .name $first) .state.running}}{{.name}}{{end}}{{end}}') || return 1
    [ -n "$container" ] || return 0
    runs=$(cluster -n "$1" exec "$2" -c "$container" -- rdev-runner list 2>/dev/null) || return 1
    ! grep -q $'\trunning\t' <<<"$runs"
}

# take_out_when_idle NAMESPACE POD waits until no command runs in the pod, and prevents further starts in it.
take_out_when_idle() {
    local label=rdev.orchard9.ai/project until=$((SECONDS + when_idle))
    echo "waiting until no command runs in pod $2"
    while await "$((until > SECONDS ? until - SECONDS : 0))" is_idle "$1" "$2"; do
        cluster -n "$1" label pod "$2" "$label-" >/dev/null || fail "could not remove the label $label from pod $2 in namespace $1"
        sleep "$WATCH_SECONDS"
        is_idle "$1" "$2" && return
        # A command has started meanwhile.
        cluster -n "$1" label pod "$2" "$label=true" >/dev/null || fail "could not restore the label $label=true of pod $2 in namespace $1"
    done
    fail "commands still run in pod $2 of namespace $1 after $when_idle s, or the pod does not answer: it is unchanged, and the next run of this script replaces it"
}
