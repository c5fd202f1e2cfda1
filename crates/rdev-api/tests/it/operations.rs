//! Operations: projects are made and removed, over failures of the disk and deaths of the server.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rdev_client::types::{
    AcceptedOperation, Command, CreateProjectBody, Data, Event, List, OnFailure, Operation, OperationStatus,
    Project, ProjectStatus, Status, StepState, Task,
};
use rdev_sql::SqlStore;
use serde_json::json;

use crate::support::{
    Answer, Client, Fixture, Item, ReceivedExt, Runtime, Server, eventually, on_both_stores,
};

on_both_stores! {
    a_project_is_made_used_and_removed_with_everything_of_it,
    a_creation_survives_the_death_of_the_server_in_each_step,
    a_name_that_is_taken_is_found_and_everything_is_taken_back,
    a_kept_failure_goes_on_when_it_is_retried,
    a_creation_is_cancelled_and_takes_everything_back,
    a_deletion_ends_what_runs_and_refuses_what_comes,
    a_deletion_does_not_wait_for_the_slots_of_commands,
    a_deletion_that_was_overtaken_by_a_command_ends_the_command,
    a_deletion_of_many_commands_ends,
    the_same_request_gives_the_same_operation,
}

fn workspaces(server: &Server) -> PathBuf {
    server.fixture().data_dir().join("workspaces")
}

/// Names in a folder of workspaces, without those of folders that are empty.
fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| !entry.path().is_dir() || fs::read_dir(entry.path()).unwrap().next().is_some())
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

async fn create(client: &Client, body: &serde_json::Value) -> AcceptedOperation {
    client.post("/projects", body).send().await.json::<Data<AcceptedOperation>>(202).data
}

async fn delete(client: &Client, project: &str) -> Answer {
    client.call("DELETE", &format!("/projects/{project}")).send().await
}

async fn operation(client: &Client, id: &str) -> Operation {
    client.get(&format!("/operations/{id}")).send().await.json::<Data<Operation>>(200).data
}

async fn when(client: &Client, id: &str, holds: impl Fn(&Operation) -> bool) -> Operation {
    eventually("the operation", async || Some(operation(client, id).await).filter(&holds)).await
}

async fn ended(client: &Client, id: &str, status: OperationStatus) -> Operation {
    let ended = when(client, id, |operation| operation.accepted.status.is_ended()).await;
    assert_eq!(ended.accepted.status, status, "{ended:?}");
    ended
}

/// Waits until a step is in an attempt after the first.
async fn retrying(client: &Client, id: &str, step: &str) -> Operation {
    when(client, id, |operation| operation.steps.iter().any(|of| of.name == step && of.attempt > 1)).await
}

fn states(operation: &Operation) -> Vec<StepState> {
    operation.steps.iter().map(|step| step.state).collect()
}

/// Runs a shell line in a project to its end; its output.
async fn run(client: &Client, project: &str, line: &str) -> String {
    let accepted = client.shell_in(project, line).await;
    let ended = client.ended_in(project, &accepted.id).await;
    let output = String::from_utf8(client.output_in(project, &accepted.id).await.into()).unwrap();
    assert_eq!(ended.accepted.status, Status::Completed, "{output}");
    output
}

/// Ids of the projects that are listed.
async fn listed(client: &Client) -> Vec<String> {
    let projects = client.get("/projects").send().await.json::<List<Project>>(200).data;
    projects.into_iter().map(|project| project.id).collect()
}

