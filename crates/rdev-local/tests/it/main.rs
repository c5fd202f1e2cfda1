//! The embedded runtime, with real processes.

#![expect(clippy::unwrap_used, reason = "helpers of tests are tests, which clippy cannot know")]

mod projects;

use std::ffi::OsStr;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use rdev_domain::ProjectId;
use rdev_local::{Audience, Config, Local, audience};
use rdev_ports::testing::pods::{a_pod_is_reached_by_its_identity, two_targets_never_share_a_pod};
use rdev_ports::{Exec, Pod, PodRef, Pods, Reach, Readiness, Stdin};
use tokio::time::timeout;

/// Longest time of any step here.
const PATIENCE: Duration = Duration::from_secs(20);

/// Stand-in for the runner: supports `exec` only.
const BECOMES: &[u8] = b"#!/bin/sh\nwhile [ \"$1\" != -- ]; do shift; done\nshift\nexec \"$@\"\n";
const BECOMES_SHA256: &str = "d7a75e7bd0e83da5f179960331a5c02be94e4a4c88b3cc67aa9730f9e2789137";

fn open(data_dir: &Path, uid: &str) -> Local {
    #[expect(clippy::disallowed_methods, reason = "a program needs the real PATH to be found")]
    let path = std::env::var_os("PATH").unwrap();
    open_with_path(data_dir, uid, &path)
}

fn open_with_path(data_dir: &Path, uid: &str, path: &OsStr) -> Local {
    let env =
        [("PATH", path), ("RDEV_ADMIN_KEY", "secret".as_ref()), ("ANTHROPIC_API_KEY", "secret".as_ref())];
    let config = Config {
        data_dir: data_dir.to_owned(),
        runner: BECOMES,
        runner_sha256: BECOMES_SHA256,
        env: env.map(|(name, value)| (name.into(), value.to_owned())).to_vec(),
        command_env: Vec::new(),
        umask: 0o22,
        open_files: None,
        pool_slots: 2,
        new_uid: uid.into(),
    };
    Local::open(config).unwrap()
}

/// Makes the folder of a project, as anybody may.
fn create_project(data_dir: &Path, project: &str) {
    std::fs::create_dir_all(data_dir.join("workspaces").join(project)).unwrap();
}

fn id(text: &str) -> ProjectId {
    text.parse().unwrap()
}

async fn pod(local: &Local) -> Pod {
    match local.readiness(&PodRef::Project(id("demo"))).await.unwrap() {
        Some(Readiness::Ready(pod)) => pod,
        other => panic!("{other:?}"),
    }
}

async fn output(local: &Local, argv: &[&str], stdin: Stdin) -> Result<String, String> {
    let pod = pod(local).await;
    let exec = Exec { argv: argv.iter().map(|&word| word.to_owned()).collect(), stdin };
    let mut stream = local.exec(&pod, exec).await.map_err(|error| error.to_string())?;
    let mut out = Vec::new();
    while let Some(bytes) = timeout(PATIENCE, stream.next()).await.unwrap() {
        match bytes {
            Ok(bytes) => out.extend_from_slice(&bytes),
            Err(error) => return Err(format!("{:#}", anyhow::Error::from(error))),
        }
    }
    Ok(String::from_utf8(out).unwrap())
}

#[tokio::test]
async fn directories_are_projects_as_they_come_and_go() {
    let folder = tempfile::tempdir().unwrap();
    let local = open(folder.path(), "u1");
    let workspaces = folder.path().join("workspaces");
    let names = async || {
        let projects = local.projects().await.unwrap();
        projects.iter().map(|project| project.id.to_string()).collect::<Vec<_>>()
    };
    assert!(names().await.is_empty());
    create_project(folder.path(), "demo");
    std::fs::create_dir(workspaces.join("b")).unwrap();
    std::fs::create_dir(workspaces.join("No Project")).unwrap();
    std::fs::write(workspaces.join("file"), "").unwrap();
    assert_eq!(names().await, ["b", "demo"]);
    std::fs::remove_dir(workspaces.join("b")).unwrap();
    assert_eq!(names().await, ["demo"]);
    assert!(local.project(&id("b")).await.unwrap().is_none());
    assert!(local.readiness(&PodRef::Project(id("b"))).await.unwrap().is_none());
}

#[tokio::test]
async fn the_identity_of_a_pod_survives_restarts_and_not_a_new_folder() {
    let folder = tempfile::tempdir().unwrap();
    for uid in ["first", "second"] {
        let local = open(folder.path(), uid);
        create_project(folder.path(), "demo");
        assert_eq!(pod(&local).await.uid, "first");
    }
    std::fs::remove_dir_all(folder.path().join("runs")).unwrap();
    let local = open(folder.path(), "third");
    assert_eq!(pod(&local).await.uid, "third");
}

