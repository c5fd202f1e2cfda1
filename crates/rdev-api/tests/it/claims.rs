//! Folders of runs on a claim: they outlive their pods, and two pods may have the same.

use std::fs;
use std::path::Path;

use bytes::Bytes;
use rdev_client::types::{Accepted, Command, Reason, Status};
use rdev_kube_double::PodHandle;

use crate::support::{Runtime, Server, eventually};

/// The project of these stories.
const KEPT: &str = "kept";

async fn server(claim: &Path) -> (Server, PodHandle) {
    let server = Runtime::Double.fixture().start().await;
    let pod = server.double().add_project_as(KEPT, |new| new.runs(claim));
    server.knows(KEPT).await;
    (server, pod)
}

async fn shell(server: &Server, project: &str, command: &str) -> Accepted {
    server.client().shell_in(project, command).await
}

async fn ended(server: &Server, project: &str, id: &str) -> Command {
    server.client().ended_in(project, id).await
}

async fn output(server: &Server, project: &str, id: &str) -> Bytes {
    server.client().output_in(project, id).await
}

/// The run's journal holds this.
async fn journal_has(claim: &Path, id: &str, text: &str) {
    let journal = claim.join(id).join("journal");
    let has = async || {
        let bytes = fs::read(&journal).unwrap_or_default();
        String::from_utf8_lossy(&bytes).contains(text).then_some(())
    };
    eventually(text, has).await;
}

#[tokio::test]
async fn the_next_pod_delivers_what_the_one_before_has_left_in_its_folder_of_runs() {
    let claim = tempfile::tempdir().unwrap();
    let (mut server, pod) = server(claim.path()).await;
    let work = "echo ran >> ran; echo up; until [ -e go ]; do sleep 0.02; done; echo down;";
    let cut = shell(&server, KEPT, &format!("{work} sleep 300")).await;
    let over = shell(&server, KEPT, &format!("{work} exit 3")).await;
    for id in [&cut.id, &over.id] {
        journal_has(claim.path(), id, "up\n").await;
        let known = async || (output(&server, KEPT, id).await == "up\n").then_some(());
        eventually("its first line", known).await;
    }
    // Nobody is there to read the rest before the pod goes.
    server.kill9().await;
    fs::write(pod.workspace().unwrap().join("go"), "").unwrap();
    for id in [&cut.id, &over.id] {
        journal_has(claim.path(), id, "down\n").await;
    }
    let socket = claim.path().join(&over.id).join("socket");
    eventually("the exit entry", async || (!socket.exists()).then_some(())).await;
    pod.replace().unwrap();
    server.restart().await;
    server.knows(KEPT).await;

    let (cut, over) = (ended(&server, KEPT, &cut.id).await, ended(&server, KEPT, &over.id).await);
    assert_eq!(
        (cut.accepted.status, cut.progress.reason, cut.progress.exit_code),
        (Status::Failed, Some(Reason::PodLost), None)
    );
    assert_eq!(
        (over.accepted.status, over.progress.reason, over.progress.exit_code),
        (Status::Failed, Some(Reason::ExitCode), Some(3))
    );
    for id in [&cut.accepted.id, &over.accepted.id] {
        assert_eq!(output(&server, KEPT, id).await, "up\ndown\n");
    }
    assert_eq!(
        fs::read_to_string(pod.workspace().unwrap().join("ran")).unwrap(),
        "ran\nran\n",
        "each ran once"
    );
    let well = shell(&server, KEPT, "echo well").await;
    assert_eq!(ended(&server, KEPT, &well.id).await.accepted.status, Status::Completed);
}

#[tokio::test]
async fn a_server_that_sees_its_pod_replaced_waits_for_the_next_one_and_its_journals() {
    let claim = tempfile::tempdir().unwrap();
    let (server, pod) = server(claim.path()).await;
    let accepted = shell(&server, KEPT, "echo up; sleep 300").await;
    eventually("its line", async || (output(&server, KEPT, &accepted.id).await == "up\n").then_some(()))
        .await;
    pod.replace().unwrap();
    pod.set_ready(false).unwrap();
    pod.set_ready(true).unwrap();
    let ended = ended(&server, KEPT, &accepted.id).await;
    assert_eq!((ended.accepted.status, ended.progress.reason), (Status::Failed, Some(Reason::PodLost)));
    assert_eq!(output(&server, KEPT, &accepted.id).await, "up\n");
}

#[tokio::test]
async fn two_projects_with_one_folder_of_runs_are_told_and_nothing_starts_in_either() {
    let claim = tempfile::tempdir().unwrap();
    let server = Runtime::Double.fixture().with("RDEV_POD_WAIT_SECONDS", "1").start().await;
    let add = async |project: &str| {
        server.double().add_project_as(project, |new| new.runs(claim.path()));
        server.knows(project).await;
    };
    // The folder is the first one's for sure once a command has run there.
    add("one").await;
    let first = shell(&server, "one", "pwd").await;
    assert_eq!(ended(&server, "one", &first.id).await.accepted.status, Status::Completed);
    add("two").await;
    for project in ["two", "one", "two"] {
        let refused = shell(&server, project, "echo never").await;
        let refused = ended(&server, project, &refused.id).await;
        assert_eq!((refused.accepted.status, refused.progress.started_at), (Status::Failed, None));
        assert_eq!(
            refused.progress.reason,
            Some(Reason::RunsShared),
            "{project}: {:?}",
            refused.progress.message
        );
    }
}