async fn a_project_is_made_used_and_removed_with_everything_of_it(on: Runtime) {
    let mut server = on.server().await;
    let client = server.client();
    let accepted = client.api().create_project(&CreateProjectBody::new("shop")).await.unwrap();
    assert_eq!((accepted.project.as_str(), accepted.status), ("shop", OperationStatus::Running));
    assert_eq!(accepted.events_url, format!("/operations/{}/events", accepted.operation_id));
    let mut events = client.api().operation_events(&accepted.operation_id).open();
    let (mut told, mut numbers) = (Vec::new(), Vec::new());
    while let Some(received) = events.next().await {
        match received.unwrap().event {
            Event::Step(step) => {
                numbers.push(step.seq);
                told.push(format!("{} {}", step.name, step.state));
            }
            Event::Complete(complete) => {
                numbers.push(complete.seq);
                assert_eq!(complete.status, Status::Completed);
            }
            Event::Status(_) | Event::Heartbeat(_) => {}
            other => panic!("{other:?}"),
        }
    }
    let steps = ["workspace", "repository", "publish"];
    let expected: Vec<String> =
        steps.iter().flat_map(|step| [format!("{step} running"), format!("{step} done")]).collect();
    assert_eq!((told, numbers), (expected, (1..=7).collect::<Vec<u64>>()));

    // It takes commands at once, also of git, and after a restart.
    assert_eq!(listed(&client).await, ["demo", "shop"]);
    let line = "git symbolic-ref HEAD && echo x > file && git add file && git commit -qm first && git log --format=%s";
    assert_eq!(run(&client, "shop", line).await, "refs/heads/main\nfirst\n");
    client.post("/projects", &json!({"name": "shop"})).send().await.failure(409, "PROJECT_EXISTS");
    server.kill9().await;
    server.restart().await;
    let client = server.client();
    assert_eq!(run(&client, "shop", "cat file").await, "x\n");

    let gone = delete(&client, "shop").await;
    let location = gone.headers["location"].to_str().unwrap().to_owned();
    let gone = gone.json::<Data<AcceptedOperation>>(202).data;
    assert_eq!(location, format!("/operations/{}", gone.operation_id));
    let gone = ended(&client, &gone.operation_id, OperationStatus::Completed).await;
    let steps: Vec<&str> = gone.steps.iter().map(|step| step.name.as_str()).collect();
    assert_eq!(steps, ["close", "commands", "workspace", "records"]);
    assert_eq!(listed(&client).await, ["demo"]);
    assert_eq!(names(&workspaces(&server)), Vec::<String>::new(), "demo is empty, and nothing else is left");
    client.get("/projects/shop").send().await.failure(404, "PROJECT_NOT_FOUND");
    delete(&client, "shop").await.failure(404, "PROJECT_NOT_FOUND");
    let page = client.get("/operations").send().await.json::<List<Operation>>(200).data;
    assert_eq!(page.iter().map(|of| of.accepted.project.as_str()).collect::<Vec<_>>(), ["shop", "shop"]);

    // A project of the same name begins without a past.
    let again = create(&client, &json!({"name": "shop"})).await;
    ended(&client, &again.operation_id, OperationStatus::Completed).await;
    let past = client.get("/projects/shop/commands").send().await;
    assert!(past.json::<List<Command>>(200).data.is_empty());
    assert_eq!(run(&client, "shop", "ls").await, "");
}

/// A git that waits while a file `hold-<verb>` lies beside it, and is otherwise the real one.
fn git_that_waits(folder: &Path) -> PathBuf {
    let program = folder.join("bin/git");
    fs::create_dir_all(folder.join("bin")).unwrap();
    let text = format!(
        "#!/bin/sh\nfor word; do while [ -e '{0}/hold-'\"$word\" ]; do sleep 0.02; done; done\nPATH=${{PATH#*:}} exec git \"$@\"\n",
        folder.display()
    );
    fs::write(&program, text).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    program
}

