"""Checks the rendered manifests of one kustomization. Called by scripts/check-manifests.sh:

    kubectl kustomize FOLDER | check_manifests.py FOLDER

Each object is validated against the schemas of the newest Kubernetes that kubernetes-validate has, strictly: an unknown
field fails. Prometheus' own kinds have no schema there: only their required fields are checked.
"""

import pathlib
import re
import sys

import kubernetes_validate
import yaml

VERSION = kubernetes_validate.latest_version()
SERVER_RULES = [
    {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "watch"]},
    {"apiGroups": [""], "resources": ["pods/exec"], "verbs": ["get", "create"]},
]
RESTRICTED = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}
# An unreachable cluster removes no rdev-api from its Service.
PROBES = {"startupProbe": "/health", "livenessProbe": "/health", "readinessProbe": "/ready?only=serve"}
MAY_NOT_BE_MOVED = {
    "cluster-autoscaler.kubernetes.io/safe-to-evict": "false",
    "karpenter.sh/do-not-disrupt": "true",
}
LEAVES_A_LOST_NODE = {"node.kubernetes.io/unreachable": 30, "node.kubernetes.io/not-ready": 30}
RUNBOOKS = pathlib.Path(__file__).parent.parent / "docs" / "troubleshooting.md"
RUNBOOK_URL = "https://github.com/orchard9/rdev/blob/main/docs/troubleshooting.md#"
VOLUMES = {"configMap", "emptyDir", "persistentVolumeClaim", "secret"}


def dig(value, *path):
    for key in path:
        value = (value or {}).get(key)
    return value


def schema(thing):
    kind, spec = thing["kind"], thing.get("spec") or {}
    if kind == "ServiceMonitor":
        if not dig(spec, "selector", "matchLabels") or not all(e.get("port") for e in spec.get("endpoints") or [{}]):
            yield "needs selector.matchLabels and a port in every endpoint"
    elif kind == "PrometheusRule":
        rules = [rule for group in spec.get("groups") or [] for rule in group.get("rules") or []]
        if not rules or not all(rule.get("alert") and rule.get("expr") for rule in rules):
            yield "needs rules, each with alert and expr"
        yield from runbooks(rules)
    else:
        try:
            kubernetes_validate.validate(thing, VERSION, strict=True)
        except kubernetes_validate.ValidationError as error:
            yield f"{'.'.join(map(str, error.path))}: {error.message}"


def runbooks(rules):
    """Checks that each alert leads to the section of its name, and that no section is of an alert that is gone."""
    sections = set(re.findall(r"^### (Rdev\w+)$", RUNBOOKS.read_text(encoding="utf-8"), re.MULTILINE))
    alerts = {rule["alert"]: dig(rule, "annotations", "runbook_url") for rule in rules if rule.get("alert")}
    for alert, url in alerts.items():
        if url != RUNBOOK_URL + alert.lower():
            yield f"runbook_url of {alert} is {url}, wanted {RUNBOOK_URL + alert.lower()}"
    if sections != set(alerts):
        yield f"docs/troubleshooting.md lacks sections of {sorted(set(alerts) - sections)}, and has {sorted(sections - set(alerts))} of no alert"


def labels(metadata, names):
    missing = [name for name in names if not dig(metadata, "labels", f"app.kubernetes.io/{name}")]
    if missing:
        yield f"has no label app.kubernetes.io/{', '.join(missing)}"


def container(what, one, volumes):
    for key, wanted in RESTRICTED.items():
        if dig(one, "securityContext", key) != wanted:
            yield f"{what}: securityContext.{key} is {dig(one, 'securityContext', key)}, wanted {wanted}"
    for group, name in (("requests", "cpu"), ("requests", "memory"), ("limits", "memory")):
        if not dig(one, "resources", group, name):
            yield f"{what}: no resources.{group}.{name}"
    for mount in one.get("volumeMounts") or []:
        if mount["name"] not in volumes:
            yield f"{what}: mounts the missing volume {mount['name']}"
    if ":" not in one["image"]:
        yield f"{what}: image {one['image']} has no tag"


def user(folder, security):
    """Requires a user other than root; where the cluster assigns the user, the manifest names none."""
    if security.get("runAsNonRoot") is not True:
        yield "pods may be root"
    named = {key for key in ("runAsUser", "runAsGroup", "fsGroup") if security.get(key)}
    wanted = set() if folder.endswith("openshift") else {"runAsUser", "runAsGroup", "fsGroup"}
    if named != wanted:
        yield f"securityContext names {named or 'no user'}, wanted {wanted or 'none'}"


