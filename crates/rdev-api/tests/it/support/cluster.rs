//! A real cluster: every server gets a namespace of its own in it, and every project a pod.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::process::{Child, Command};

use super::places::{DEMO, MASTER_KEY};
use super::{eventually, tools, within};

/// Folder of the workspace in pods of projects.
const WORKSPACE: &str = "/workspace";
/// The Role of rdev-api and its binding, for every namespace.
const ACCESS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deployments/k8s/access/role.yaml");
/// The components that make a project's pod, and the workers of the pool.
const COMPONENTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deployments/k8s/components");
/// Label of workers by namespace: a node is drained of pods in all of them.
const STORY: &str = "story";
/// Room that a project's container has; the story of a command that wants more counts on it.
const MEMORY: &str = "768Mi";

/// Cluster that `scripts/test-cluster.sh` has brought up, as it describes it.
#[derive(Debug)]
pub(crate) struct Cluster {
    kubectl: PathBuf,
    /// For what a story itself does.
    admin: PathBuf,
    /// With the token of rdev-api's service account.
    kubeconfig: PathBuf,
    image: String,
    /// The program that has brought it up.
    script: PathBuf,
}

impl Cluster {
    pub(crate) fn from_env() -> Self {
        let variable = |name: &str| {
            tools::variable(name)
                .unwrap_or_else(|| panic!("{name} is not set: scripts/test-cluster.sh tells these stories"))
        };
        Self {
            kubectl: variable("RDEV_TEST_KUBECTL").into(),
            admin: variable("RDEV_TEST_ADMIN_KUBECONFIG").into(),
            kubeconfig: variable("RDEV_TEST_KUBECONFIG").into(),
            image: variable("RDEV_TEST_IMAGE"),
            script: variable("RDEV_TEST_CLUSTER_SH").into(),
        }
    }

    /// Address of this machine that pods can reach.
    pub(crate) fn host() -> String {
        tools::variable("RDEV_TEST_CLUSTER_HOST")
            .expect("RDEV_TEST_CLUSTER_HOST is not set: scripts/test-cluster.sh tells these stories")
    }
}

pub(crate) struct Namespace {
    cluster: Cluster,
    name: String,
    env: Vec<(String, String)>,
}

impl Namespace {
    pub(super) async fn make(env: Vec<(String, String)>) -> Self {
        let name = format!("it-{:016x}", fastrand::u64(..));
        let namespace = Self { cluster: Cluster::from_env(), name, env };
        namespace.kubectl(&["create", "namespace", &namespace.name]).await;
        // No pod can be made before; a controller makes it, which comes back late after a restart of the API server.
        let account = async || namespace.try_run(&["get", "serviceaccount", "default"], "").await.ok();
        eventually("the service account of the namespace", account).await;
        namespace.kubectl(&["apply", "-f", ACCESS]).await;
        namespace
    }

    pub(super) fn server_env(&self) -> Vec<(&'static str, String)> {
        vec![
            ("RDEV_RUNTIME", "kubernetes".to_owned()),
            ("RDEV_NAMESPACE", self.name.clone()),
            ("RDEV_MASTER_KEY", MASTER_KEY.to_owned()),
            ("KUBECONFIG", self.cluster.kubeconfig.display().to_string()),
        ]
    }

    /// Makes a project's pod, and waits until it is ready.
    pub(crate) async fn add_project(&self, id: &str) {
        self.add_pod(id, &self.cluster.image, &["tini", "--", "sleep", "infinity"]).await;
    }

    /// As [`Self::add_project`], with another image and program.
    pub(crate) async fn add_pod(&self, id: &str, image: &str, program: &[&str]) {
        self.run(&["apply", "-f", "-"], &self.pod(id, image, program).to_string()).await;
        self.ready(id).await;
    }

    /// Makes a project's pod out of the component `claudebox`, as a deployment would.
    pub(crate) async fn add_claudebox(&self, id: &str, repository: &str) {
        let secret = format!("{id}-agent");
        let agent = json!([{"name": "claudebox", "envFrom": [{"secretRef": {"name": secret}}]}]);
        let git = json!([{"name": "git", "secret": {"secretName": format!("{id}-git")}}]);
        let secrets = json!({
            "apiVersion": "apps/v1",
            "kind": "StatefulSet",
            "metadata": {"name": "claudebox"},
            "spec": {"template": {"spec": {"containers": agent, "volumes": git}}},
        });
        let literals: Vec<_> =
            self.env.iter().map(|(name, value)| format!("--from-literal={name}={value}")).collect();
        let create = ["create", "secret", "generic", &secret].into_iter();
        self.kubectl(&create.chain(literals.iter().map(String::as_str)).collect::<Vec<_>>()).await;
        let settings = json!({
            "nameSuffix": format!("-{id}"),
            "commonLabels": {"app": format!("claudebox-{id}"), "rdev.orchard9.ai/project-id": id},
            "commonAnnotations": {"rdev.orchard9.ai/repository": repository},
        });
        self.apply("claudebox", "claudebox", settings, &secrets).await;
        let pod = format!("claudebox-{id}-0");
        let exists = async || self.try_run(&["get", "pod", &pod], "").await.ok();
        eventually("the pod of the component", exists).await;
        self.ready(&pod).await;
    }

