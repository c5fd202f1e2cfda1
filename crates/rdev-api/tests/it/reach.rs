//! Commands that run are followed to their end, whatever becomes of their pod's phase, readiness, label and rivals, and
//! whoever follows them; and nothing new starts there. The cluster is a double.

use std::time::Duration;

use rdev_client::types::{Accepted, Command, Event, Project, ProjectStatus, Status};
use rdev_kube_double::{How, PodHandle};
use serde_json::json;

use crate::support::{Fixture, Runtime, Server, eventually};

/// As long as a pod may take to go.
const GRACE: Duration = Duration::from_secs(60);
/// Says `up`, and `down` when `go` is there.
const UP_AND_DOWN: &str = "echo ran >> ran; echo up; until [ -e go ]; do sleep 0.02; done; echo down";

/// A command that has said `up`.
async fn one_that_runs(server: &Server, command: &str) -> Accepted {
    let accepted = server.client().shell(command).await;
    let mut events = server.client().follow(&accepted.stream_id, None).await;
    while !matches!(events.event().await.event, Event::Output(line) if line.line == "up") {}
    accepted
}

/// It ends as if nothing had been.
async fn ends_well(server: &Server, accepted: &Accepted) {
    server.touch("go").await;
    let ended = ended(server, accepted).await;
    assert_eq!(
        (ended.accepted.status, ended.progress.exit_code),
        (Status::Completed, Some(0)),
        "{:?}",
        ended.progress.message
    );
    assert_eq!(server.client().output(&accepted.id).await, "up\ndown\n");
    assert_eq!(server.file("ran").await.as_deref(), Some("ran\n"));
}

async fn ended(server: &Server, accepted: &Accepted) -> Command {
    server.client().ended(&accepted.id).await
}

async fn project(server: &Server, status: ProjectStatus, reason: Option<&str>) -> Project {
    let client = server.client();
    let looked = async || {
        let project = client.project("demo").await?;
        (project.status == status && project.reason.as_deref() == reason).then_some(project)
    };
    eventually(&format!("{status} {reason:?}"), looked).await
}

