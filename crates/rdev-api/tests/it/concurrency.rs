//! Concurrency: which commands run beside which.

use crate::support::{Accepted, Client, Command, Data, Model, Runtime, told_on_every_runtime};

told_on_every_runtime! {
    and on postgres:
    two_agents_never_share_a_workspace_and_shell_runs_beside_them,
    agents_in_two_projects_run_side_by_side,
    as_many_run_at_once_as_configured_in_the_order_of_their_coming,
}

async fn claude(client: &Client, prompt: &str) -> Accepted {
    let body = serde_json::json!({"prompt": prompt});
    client.post("/projects/demo/claude", &body).send().await.json::<Data<Accepted>>(202).data
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
    assert_eq!(client.command(&first.id).await.status, "running");
    assert_eq!(client.command(&second.id).await.status, "pending");
    client.run("touch go").await;
    let (first, second) = (client.ended(&first.id).await, client.ended(&second.id).await);
    for command in [&first, &second] {
        assert_eq!(command.status, "completed", "{command:?}");
    }
    assert!(first.ended_at <= second.started_at, "{first:?} {second:?}");
}

async fn agents_in_two_projects_run_side_by_side(on: Runtime) {
    let model = Model::start(on).await;
    let server = model.fixture().start().await;
    let client = server.client();
    server.add_project("other").await;
    let first = claude(&client, "@stub bash touch up; until [ -e go ]; do sleep 0.05; done").await;
    model.saw("bash", "complete").await;
    let body = serde_json::json!({"prompt": "@stub text other"});
    let other = client.post("/projects/other/claude", &body).send().await.json::<Data<Accepted>>(202).data;
    let path = format!("/projects/other/commands/{}", other.id);
    let over = async || {
        let command = client.get(&path).send().await.json::<Data<Command>>(200).data;
        command.is_over().then_some(command)
    };
    assert_eq!(crate::support::eventually("the other's end", over).await.status, "completed");
    assert_eq!(client.command(&first.id).await.status, "running");
    client.run("touch go").await;
    assert_eq!(client.ended(&first.id).await.status, "completed");
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
        assert_eq!(client.command(late).await.status, "pending");
    }
    server.touch("go").await;
    let mut commands = Vec::new();
    for id in &accepted {
        commands.push(client.ended(id).await);
    }
    for (index, command) in commands.iter().enumerate() {
        let runs =
            |other: &&Command| other.started_at <= command.started_at && other.ended_at > command.started_at;
        let at_once = commands.iter().filter(runs).count();
        assert!(at_once <= 2, "{at_once} ran when command {index} started");
    }
    assert!(commands[2].started_at >= commands[0].ended_at.min(commands[1].ended_at));
}