    /// Makes so many workers out of the component `worker-pool`, as a deployment would, and waits until they are ready.
    pub(crate) async fn apply_workers(&self, count: u32) {
        let small = json!({"requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"memory": MEMORY}});
        let containers = json!([{"name": "worker", "resources": small}]);
        let size = json!({
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "rdev-worker"},
            "spec": {"replicas": count, "template": {"spec": {"containers": containers}}},
        });
        let label = json!({"commonLabels": {STORY: self.name}});
        self.apply("worker-pool", "rdev-worker", label, &size).await;
        self.kubectl(&["rollout", "status", "deployment/rdev-worker", "--timeout=40s"]).await;
    }

    /// Applies a component with the image of the stories, with `settings` in its kustomization, and patched.
    async fn apply(&self, component: &str, image: &str, settings: Value, patch: &Value) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let copy = folder.path().join(component);
        fs::create_dir(&copy).expect("a folder can be made");
        for file in fs::read_dir(Path::new(COMPONENTS).join(component)).expect("the component can be read") {
            let file = file.expect("the component can be read");
            fs::copy(file.path(), copy.join(file.file_name())).expect("a file can be copied");
        }
        let write = |name: &str, object: &Value| {
            fs::write(folder.path().join(name), object.to_string()).expect("a file can be written");
        };
        let (name, tag) = self.cluster.image.rsplit_once(':').expect("the image has a tag");
        let mut kustomization = json!({
            "apiVersion": "kustomize.config.k8s.io/v1beta1",
            "kind": "Kustomization",
            "namespace": self.name,
            "bases": [component],
            "patchesStrategicMerge": ["patch.yaml"],
            "images": [{"name": image, "newName": name, "newTag": tag}],
        });
        if let (Value::Object(all), Value::Object(more)) = (&mut kustomization, settings) {
            all.extend(more);
        }
        write("kustomization.yaml", &kustomization);
        write("patch.yaml", patch);
        let folder = folder.path().display().to_string();
        self.kubectl(&["apply", "-k", &folder]).await;
    }

    /// Makes a project's pod that is ready while a file is in its workspace, and waits until it runs.
    pub(crate) async fn add_pod_ready_by_file(&self, id: &str, file: &str) {
        let mut pod = self.pod(id, &self.cluster.image, &["tini", "--", "sleep", "infinity"]);
        pod["spec"]["containers"][0]["readinessProbe"] = json!({
            "exec": {"command": ["test", "-e", format!("{WORKSPACE}/{file}")]},
            "periodSeconds": 1,
            "failureThreshold": 1,
        });
        self.run(&["apply", "-f", "-"], &pod.to_string()).await;
        let runs = ["get", "pod", id, "--output", "jsonpath={.status.phase}"];
        eventually("a pod that runs", async || (self.kubectl(&runs).await == "Running").then_some(())).await;
    }

    /// The name of the pod with this label.
    pub(crate) async fn pod_of(&self, label: &str) -> String {
        let name = "jsonpath={.items[0].metadata.name}";
        self.kubectl(&["get", "pods", "--selector", label, "--output", name]).await
    }

    /// Has the cluster's node drained of this namespace's workers. It takes new pods again when what is given is dropped.
    pub(crate) async fn drain_node(&self) -> Drain {
        let node = self.kubectl(&["get", "nodes", "--output", "jsonpath={.items[0].metadata.name}"]).await;
        let selector = format!("--pod-selector={STORY}={}", self.name);
        let mut drain =
            self.command(&["drain", &node, &selector, "--ignore-daemonsets", "--delete-emptydir-data"]);
        let uncordon = self.command(&["uncordon", &node]).into_std();
        let process = drain.stdin(Stdio::null()).kill_on_drop(true).spawn().expect("kubectl can be run");
        Drain { process, uncordon }
    }

    /// Makes a worker of the pool, and waits until it is ready.
    pub(super) async fn add_worker(&self, name: &str) {
        let mut pod = self.pod(name, &self.cluster.image, &["tini", "--", "sleep", "infinity"]);
        pod["metadata"]["labels"] = json!({"rdev.orchard9.ai/role": "worker"});
        self.run(&["apply", "-f", "-"], &pod.to_string()).await;
        self.ready(name).await;
    }

    async fn ready(&self, pod: &str) {
        self.kubectl(&["wait", "--for=condition=Ready", "--timeout=40s", &format!("pod/{pod}")]).await;
    }

