//! Stories that only a real cluster can show; `scripts/test-cluster.sh` tells these.

mod alone;
mod going;

use rdev_client::types::{CompleteEvent, Event, Reason, Status};

use crate::support::{Cluster, Events, Model, Repository, Runtime};

/// The image that `cluster.sh` makes: Debian with git, and no `rdev-runner`.
const IMAGE_WITHOUT_RUNNER: &str = "docker.io/library/claudebox:test";

#[tokio::test]
#[ignore = "needs a real cluster: scripts/test-cluster.sh"]
async fn a_command_is_lost_with_its_pod_and_the_next_pod_works() {
    let server = Runtime::Cluster.server().await;
    let client = server.client();
    let accepted = client.shell("echo up; sleep 300").await;
    let mut events = client.follow(&accepted.stream_id, None).await;
    first_line(&mut events).await;
    server.namespace().kubectl(&["delete", "pod", "demo"]).await;
    let complete = complete(&mut events).await;
    assert_eq!((complete.status, complete.reason), (Status::Failed, Some(Reason::PodLost)));
    assert_eq!(complete.exit_code, None);

    server.namespace().add_project("demo").await;
    server.knows("demo").await;
    let (lines, complete) = client.run("echo well").await;
    assert_eq!((lines, complete.exit_code), (vec!["well".to_owned()], Some(0)));
}

#[tokio::test]
#[ignore = "needs a real cluster: scripts/test-cluster.sh"]
async fn a_command_that_wants_more_memory_than_there_is_says_so() {
    let server = Runtime::Cluster.server().await;
    let client = server.client();
    // It waits for the end of a line that has none.
    let (_, complete) = client.run("exec tail /dev/zero").await;
    assert_eq!((complete.status, complete.reason), (Status::Failed, Some(Reason::OomKilled)));
    assert_eq!(complete.exit_code, Some(137));
    let (lines, complete) = client.run("echo well").await;
    assert_eq!((lines, complete.exit_code), (vec!["well".to_owned()], Some(0)));
}

#[tokio::test]
#[ignore = "needs a real cluster: scripts/test-cluster.sh"]
async fn a_pod_without_a_runner_gets_one() {
    let server = Runtime::Cluster.fixture().without_projects().start().await;
    server.namespace().add_pod("demo", IMAGE_WITHOUT_RUNNER, &["sleep", "infinity"]).await;
    server.knows("demo").await;
    let client = server.client();
    let commands = ["command -v rdev-runner; echo one; exit 4", "seq 20000 | tail -n 1"];
    let (lines, complete) = client.run(commands[0]).await;
    assert_eq!((lines, complete.exit_code), (vec!["one".to_owned()], Some(4)));
    let (lines, complete) = client.run(commands[1]).await;
    assert_eq!((lines, complete.exit_code), (vec!["20000".to_owned()], Some(0)));
}

#[tokio::test]
#[ignore = "needs a real cluster: scripts/test-cluster.sh"]
async fn a_project_clones_its_repository_asks_claude_and_pushes_back() {
    let repository = Repository::serve(&Cluster::host()).await;
    let model = Model::start(Runtime::Cluster).await;
    let server = model.fixture().without_projects().start().await;
    server.namespace().add_claudebox("demo", &repository.url()).await;
    server.knows("demo").await;
    let client = server.client();
    let (lines, _) = client.run("pwd; cat file; git remote get-url origin").await;
    assert_eq!(lines, ["/workspace", "one", &repository.url()]);

    let body = serde_json::json!({"prompt": "@stub bash echo two > file\n@stub text Written."});
    let call = client.post("/projects/demo/claude", &body).header("accept", "text/event-stream");
    let mut events = call.events().await;
    let mut said = String::new();
    let complete = loop {
        match events.event().await.event {
            Event::Agent(line) => said.push_str(line.text.as_deref().unwrap_or_default()),
            Event::Complete(complete) => break complete,
            _ => {}
        }
    };
    assert_eq!((complete.status, complete.exit_code), (Status::Completed, Some(0)), "{said}");
    assert!(said.contains("Written."), "{said}");

    for args in [&["commit", "-am", "second"] as &[&str], &["push", "origin", "main"]] {
        let accepted = client.git_accepted(args).await;
        let ended = client.ended(&accepted.id).await;
        let output = client.output(&accepted.id).await;
        assert_eq!(ended.progress.exit_code, Some(0), "{args:?}: {}", String::from_utf8_lossy(&output));
    }
    let log = repository.git(&["log", "--format=%an: %s", "main"]).await;
    assert_eq!(log, "rdev-bot: second\nsomebody: first\n");
    assert_eq!(repository.git(&["show", "main:file"]).await, "two\n");
}

async fn first_line(events: &mut Events) {
    while !matches!(events.event().await.event, Event::Output(_)) {}
}

async fn complete(events: &mut Events) -> CompleteEvent {
    loop {
        if let Event::Complete(complete) = events.event().await.event {
            return complete;
        }
    }
}