def pod(folder, owner, template, maps):
    spec = template["spec"]
    yield from labels(template["metadata"], ("name", "component", "part-of"))
    selector = dig(owner, "spec", "selector", "matchLabels") or {}
    if not selector or not selector.items() <= template["metadata"]["labels"].items():
        yield f"selector {selector} does not match its pods"

    security = spec.get("securityContext") or {}
    yield from user(folder, security)
    if dig(security, "seccompProfile", "type") != "RuntimeDefault":
        yield "no seccomp profile"
    for key in ("hostNetwork", "hostPID", "hostIPC"):
        if spec.get(key):
            yield f"{key} is set"

    if dig(spec, "nodeSelector", "kubernetes.io/os") != "linux":
        yield "nodeSelector is not linux"

    server = spec.get("serviceAccountName") == "rdev-api"
    if not server:
        for key, wanted in MAY_NOT_BE_MOVED.items():
            found = dig(template, "metadata", "annotations", key)
            if found != wanted:
                yield f"pod annotation {key} is {found}, wanted {wanted!r}: the removal of an underused node would end its commands"
    if spec.get("automountServiceAccountToken") is not server:
        yield "automountServiceAccountToken must be set: true for rdev-api, false for every other pod"

    volumes = {claim["metadata"]["name"] for claim in dig(owner, "spec", "volumeClaimTemplates") or []}
    for volume in spec.get("volumes") or []:
        volumes.add(volume["name"])
        odd = set(volume) - {"name"} - VOLUMES
        if odd:
            yield f"volume {volume['name']}: {', '.join(odd)} is not allowed"
        name = dig(volume, "configMap", "name")
        if name and name not in maps:
            yield f"ConfigMap {name} is not rendered"
    for one in (spec.get("initContainers") or []) + spec["containers"]:
        yield from container(one["name"], one, volumes)
    on_node = any("emptyDir" in volume for volume in spec.get("volumes") or [])
    if on_node and not any(dig(one, "resources", "requests", "ephemeral-storage") for one in spec["containers"]):
        yield "has an emptyDir, and no container requests ephemeral-storage: the node may promise its disk to others"


def project(folder, things):
    """Checks the labels and annotations of a project, which rdev-api reads."""
    name = folder.rsplit("/", 1)[-1]
    sets = [thing["spec"] for thing in things if thing["kind"] == "StatefulSet"]
    if len(sets) != 1:
        yield f"{len(sets)} StatefulSets, wanted 1"
        return
    for key, found, wanted in (
        ("podManagementPolicy", sets[0].get("podManagementPolicy"), "Parallel"),
        ("updateStrategy.type", dig(sets[0], "updateStrategy", "type"), "OnDelete"),
    ):
        if found != wanted:
            yield f"{key} is {found}, wanted {wanted}"
    templates = [one["template"] for one in sets]
    metadata, spec = templates[0]["metadata"], templates[0]["spec"]
    wanted = {"app": f"claudebox-{name}", "rdev.orchard9.ai/project": "true", "rdev.orchard9.ai/project-id": name}
    for key, value in wanted.items():
        if metadata["labels"].get(key) != value:
            yield f"pod label {key} is {metadata['labels'].get(key)}, wanted {value}"
    # The repository is optional: without one the workspace is empty.
    for key in ("workspace-path", "container", "description", "default-agent"):
        if not metadata["annotations"].get(f"rdev.orchard9.ai/{key}"):
            yield f"no pod annotation rdev.orchard9.ai/{key}"
    secrets = [dig(volume, "secret", "secretName") for volume in spec["volumes"] if volume.get("secret")]
    secrets += [dig(source, "secretRef", "name") for source in spec["containers"][0].get("envFrom") or []]
    if secrets != [f"{name}-git", f"{name}-agent"]:
        yield f"Secrets are {secrets}, wanted {name}-git and {name}-agent"