#[tokio::test]
async fn a_program_runs_in_the_workspace_with_its_variables_only() {
    let folder = tempfile::tempdir().unwrap();
    let local = open(folder.path(), "u");
    create_project(folder.path(), "demo");
    let out = output(&local, &["sh", "-c", "pwd; env"], Stdin::None).await.unwrap();
    assert!(out.starts_with(&format!("{}\n", folder.path().join("workspaces/demo").display())), "{out}");
    assert!(!out.contains("ANTHROPIC_API_KEY=") && !out.contains("RDEV_ADMIN_KEY"), "{out}");
    let agent: Vec<String> = local.agent_env().into_iter().map(|(name, _)| name).collect();
    assert_eq!(agent, ["ANTHROPIC_API_KEY"]);
    let error = output(&local, &["sh", "-c", "echo why >&2; exit 3"], Stdin::None).await.unwrap_err();
    assert!(error.contains("code 3: why"), "{error}");
    assert!(output(&local, &["/no/such/program"], Stdin::None).await.is_err());
}

#[tokio::test]
async fn a_prestarted_program_is_used_once_and_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let local = open(folder.path(), "u");
    create_project(folder.path(), "demo");
    // The process id shows which process answered.
    let argv = ["sh", "-c", "read line; echo $$ $line"];
    let mut seen = Vec::new();
    for n in 0..5 {
        let bytes = Bytes::from(format!("{n}\n"));
        let out = output(&local, &argv, Stdin::WaitedFor(bytes)).await.unwrap();
        let (pid, said) = out.trim().split_once(' ').unwrap();
        assert_eq!(said, n.to_string());
        seen.push(pid.to_owned());
    }
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 5, "no process serves twice");
}

#[test]
fn each_variable_has_its_audience() {
    let more = ["CARGO_HOME".to_owned(), "ANTHROPIC_MODEL".to_owned()];
    for (name, seen_by) in [
        ("PATH", Audience::Commands),
        ("https_proxy", Audience::Commands),
        ("LC_ALL", Audience::Commands),
        ("CARGO_HOME", Audience::Commands),
        ("ANTHROPIC_MODEL", Audience::Commands),
        ("ANTHROPIC_BASE_URL", Audience::Agents),
        ("CLAUDE_CODE_MAX_RETRIES", Audience::Agents),
        ("RDEV_ADMIN_KEY", Audience::Nobody),
        ("RDEV_MASTER_KEY", Audience::Nobody),
        ("AWS_SECRET_ACCESS_KEY", Audience::Nobody),
        ("GITHUB_TOKEN", Audience::Nobody),
        ("", Audience::Nobody),
    ] {
        assert_eq!(audience(name.as_ref(), &more), seen_by, "{name}");
    }
}

#[tokio::test]
async fn a_program_that_was_damaged_on_disk_is_written_again() {
    let data = tempfile::tempdir().unwrap();
    drop(open(data.path(), "one"));
    let program = data.path().join("bin").join(format!("rdev-runner-{BECOMES_SHA256:.16}"));
    assert_eq!(std::fs::read(&program).unwrap(), BECOMES);
    std::fs::write(&program, "half").unwrap();
    let local = open(data.path(), "two");
    create_project(data.path(), "demo");
    assert_eq!(std::fs::read(&program).unwrap(), BECOMES);
    assert_eq!(
        output(&local, &["rdev-runner", "exec", "--", "echo", "whole"], Stdin::None).await.unwrap(),
        "whole\n"
    );
}

#[tokio::test]
async fn two_projects_of_one_folder_of_runs_have_pods_of_their_own() {
    let data = tempfile::tempdir().unwrap();
    let local = open(data.path(), "one");
    for project in ["demo", "other"] {
        std::fs::create_dir_all(data.path().join("projects").join(project)).unwrap();
    }
    let sites = ["demo", "other"].map(|project| PodRef::Project(id(project)));
    two_targets_never_share_a_pod(&local, [&sites[0], &sites[1]]).await;
}

#[tokio::test]
async fn a_pod_is_reached_by_its_identity_after_the_loss_of_its_folder_or_worker() {
    let data = tempfile::tempdir().unwrap();
    let local = open(data.path(), "one");
    create_project(data.path(), "demo");
    let another = open(data.path(), "another");
    let slot = PodRef::Worker("slot-2".parse().unwrap());
    for pod_ref in [PodRef::Project(id("demo")), slot] {
        a_pod_is_reached_by_its_identity(&local, &another, &pod_ref).await;
    }
    let there = pod(&local).await;
    std::fs::remove_dir_all(&there.workspace).unwrap();
    assert_eq!(local.readiness(&there.pod_ref).await.unwrap(), None);
    assert_eq!(local.reach(&there.pod_ref, &there.uid).await.unwrap(), Reach::Reachable(there));
}
