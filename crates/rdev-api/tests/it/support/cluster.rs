//! A real cluster: every server gets a namespace of its own in it, and every project a pod.

use std::path::PathBuf;
use std::process::{Output, Stdio};

use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use super::places::DEMO;
use super::{tools, within};

/// Where the pods of projects have their workspace.
const WORKSPACE: &str = "/workspace";
/// Room that a project's container has; the story of a command that wants more counts on it.
const MEMORY: &str = "768Mi";

/// What `scripts/test-cluster.sh` says about the cluster that it has brought up.
#[derive(Debug)]
pub(crate) struct Cluster {
    kubectl: PathBuf,
    /// For what a story itself does.
    admin: PathBuf,
    /// With the token of rdev-api's service account.
    kubeconfig: PathBuf,
    /// Role and RoleBinding of rdev-api, for every namespace.
    role: PathBuf,
    image: String,
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
            role: variable("RDEV_TEST_ROLE").into(),
            image: variable("RDEV_TEST_IMAGE"),
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
        let role = namespace.cluster.role.display().to_string();
        namespace.kubectl(&["apply", "-f", &role]).await;
        namespace
    }

    pub(super) fn server_env(&self) -> Vec<(&'static str, String)> {
        vec![
            ("RDEV_RUNTIME", "kubernetes".to_owned()),
            ("RDEV_NAMESPACE", self.name.clone()),
            ("KUBECONFIG", self.cluster.kubeconfig.display().to_string()),
        ]
    }

    /// Makes a project's pod, and waits until it is ready.
    pub(super) async fn add_project(&self, id: &str) {
        self.apply(&self.pod(id)).await;
        self.ready(id).await;
    }

    pub(crate) async fn ready(&self, id: &str) {
        self.kubectl(&["wait", "--for=condition=Ready", "--timeout=40s", &format!("pod/{id}")]).await;
    }

    fn pod(&self, id: &str) -> serde_json::Value {
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
                "containers": [{
                    "name": "claudebox",
                    "image": self.cluster.image,
                    "imagePullPolicy": "Never",
                    "command": ["tini", "--", "sleep", "infinity"],
                    "env": env,
                    "resources": {"limits": {"memory": MEMORY}},
                    "volumeMounts": [
                        {"name": "workspace", "mountPath": WORKSPACE},
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

    pub(super) async fn file(&self, name: &str) -> Option<String> {
        // A look that fails is not the same as a file that is not there.
        let text = self.look("[ ! -e \"$1\" ] || { echo; cat \"$1\"; }", name).await;
        text.strip_prefix('\n').map(str::to_owned)
    }

    pub(super) async fn touch(&self, name: &str) {
        self.look(": >\"$1\"", name).await;
    }

    pub(super) async fn lives(&self, pid: &str) -> bool {
        let stat = self.look("cat /proc/\"$1\"/stat 2>/dev/null || :", pid.trim()).await;
        stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
    }

    pub(super) async fn busy(&self) -> bool {
        let folders = self.look("cd /; readlink /proc/[0-9]*/cwd || :", "").await;
        folders.lines().any(|folder| folder.starts_with(WORKSPACE))
    }

    /// Runs a shell line in the workspace of `demo`, with one argument.
    async fn look(&self, line: &str, argument: &str) -> String {
        let line = format!("cd {WORKSPACE} && {line}");
        self.kubectl(&["exec", DEMO, "--", "sh", "-c", &line, "sh", argument]).await
    }

    pub(crate) async fn apply(&self, object: &serde_json::Value) {
        self.run(&["apply", "-f", "-"], &object.to_string()).await;
    }

    /// Runs kubectl as the cluster's administrator; what it wrote.
    pub(crate) async fn kubectl(&self, args: &[&str]) -> String {
        self.run(args, "").await
    }

    async fn run(&self, args: &[&str], stdin: &str) -> String {
        let running = async {
            let mut process = self.command(args).kill_on_drop(true).spawn()?;
            let mut input = process.stdin.take().expect("a pipe");
            input.write_all(stdin.as_bytes()).await?;
            drop(input);
            process.wait_with_output().await
        };
        let Output { status, stdout, stderr } =
            within("kubectl", running).await.unwrap_or_else(|error| panic!("kubectl {args:?}: {error}"));
        assert!(status.success(), "kubectl {args:?}: {}", String::from_utf8_lossy(&stderr));
        String::from_utf8_lossy(&stdout).into_owned()
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

impl Drop for Namespace {
    /// Nobody waits for it; what stays goes with the cluster.
    fn drop(&mut self) {
        let mut command = self.command(&["delete", "namespace", &self.name, "--wait=false"]).into_std();
        command.stdin(Stdio::null()).output().ok();
    }
}