    /// Asks one of the cluster's daemons to end; it is started again.
    pub(crate) async fn end_daemon(&self, daemon: &str) {
        let mut command = Command::new(&self.cluster.script);
        let ending = command.args(["restart", daemon]).stdin(Stdio::null()).kill_on_drop(true).output();
        let output = within("the end of a daemon", ending).await.expect("cluster.sh can be run");
        assert!(output.status.success(), "{daemon}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// Tells whether a program can be started in the pod of `demo` now.
    pub(crate) async fn reachable(&self) -> bool {
        self.try_run(&["exec", DEMO, "--request-timeout=5s", "--", "true"], "").await.is_ok()
    }

    fn pod(&self, id: &str, image: &str, program: &[&str]) -> Value {
        let env: Vec<_> =
            self.env.iter().map(|(name, value)| json!({"name": name, "value": value})).collect();
        json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": id,
                "labels": {"rdev.orchard9.ai/project": "true", "rdev.orchard9.ai/project-id": id},
                "annotations": {
                    "rdev.orchard9.ai/workspace-path": WORKSPACE,
                    "rdev.orchard9.ai/container": "claudebox",
                },
            },
            "spec": {
                "automountServiceAccountToken": false,
                // What is deleted goes at once: the story is over then, or wants it so.
                "terminationGracePeriodSeconds": 0,
                "securityContext": {"runAsUser": 1000, "runAsGroup": 1000, "fsGroup": 1000},
                // As in the component: git wants the workspace to belong to who runs it, and a volume is root's.
                "initContainers": [{
                    "name": "prepare-workspace",
                    "image": image,
                    "imagePullPolicy": "Never",
                    "command": ["mkdir", "/volume/repository"],
                    "volumeMounts": [{"name": "workspace", "mountPath": "/volume"}],
                }],
                "containers": [{
                    "name": "claudebox",
                    "image": image,
                    "imagePullPolicy": "Never",
                    "command": program,
                    "env": env,
                    "resources": {"limits": {"memory": MEMORY}},
                    "volumeMounts": [
                        {"name": "workspace", "mountPath": WORKSPACE, "subPath": "repository"},
                        {"name": "run", "mountPath": "/run/rdev"},
                        {"name": "home", "mountPath": "/home/rdev"},
                    ],
                }],
                "volumes": [
                    {"name": "workspace", "emptyDir": {}},
                    {"name": "run", "emptyDir": {}},
                    {"name": "home", "emptyDir": {}},
                ],
            },
        })
    }

    pub(super) async fn file(&self, pod: &str, name: &str) -> Option<String> {
        // A look that fails is not the same as a file that is not there.
        let text = self.look(pod, "[ ! -e \"$1\" ] || { echo; cat \"$1\"; }", name).await;
        text.strip_prefix('\n').map(str::to_owned)
    }

    pub(super) async fn touch(&self, pod: &str, name: &str) {
        self.look(pod, ": >\"$1\"", name).await;
    }

    pub(super) async fn lives(&self, pid: &str) -> bool {
        let stat = self.look(DEMO, "cat /proc/\"$1\"/stat 2>/dev/null || :", pid.trim()).await;
        stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
    }

    pub(super) async fn busy(&self) -> bool {
        let folders = self.look(DEMO, "cd /; readlink /proc/[0-9]*/cwd || :", "").await;
        folders.lines().any(|folder| folder.starts_with(WORKSPACE))
    }

    /// Runs a shell line in the workspace of a pod, with one argument.
    async fn look(&self, pod: &str, line: &str, argument: &str) -> String {
        let line = format!("cd {WORKSPACE} && {line}");
        self.kubectl(&["exec", pod, "--", "sh", "-c", &line, "sh", argument]).await
    }

    /// Runs kubectl as the cluster's administrator; what it wrote.
    pub(crate) async fn kubectl(&self, args: &[&str]) -> String {
        self.run(args, "").await
    }

    async fn run(&self, args: &[&str], stdin: &str) -> String {
        let ran = self.try_run(args, stdin).await;
        ran.unwrap_or_else(|stderr| panic!("kubectl {args:?}: {stderr}"))
    }

    async fn try_run(&self, args: &[&str], stdin: &str) -> Result<String, String> {
        let running = async {
            let mut process = self.command(args).kill_on_drop(true).spawn()?;
            let mut input = process.stdin.take().expect("a pipe");
            input.write_all(stdin.as_bytes()).await?;
            drop(input);
            process.wait_with_output().await
        };
        let Output { status, stdout, stderr } = within("kubectl", running).await.expect("kubectl can be run");
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        if status.success() { Ok(text(stdout)) } else { Err(text(stderr)) }
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.cluster.kubectl);
        command
            .arg("--kubeconfig")
            .arg(&self.cluster.admin)
            .args(["--namespace", &self.name])
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }
}

/// A node that is being drained.
pub(crate) struct Drain {
    process: Child,
    uncordon: std::process::Command,
}

impl Drain {
    /// Waits until all pods of it are gone.
    pub(crate) async fn done(&mut self) {
        let status = within("the drain", self.process.wait()).await.expect("kubectl can be waited for");
        assert!(status.success(), "kubectl drain: {status}");
    }
}

impl Drop for Drain {
    fn drop(&mut self) {
        self.uncordon.stdin(Stdio::null()).output().ok();
    }
}

impl Drop for Namespace {
    /// Nobody waits for it; what stays goes with the cluster.
    fn drop(&mut self) {
        let mut command = self.command(&["delete", "namespace", &self.name, "--wait=false"]).into_std();
        command.stdin(Stdio::null()).output().ok();
    }
}