async fn a_creation_survives_the_death_of_the_server_in_each_step(on: Runtime) {
    let folder = tempfile::tempdir().unwrap();
    let mut server = on.fixture().with_program(&git_that_waits(folder.path())).start().await;
    let running = |name: &'static str| {
        move |operation: &Operation| {
            operation.steps.iter().any(|step| step.name == name && step.state == StepState::Running)
        }
    };
    // In the first step, the folder cannot be made: a file is in the way.
    let obstacle = workspaces(&server).join(".new");
    fs::write(&obstacle, "").unwrap();
    let id = create(&server.client(), &json!({"name": "shop"})).await.operation_id;
    let held = retrying(&server.client(), &id, "workspace").await;
    let error = held.steps[0].error.as_ref().unwrap();
    assert!(error.message.contains(".new"), "{error:?}");
    server.kill9().await;
    fs::remove_file(&obstacle).unwrap();
    // In the second step, git does not come back.
    fs::write(folder.path().join("hold-init"), "").unwrap();
    server.restart().await;
    when(&server.client(), &id, running("repository")).await;
    assert_eq!(listed(&server.client()).await, ["demo"], "what is not whole is no project");
    server.kill9().await;
    fs::remove_file(folder.path().join("hold-init")).unwrap();
    server.restart().await;
    let client = server.client();
    let made = ended(&client, &id, OperationStatus::Completed).await;
    assert_eq!(states(&made), [StepState::Done; 3]);
    assert!(made.steps[1].attempt > 1, "{made:?}");
    assert_eq!(run(&client, "shop", "git symbolic-ref HEAD").await, "refs/heads/main\n");
    let ids = numbers(&client, &id, None).await;
    assert_eq!(ids, (1..=ids.len() as u64).collect::<Vec<_>>(), "no number is missing, and none comes twice");
    // A reader that comes back gets the rest, and after the end nothing.
    assert_eq!(numbers(&client, &id, Some("2")).await, ids[2..]);
    let last =
        client.get(&format!("/operations/{id}/events")).header("last-event-id", &ids.len().to_string());
    assert_eq!(last.send().await.status, 204);
}

/// Numbers of the events of an operation that has ended, after one or from the first.
async fn numbers(client: &Client, id: &str, after: Option<&str>) -> Vec<u64> {
    let call = client.get(&format!("/operations/{id}/events"));
    let mut events = match after {
        Some(after) => call.header("last-event-id", after).events().await,
        None => call.events().await,
    };
    let number = |item| match item {
        Item::Event(event) => {
            if let Event::Step(step) = &event.event {
                assert!(!step.name.is_empty() && step.attempt > 0, "{step:?}");
                assert!(step.error.is_none() || step.state == StepState::Running, "{step:?}");
            }
            assert_eq!(event.id, event.seq().map(|seq| seq.to_string()));
            event.seq()
        }
        Item::Retry(_) => None,
    };
    events.rest().await.into_iter().filter_map(number).collect()
}

async fn a_name_that_is_taken_is_found_and_everything_is_taken_back(on: Runtime) {
    let server = on.server().await;
    let client = server.client();
    // A file is no project, and is in the way.
    fs::write(workspaces(&server).join("shop"), "mine").unwrap();
    let id = create(&client, &json!({"name": "shop"})).await.operation_id;
    let ended = ended(&client, &id, OperationStatus::RolledBack).await;
    assert_eq!(states(&ended), [StepState::Undone, StepState::Pending, StepState::Pending]);
    let message = ended.message.unwrap();
    assert!(message.contains("workspaces/shop is there"), "{message}");
    assert_eq!(names(&workspaces(&server)), ["shop"]);
    assert_eq!(fs::read_to_string(workspaces(&server).join("shop")).unwrap(), "mine");
}

async fn a_kept_failure_goes_on_when_it_is_retried(on: Runtime) {
    let server = on.server().await;
    let client = server.client();
    fs::write(workspaces(&server).join("shop"), "mine").unwrap();
    let body = json!({"name": "shop", "on_failure": OnFailure::Keep});
    let id = create(&client, &body).await.operation_id;
    ended(&client, &id, OperationStatus::Degraded).await;
    fs::remove_file(workspaces(&server).join("shop")).unwrap();
    let retry = || client.call("POST", &format!("/operations/{id}/retry"));
    let again = retry().header("idempotency-key", "again").send().await.json::<Data<Operation>>(200).data;
    assert_eq!(again.accepted.status, OperationStatus::Running);
    ended(&client, &id, OperationStatus::Completed).await;
    let replayed = retry().header("idempotency-key", "again").send().await;
    assert_eq!(replayed.headers["idempotent-replayed"], "true");
    retry().send().await.failure(409, "OPERATION_NOT_RETRYABLE");
    assert_eq!(run(&client, "shop", "git symbolic-ref HEAD").await, "refs/heads/main\n");
}