def namespace(one, things):
    """Checks the rules of every namespace of rdev."""
    name = one["metadata"]["name"]
    enforced = dig(one, "metadata", "labels", "pod-security.kubernetes.io/enforce")
    if enforced != "restricted":
        yield f"Pod Security of namespace {name} is {enforced}, wanted restricted"
    denied = [
        thing["spec"]
        for thing in things
        if (thing["kind"], thing["metadata"]["name"], thing["metadata"].get("namespace"))
        == ("NetworkPolicy", "default-deny", name)
    ]
    if denied != [{"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}]:
        yield f"NetworkPolicy default-deny of namespace {name} is {denied}"


def rights(things):
    """Checks that rdev-api has exactly its permissions in the namespace of projects, and none elsewhere."""
    deployment = next(thing for thing in things if thing["kind"] == "Deployment")
    own = deployment["metadata"]["namespace"]
    variables = deployment["spec"]["template"]["spec"]["containers"][0]["env"]
    looks = next(one for one in variables if one["name"] == "RDEV_NAMESPACE").get("value") or own
    found = [
        (thing["metadata"].get("namespace"), thing["rules"])
        for thing in things
        if thing["kind"] in ("Role", "ClusterRole")
    ]
    if found != [(looks, SERVER_RULES)]:
        yield f"roles are {found}, wanted exactly {SERVER_RULES} in namespace {looks}"
    bound = [
        (thing["metadata"]["namespace"], thing["subjects"])
        for thing in things
        if thing["kind"] in ("RoleBinding", "ClusterRoleBinding")
    ]
    account = [{"kind": "ServiceAccount", "name": "rdev-api", "namespace": own}]
    if bound != [(looks, account)]:
        yield f"bindings are {bound}, wanted one of {account} in namespace {looks}"


def server(things):
    """Checks the rules of the server."""
    found = {(thing["kind"], thing["metadata"]["name"]): thing for thing in things}
    deployment = found[("Deployment", "rdev-api")]["spec"]
    selector = found[("Service", "rdev-api")]["spec"]["selector"]
    if not selector.items() <= deployment["template"]["metadata"]["labels"].items():
        yield f"the Service's selector {selector} does not match the pods"
    main = deployment["template"]["spec"]["containers"][0]
    ports = {port["name"]: port["containerPort"] for port in main["ports"]}
    values = {variable["name"]: variable.get("value") for variable in main["env"]}
    for port, variable in (("http", "RDEV_BIND"), ("probes", "RDEV_PROBE_BIND")):
        if values.get(variable) != f"[::]:{ports.get(port)}":
            yield f"port {port} is {ports.get(port)}, and {variable} is {values.get(variable)}"
    for probe, path in PROBES.items():
        asked = dig(main, probe, "httpGet", "port"), dig(main, probe, "httpGet", "path")
        if asked != ("probes", path):
            yield f"{probe} uses {asked}, wanted {path} of port probes: clients can exhaust the other port"
    memory = dig(main, "resources", "requests", "memory"), dig(main, "resources", "limits", "memory")
    if memory[0] != memory[1]:
        yield f"memory: requests {memory[0]} and limits {memory[1]} differ: rdev-api would be the first to be evicted"
    spec = deployment["template"]["spec"]
    leaves = {one["key"]: one.get("tolerationSeconds") for one in spec.get("tolerations") or []}
    alone = any(volume.get("persistentVolumeClaim") for volume in spec["volumes"])
    if alone and leaves != LEAVES_A_LOST_NODE:
        yield f"tolerations are {leaves}, wanted {LEAVES_A_LOST_NODE}: no replica serves while the pod stays on a lost node"
    name = spec.get("priorityClassName")
    if ("PriorityClass", name) not in found:
        yield f"priorityClassName is {name}, which is not rendered"
    if "RDEV_DATABASE_URL" not in values and (deployment["replicas"], deployment["strategy"]["type"]) != (1, "Recreate"):
        yield "SQLite has one writer: wanted are 1 replica and strategy Recreate"


def findings(folder, things):
    maps = {thing["metadata"]["name"] for thing in things if thing["kind"] == "ConfigMap"}
    for thing in things:
        what = f"{thing['kind']} {thing['metadata']['name']}"
        for finding in schema(thing):
            yield f"{what}: {finding}"
        for finding in labels(thing["metadata"], ("name", "part-of")):
            yield f"{what}: {finding}"
        if thing["kind"] == "Secret":
            yield f"{what}: secrets must not be in the repository"
        template = dig(thing, "spec", "template")
        if template:
            for finding in pod(folder, thing, template, maps):
                yield f"{what}: {finding}"
    if folder.startswith("projects/"):
        yield from project(folder, things)
    for thing in things:
        if thing["kind"] == "Namespace":
            yield from namespace(thing, things)
    if any((thing["kind"], thing["metadata"]["name"]) == ("Deployment", "rdev-api") for thing in things):
        yield from server(things)
    if folder == "base" or folder.startswith("overlays/"):
        yield from rights(things)


def main(folder):
    things = [thing for thing in yaml.safe_load_all(sys.stdin) if thing]
    found = list(findings(folder, things)) if things else ["no object is rendered"]
    for finding in found:
        print(f"{folder}: {finding}", file=sys.stderr)
    if found:
        return 1
    print(f"ok {folder}: {len(things)} objects, Kubernetes {VERSION}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
