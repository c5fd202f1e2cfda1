//! The installed command line client, Debian's 1.20 or a later one.

use std::path::Path;
use std::process::Stdio;

use rdev_kube_double::{Access, Cluster, NewPod, rule};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

use crate::soon;

struct Kubectl {
    kubeconfig: std::path::PathBuf,
    /// Folder for its cache.
    home: tempfile::TempDir,
}

impl Kubectl {
    fn new(kubeconfig: &Path) -> Self {
        Self { kubeconfig: kubeconfig.to_owned(), home: tempfile::tempdir().unwrap() }
    }

    fn command(&self, line: &str) -> Command {
        let mut command = Command::new("kubectl");
        command
            .args(line.split(' '))
            .env("KUBECONFIG", &self.kubeconfig)
            .env("HOME", self.home.path())
            .kill_on_drop(true);
        command
    }

    /// Returns its output, errors included.
    async fn run(&self, line: &str) -> String {
        let output = soon(self.command(line).output()).await.unwrap();
        String::from_utf8([output.stdout, output.stderr].concat()).unwrap()
    }
}

async fn cluster() -> Cluster {
    let cluster = Cluster::start().await.unwrap();
    for name in ["demo-0", "demo-1"] {
        cluster.add_pod(NewPod::new("default", name).label("app", "demo")).unwrap();
    }
    cluster
}

#[tokio::test]
async fn pods_are_listed_and_read() {
    let cluster = cluster().await;
    let kubectl = Kubectl::new(cluster.kubeconfig());
    let listed = kubectl.run("get pods").await;
    let names: Vec<_> = listed.lines().skip(1).filter_map(|line| line.split_whitespace().next()).collect();
    assert_eq!(names, ["demo-0", "demo-1"], "{listed}");
    assert_eq!(kubectl.run("get po -A -l app=demo -o name").await, "pod/demo-0\npod/demo-1\n");
    let yaml = kubectl.run("get pod demo-0 -o yaml").await;
    assert!(yaml.contains("phase: Running"), "{yaml}");
    assert!(kubectl.run("get pod nope").await.contains(r#"pods "nope" not found"#));
    assert_eq!(kubectl.run("delete pod demo-1 --now").await, "pod \"demo-1\" deleted\n");
    assert_eq!(kubectl.run("get pods -o name").await, "pod/demo-0\n");
}

#[tokio::test]
async fn a_watch_prints_what_changes() {
    let cluster = cluster().await;
    let kubectl = Kubectl::new(cluster.kubeconfig());
    let mut watch =
        kubectl.command("get pods -w -o name").stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut lines = BufReader::new(watch.stdout.take().unwrap()).lines();
    for wanted in ["pod/demo-0", "pod/demo-1"] {
        assert_eq!(soon(lines.next_line()).await.unwrap().as_deref(), Some(wanted));
    }
    soon(cluster.request(|request| request.is("watch", "pods"))).await.unwrap();
    cluster.add_pod(NewPod::new("default", "demo-2")).unwrap();
    assert_eq!(soon(lines.next_line()).await.unwrap().as_deref(), Some("pod/demo-2"));
    soon(watch.kill()).await.unwrap();
}

#[tokio::test]
async fn it_learns_what_it_may_do() {
    let cluster = cluster().await;
    let access = Access::nothing().role("default", vec![rule("", &["pods"], &["get", "list"])]);
    let kubectl = Kubectl::new(&cluster.kubeconfig_for(access).unwrap());
    assert_eq!(kubectl.run("auth can-i list pods").await, "yes\n");
    assert_eq!(kubectl.run("auth can-i list pods -n other").await, "no\n");
    assert_eq!(kubectl.run("auth can-i create pods/exec").await, "no\n");
    assert!(kubectl.run("get pods -A").await.contains("at the cluster scope"));
}