async fn a_creation_is_cancelled_and_takes_everything_back(on: Runtime) {
    let folder = tempfile::tempdir().unwrap();
    let server = on.fixture().with_program(&git_that_waits(folder.path())).start().await;
    let client = server.client();
    fs::write(folder.path().join("hold-init"), "").unwrap();
    let id = create(&client, &json!({"name": "shop"})).await.operation_id;
    when(&client, &id, |operation| operation.steps.get(1).is_some_and(|step| step.attempt == 1)).await;
    delete(&client, "shop").await.failure(409, "OPERATION_IN_PROGRESS");
    let cancel = client.call("POST", &format!("/operations/{id}/cancel")).send().await;
    assert!(cancel.json::<Data<Operation>>(200).data.cancel_requested);
    fs::remove_file(folder.path().join("hold-init")).unwrap();
    let cancelled = ended(&client, &id, OperationStatus::Cancelled).await;
    // The running step was finished first.
    assert_eq!(states(&cancelled), [StepState::Undone, StepState::Undone, StepState::Pending]);
    assert!(cancelled.steps[1].made.contains_key("branch"), "{cancelled:?}");
    assert_eq!(listed(&client).await, ["demo"]);
    assert_eq!(names(&workspaces(&server)), Vec::<String>::new());
}

async fn a_deletion_ends_what_runs_and_refuses_what_comes(on: Runtime) {
    let mut server = on.server().await;
    let client = server.client();
    let id = create(&client, &json!({"name": "shop"})).await.operation_id;
    ended(&client, &id, OperationStatus::Completed).await;
    // It takes its time to end.
    let line = "trap '' TERM; touch started; while :; do sleep 0.1; done";
    let task = json!({"type": "shell", "steps": ["true"], "project": "shop"});
    let add = || client.post("/queue/tasks", &task);
    let done = add().send().await.json::<Data<Task>>(202).data.id;
    eventually("the task", async || {
        let task = client.get(&format!("/queue/tasks/{done}")).send().await.json::<Data<Task>>(200).data;
        (task.status == Status::Completed).then_some(())
    })
    .await;
    client.shell_in("shop", line).await;
    let started = workspaces(&server).join("shop/started");
    eventually("the command", async || started.exists().then_some(())).await;
    let gone = delete(&client, "shop").await.json::<Data<AcceptedOperation>>(202).data.operation_id;
    when(&client, &gone, |operation| operation.steps.get(1).is_some_and(|step| step.attempt > 0)).await;
    assert_eq!(client.project("shop").await.map(|project| project.status), Some(ProjectStatus::Deleting));
    let refused = client.post("/projects/shop/shell", &json!({"command": "true"})).send().await;
    refused.failure(409, "PROJECT_DELETING");
    add().send().await.failure(409, "PROJECT_DELETING");
    let retry = client.call("POST", &format!("/queue/tasks/{done}/retry")).send().await;
    retry.failure(409, "PROJECT_DELETING");
    let same = delete(&client, "shop").await.json::<Data<AcceptedOperation>>(202).data.operation_id;
    assert_eq!(same, gone);
    server.kill9().await;
    server.restart().await;
    let client = server.client();
    ended(&client, &gone, OperationStatus::Completed).await;
    client.get("/projects/shop").send().await.failure(404, "PROJECT_NOT_FOUND");
    assert_eq!(names(&workspaces(&server)), Vec::<String>::new());
    server.terminate();
    server.wait().await;
    if on == Runtime::Local {
        nothing_is_stored_of(&server, "shop").await;
    }
}