/// A change of a pod, and how its project is told after it.
type Change = (fn(&PodHandle), ProjectStatus, &'static str);

const CHANGES: [Change; 4] = [
    (|pod| pod.delete(GRACE).unwrap(), ProjectStatus::Starting, "Terminating"),
    (|pod| pod.set_ready(false).unwrap(), ProjectStatus::Starting, "ContainersNotReady"),
    (|pod| pod.set_label("rdev.orchard9.ai/project", None).unwrap(), ProjectStatus::Gone, "TakenOut"),
    (
        |pod| pod.set_label("rdev.orchard9.ai/project-id", Some("other")).unwrap(),
        ProjectStatus::Gone,
        "TakenOut",
    ),
];

#[tokio::test]
async fn a_command_goes_on_where_nothing_new_starts_over_cuts_and_restarts() {
    for (change, status, reason) in CHANGES {
        let mut server = Runtime::Double.server().await;
        let accepted = one_that_runs(&server, UP_AND_DOWN).await;
        change(&server.double().pod());
        project(&server, status, Some(reason)).await;
        server.double().cluster().cut_execs_now(How::Close);
        let new = server.client().shell("echo new >> new").await;
        server.kill9().await;
        server.restart().await;
        project(&server, status, Some(reason)).await;
        ends_well(&server, &accepted).await;
        // It waits, or has failed where the next server knows of no such project.
        assert_eq!(server.client().command(&new.id).await.progress.started_at, None, "{reason}");
        assert_eq!(server.file("new").await, None, "{reason}");
    }
}

#[tokio::test]
async fn a_command_can_be_cancelled_where_nothing_new_starts() {
    for (change, status, reason) in CHANGES {
        let mut server = Runtime::Double.server().await;
        let accepted = one_that_runs(&server, "echo up; sleep 300").await;
        change(&server.double().pod());
        project(&server, status, Some(reason)).await;
        server.kill9().await;
        server.restart().await;
        project(&server, status, Some(reason)).await;
        server.client().cancel(&accepted.id).await;
        assert_eq!(ended(&server, &accepted).await.accepted.status, Status::Cancelled, "{reason}");
        server.nothing_left().await;
    }
}

/// A task of the pool that has begun in a worker.
async fn task_that_runs(server: &Server, go: &std::path::Path) -> String {
    let step = format!(
        "for i in 1 2 3; do echo $i; done; until [ -e {} ]; do sleep 0.02; done; seq 4 10",
        go.display()
    );
    let task = server.client().add_task(&json!({"type": "shell", "steps": [step], "max_attempts": 1})).await;
    server.double().add_worker("w-1");
    server.client().task_in(&task.id, Status::Running).await;
    let said = async || output(server, &task.id).await.ends_with("3\n").then_some(());
    eventually("three lines", said).await;
    task.id
}

async fn output(server: &Server, task: &str) -> String {
    server.client().task_output(task).await
}

async fn every_line_once(server: &Server, task: &str) {
    let ended = server.client().task_in(task, Status::Completed).await;
    assert_eq!((ended.attempts, ended.progress.exit_code), (1, Some(0)));
    let output = output(server, task).await;
    let lines: Vec<&str> = output.lines().skip_while(|line| line.parse::<u32>().is_err()).collect();
    assert_eq!(lines, ["1", "2", "3", "4", "5", "6", "7", "8", "9", "10"]);
}

#[tokio::test]
async fn a_task_in_a_worker_that_is_to_go_is_told_to_its_end_by_the_next_server() {
    let mut server = Runtime::Double.server().await;
    let go = server.fixture().data_dir().join("go");
    let task = task_that_runs(&server, &go).await;
    server.double().cluster().pod("rdev", "w-1").delete(GRACE).unwrap();
    server.double().add_worker("w-2");
    server.kill9().await;
    std::fs::write(&go, "").unwrap();
    server.restart().await;
    every_line_once(&server, &task).await;
}

#[tokio::test]
async fn a_task_in_a_worker_that_is_to_go_is_told_to_its_end_by_another_server() {
    let a = Runtime::Double.fixture().with_postgres().start().await;
    let go = a.fixture().data_dir().join("go");
    let task = task_that_runs(&a, &go).await;
    let b = Fixture::new().with("RDEV_LEASE_SECONDS", "3").start_beside(&a).await;
    a.double().cluster().pod("rdev", "w-1").delete(GRACE).unwrap();
    a.pause();
    std::fs::write(&go, "").unwrap();
    every_line_once(&b, &task).await;
    a.resume();
}

#[tokio::test]
async fn the_older_of_two_pods_of_a_project_stays_and_the_younger_is_told() {
    let mut server = Runtime::Double.server().await;
    // Times of a cluster are whole seconds, and of two pods of one second the name decides: `demo` is the first.
    let accepted = one_that_runs(&server, UP_AND_DOWN).await;
    let younger = server.double().add_pod("demo-second", "demo");
    let told = project(&server, ProjectStatus::Ready, Some("DuplicateId")).await;
    let message = told.message.unwrap();
    assert!(message.contains("demo, demo-second"), "{message}");
    let in_log = || server.log().matches("demo, demo-second").count();
    eventually("a line in the log", async || (in_log() == 1).then_some(())).await;
    server.double().cluster().cut_execs_now(How::Close);
    // New ones run beside it, in the same pod.
    let beside = server.client().shell("touch beside").await;
    server.kill9().await;
    server.restart().await;
    ends_well(&server, &accepted).await;
    assert_eq!(ended(&server, &beside).await.accepted.status, Status::Completed);
    assert!(server.file("beside").await.is_some());

    // When the older is to go, the younger takes what is new, and what runs in the older goes on.
    let last = one_that_runs(&server, "echo up; until [ -e on ]; do sleep 0.02; done").await;
    server.double().pod().delete(GRACE).unwrap();
    project(&server, ProjectStatus::Ready, None).await;
    let new = server.client().shell("touch new").await;
    assert_eq!(ended(&server, &new).await.accepted.status, Status::Completed);
    assert!(younger.workspace().unwrap().join("new").exists());
    server.double().cluster().cut_execs_now(How::Close);
    server.touch("on").await;
    assert_eq!(ended(&server, &last).await.accepted.status, Status::Completed);
}
