//! Concurrency: which commands run beside which.

use jiff::Timestamp;
use rdev_client::types::{Accepted, ClaudeBody, Command, Status};

use crate::support::{Client, Model, Runtime, moment, on_every_runtime};

on_every_runtime! {
    and on postgres:
    two_agents_never_share_a_workspace_and_shell_runs_beside_them,
    agents_in_two_projects_run_side_by_side,
    as_many_run_at_once_as_configured_in_the_order_of_their_coming,
}

async fn claude(client: &Client, prompt: &str) -> Accepted {
    client.claude_in("demo", &ClaudeBody { prompt: prompt.to_owned(), ..ClaudeBody::default() }).await
}

fn start(command: &Command) -> Option<Timestamp> {
    command.progress.started_at.as_ref().map(moment)
}

fn end(command: &Command) -> Option<Timestamp> {
    command.progress.ended_at.as_ref().map(moment)
}

async fn two_agents_never_share_a_workspace_and_shell_runs_beside_them(on: Runtime) {
    let model = Model::start(on).await;
    let server = model.fixture().start().await;
    let client = server.client();
    let wait = "@stub bash touch up-$$; until [ -e go ]; do sleep 0.05; done";
    let (first, second) = (claude(&client, wait).await, claude(&client, "@stub text second").await);
    model.saw("bash", "complete").await;
    let (lines, complete) = client.run("echo beside").await;
    assert_eq!((lines, complete.exit_code), (vec!["beside".to_owned()], Some(0)));
    assert_eq!(client.git(&["init"]).await.status, 202);
    assert_eq!(client.command(&first.id).await.accepted.status, Status::Running);
    assert_eq!(client.command(&second.id).await.accepted.status, Status::Pending);
    client.run("touch go").await;
    let (first, second) = (client.ended(&first.id).await, client.ended(&second.id).await);
    for command in [&first, &second] {
        assert_eq!(command.accepted.status, Status::Completed, "{command:?}");
    }
    assert!(end(&first) <= start(&second), "{first:?} {second:?}");
}

async fn agents_in_two_projects_run_side_by_side(on: Runtime) {
    let model = Model::start(on).await;
    let server = model.fixture().start().await;
    let client = server.client();
    server.add_project("other").await;
    let first = claude(&client, "@stub bash touch up; until [ -e go ]; do sleep 0.05; done").await;
    model.saw("bash", "complete").await;
    let body = serde_json::json!({"prompt": "@stub text other"});
    let other = client.claude_in("other", &body).await;
    assert_eq!(client.ended_in("other", &other.id).await.accepted.status, Status::Completed);
    assert_eq!(client.command(&first.id).await.accepted.status, Status::Running);
    client.run("touch go").await;
    assert_eq!(client.ended(&first.id).await.accepted.status, Status::Completed);
}

async fn as_many_run_at_once_as_configured_in_the_order_of_their_coming(on: Runtime) {
    let server = on.fixture().with("RDEV_WORKER_CONCURRENCY", "2").start().await;
    let client = server.client();
    let mut accepted = Vec::new();
    for _ in 0..4 {
        accepted.push(client.shell("until [ -e go ]; do sleep 0.02; done").await.id);
    }
    client.begun(&accepted[0]).await;
    client.begun(&accepted[1]).await;
    for late in &accepted[2..] {
        assert_eq!(client.command(late).await.accepted.status, Status::Pending);
    }
    server.touch("go").await;
    let mut commands = Vec::new();
    for id in &accepted {
        commands.push(client.ended(id).await);
    }
    for (index, command) in commands.iter().enumerate() {
        let runs = |other: &&Command| start(other) <= start(command) && end(other) > start(command);
        let at_once = commands.iter().filter(runs).count();
        assert!(at_once <= 2, "{at_once} ran when command {index} started");
    }
    assert!(start(&commands[2]) >= end(&commands[0]).min(end(&commands[1])));
}