/// A command may be stored after the deletion has looked for commands: it was accepted by another server, say.
async fn a_deletion_that_was_overtaken_by_a_command_ends_the_command(on: Runtime) {
    let mut server = on.server().await;
    let client = server.client();
    let id = create(&client, &json!({"name": "shop"})).await.operation_id;
    ended(&client, &id, OperationStatus::Completed).await;
    // The folder cannot be moved away: a file is in the way.
    let obstacle = workspaces(&server).join(".removed");
    fs::write(&obstacle, "").unwrap();
    let gone = delete(&client, "shop").await.json::<Data<AcceptedOperation>>(202).data.operation_id;
    retrying(&client, &gone, "workspace").await;
    if on == Runtime::Local {
        server.kill9().await;
        a_command_is_stored(&server, "shop").await;
        server.restart().await;
    }
    fs::remove_file(&obstacle).unwrap();
    let client = server.client();
    ended(&client, &gone, OperationStatus::Completed).await;
    let again = create(&client, &json!({"name": "shop"})).await.operation_id;
    ended(&client, &again, OperationStatus::Completed).await;
    let past = client.get("/projects/shop/commands").send().await;
    assert!(past.json::<List<Command>>(200).data.is_empty());
}

/// Stores a command of a project, which is not due for long, in the store of a server that is down.
async fn a_command_is_stored(server: &Server, project: &str) {
    use rdev_ports::TaskQueue;
    let store = SqlStore::sqlite(&server.fixture().data_dir().join("rdev.db")).await.unwrap();
    let due = rdev_ports::testing::START + std::time::Duration::from_secs(100 * 365 * 24 * 3600);
    let job = rdev_ports::testing::job(project, 1);
    let schedule = rdev_domain::Schedule { run_after: Some(due), ..job.schedule.clone() };
    let job = rdev_domain::Job { schedule, ..job };
    store.enqueue(&job, None).await.unwrap();
    store.close().await;
}

/// More commands wait than are cancelled together.
async fn a_deletion_of_many_commands_ends(on: Runtime) {
    let server = on.server().await;
    let client = server.client();
    let id = create(&client, &json!({"name": "shop"})).await.operation_id;
    ended(&client, &id, OperationStatus::Completed).await;
    client.shell_in("shop", "sleep 600").await;
    for n in 0..120 {
        let body = json!({"command": "true"});
        let call = client.post("/projects/shop/shell", &body).header("idempotency-key", &format!("key-{n}"));
        assert_eq!(call.send().await.status, 202);
    }
    let gone = delete(&client, "shop").await.json::<Data<AcceptedOperation>>(202).data.operation_id;
    let gone = ended(&client, &gone, OperationStatus::Completed).await;
    assert_eq!(states(&gone), [StepState::Done; 4]);
    client.get("/projects/shop").send().await.failure(404, "PROJECT_NOT_FOUND");
}

/// Checks that the store of a server that is down has nothing of a project.
async fn nothing_is_stored_of(server: &Server, project: &str) {
    use rdev_ports::{EventLog, ProjectRecords, TaskQueue};
    let store = SqlStore::sqlite(&server.fixture().data_dir().join("rdev.db")).await.unwrap();
    let (target, id) = (rdev_domain::Target::Project(project.parse().unwrap()), project.parse().unwrap());
    assert!(store.jobs(&target, &rdev_ports::JobFilter::default(), None, 100).await.unwrap().is_empty());
    let log = rdev_domain::LogView::of_project(project.parse().unwrap());
    assert!(store.read_view(&log, rdev_domain::Position::ZERO, 100).await.unwrap().is_empty());
    assert!(store.unfinished_of(&id, 100).await.unwrap().is_empty());
    store.close().await;
}

async fn the_same_request_gives_the_same_operation(on: Runtime) {
    let folder = tempfile::tempdir().unwrap();
    let server = on.fixture().with_program(&git_that_waits(folder.path())).start().await;
    let client = server.client();
    fs::write(folder.path().join("hold-init"), "").unwrap();
    let post = |body: serde_json::Value| client.post("/projects", &body);
    let body = || json!({"name": "shop"});
    let first = post(body()).header("idempotency-key", "one").send().await;
    assert!(first.headers.get("idempotent-replayed").is_none());
    let id = first.json::<Data<AcceptedOperation>>(202).data.operation_id;
    let keyed = |key: &str| post(body()).header("idempotency-key", key);
    for call in [post(body()), keyed("one"), keyed("joins")] {
        let again = call.send().await;
        assert_eq!(again.headers["idempotent-replayed"], "true");
        assert_eq!(again.json::<Data<AcceptedOperation>>(202).data.operation_id, id);
    }
    let other = json!({"name": "shop", "on_failure": "keep"});
    post(other.clone()).send().await.failure(409, "OPERATION_IN_PROGRESS");
    post(other).header("idempotency-key", "one").send().await.failure(409, "IDEMPOTENCY_KEY_REUSED");
    fs::remove_file(folder.path().join("hold-init")).unwrap();
    ended(&client, &id, OperationStatus::Completed).await;
    for key in ["one", "joins"] {
        let again = keyed(key).send().await.json::<Data<AcceptedOperation>>(202).data;
        assert_eq!(
            (&again.operation_id, again.status),
            (&id, OperationStatus::Running),
            "{key}: as at first"
        );
    }
    post(body()).send().await.failure(409, "PROJECT_EXISTS");
}

#[tokio::test]
async fn every_field_that_is_not_valid_is_named() {
    let server = Server::start().await;
    let client = server.client();
    let body = json!({"name": "No Project", "on_failure": "panic", "template": "go", "databases": []});
    let failure = client.post("/projects", &body).send().await.failure(422, "VALIDATION_FAILED");
    assert_eq!(failure.fields(), ["template", "databases", "on_failure", "name"]);
    let unknown = client.post("/projects", &json!({"name": "shop", "nam": 1})).send().await;
    assert!(unknown.failure(400, "INVALID_BODY").error.message.contains("nam"));
    client.post("/projects", &json!({"name": "demo"})).send().await.failure(409, "PROJECT_EXISTS");
    for (method, path) in [("GET", ""), ("GET", "/events"), ("POST", "/cancel"), ("POST", "/retry")] {
        for id in ["op-1", &format!("op-{}", "0".repeat(32)), &format!("cmd-{}", "0".repeat(32))] {
            let call = client.call(method, &format!("/operations/{id}{path}"));
            call.send().await.failure(404, "OPERATION_NOT_FOUND");
        }
    }
}

#[tokio::test]
async fn in_a_cluster_projects_are_pods_and_no_operation_makes_them() {
    let server = Runtime::Double.server().await;
    let client = server.client();
    let refused = client.post("/projects", &json!({"name": "shop"})).send().await;
    let message = refused.failure(409, "PROJECTS_ARE_FOUND").error.message;
    assert!(message.contains("rdev.orchard9.ai/project=true"), "{message}");
    delete(&client, "demo").await.failure(409, "PROJECTS_ARE_FOUND");
    delete(&client, "shop").await.failure(404, "PROJECT_NOT_FOUND");
}

#[tokio::test]
async fn the_first_project_comes_back_with_the_next_start() {
    let mut server = Fixture::new().start().await;
    let client = server.client();
    let id = delete(&client, "demo").await.json::<Data<AcceptedOperation>>(202).data.operation_id;
    ended(&client, &id, OperationStatus::Completed).await;
    assert!(listed(&client).await.is_empty());
    server.kill9().await;
    server.restart().await;
    assert_eq!(listed(&server.client()).await, ["demo"]);
}

/// Each slot is busy with a command that does not end, and another command waits for it.
async fn a_deletion_does_not_wait_for_the_slots_of_commands(on: Runtime) {
    let server = on.fixture().with("RDEV_WORKER_CONCURRENCY", "1").start().await;
    let client = server.client();
    let id = create(&client, &json!({"name": "shop"})).await.operation_id;
    ended(&client, &id, OperationStatus::Completed).await;
    let busy = client.shell_in("demo", "sleep 1000").await;
    assert_eq!(client.begun(&busy.id).await.accepted.status, Status::Running);
    client.shell_in("shop", "true").await;
    let gone = delete(&client, "shop").await.json::<Data<AcceptedOperation>>(202).data.operation_id;
    ended(&client, &gone, OperationStatus::Completed).await;
    assert_eq!(client.begun(&busy.id).await.accepted.status, Status::Running);
    client.cancel(&busy.id).await;
    client.ended_in("demo", &busy.id).await;
}
