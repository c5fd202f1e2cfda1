//! The client of the stories: rdev-client on one server, with the calls and the waits that most stories make.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use rdev_client::types::{
    Accepted, Artefact, Command, CompleteEvent, Event, GitBody, Project, ShellBody, Status, Task, TaskBody,
    Worker,
};
use rdev_client::{OutputForm, Reconnect};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::raw::Answer;
use super::{Events, PATIENCE, eventually};

/// The project that every server has.
const DEMO: &str = "demo";

/// Calls one server with one key.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    pub(crate) address: SocketAddr,
    pub(crate) key: Option<String>,
    api: rdev_client::Client,
}

impl Client {
    pub(crate) fn new(address: SocketAddr, key: Option<&str>) -> Self {
        // A stream that is cut ends: a story that expects a cut says so with `resuming`.
        let reconnect = Reconnect { give_up_after: Duration::ZERO, ..Reconnect::default() };
        Self { address, key: key.map(str::to_owned), api: api(address, key, reconnect) }
    }

    pub(crate) fn with_key(&self, key: Option<&str>) -> Self {
        Self::new(self.address, key)
    }

    /// The same client, whose streams resume after a cut.
    pub(crate) fn resuming(&self) -> Self {
        let reconnect = Reconnect { give_up_after: PATIENCE, ..Reconnect::default() };
        let api = api(self.address, self.key.as_deref(), reconnect);
        Self { address: self.address, key: self.key.clone(), api }
    }

    /// The client as every program has it.
    pub(crate) fn api(&self) -> &rdev_client::Client {
        &self.api
    }

    /// Has a shell line accepted in the project `demo`.
    pub(crate) async fn shell(&self, command: &str) -> Accepted {
        self.shell_in(DEMO, command).await
    }

    /// Has a shell line accepted in a project.
    pub(crate) async fn shell_in(&self, project: &str, command: &str) -> Accepted {
        self.accept(project, &ShellBody::new(command)).await
    }

    pub(crate) async fn shell_on(&self, stream: &str, command: &str) -> Accepted {
        self.accept(DEMO, &ShellBody { stream_id: Some(stream.into()), ..ShellBody::new(command) }).await
    }

    pub(crate) async fn shell_for(&self, seconds: u64, command: &str) -> Accepted {
        let timeout_seconds = Some(seconds.into());
        self.accept(DEMO, &ShellBody { timeout_seconds, ..ShellBody::new(command) }).await
    }

    async fn accept(&self, project: &str, body: &ShellBody) -> Accepted {
        self.api.run_shell(project, body).await.expect("the command is accepted")
    }

    /// Has an agent's prompt accepted in a project; the body is that of `POST …/claude`.
    pub(crate) async fn claude_in(&self, project: &str, body: &impl Serialize) -> Accepted {
        self.api.run_claude(project, &request(body)).await.expect("the prompt is accepted")
    }

    /// The answer to `POST …/git`, which may be a refusal.
    pub(crate) async fn git(&self, args: &[&str]) -> Answer {
        self.post("/projects/demo/git", &git(args)).send().await
    }

    /// Has a git command accepted in the project `demo`.
    pub(crate) async fn git_accepted(&self, args: &[&str]) -> Accepted {
        self.api.run_git(DEMO, &git(args)).await.unwrap_or_else(|error| panic!("{args:?}: {error}"))
    }

    pub(crate) async fn command(&self, id: &str) -> Command {
        self.command_in(DEMO, id).await
    }

    /// A command of a project.
    pub(crate) async fn command_in(&self, project: &str, id: &str) -> Command {
        self.api.command(project, id).await.expect("the command is there")
    }

    /// The command once it has ended.
    pub(crate) async fn ended(&self, id: &str) -> Command {
        self.ended_in(DEMO, id).await
    }

    /// A command of a project, once it has ended.
    pub(crate) async fn ended_in(&self, project: &str, id: &str) -> Command {
        let is_over = |command: &Command| command.accepted.status.is_ended();
        eventually("the command's end", async || Some(self.command_in(project, id).await).filter(is_over))
            .await
    }

    /// The command once it runs, or is over.
    pub(crate) async fn begun(&self, id: &str) -> Command {
        let begun = |command: &Command| command.accepted.status != Status::Pending;
        eventually("the command's start", async || Some(self.command(id).await).filter(begun)).await
    }

    pub(crate) async fn cancel(&self, id: &str) -> Command {
        self.api.cancel_command(DEMO, id).await.expect("the command is there")
    }

    /// Has a task of the pool accepted; the body is that of `POST /queue/tasks`.
    pub(crate) async fn add_task(&self, body: &impl Serialize) -> Task {
        self.api.add_task(&request::<TaskBody>(body)).await.expect("the task is accepted")
    }

    pub(crate) async fn task(&self, id: &str) -> Task {
        self.api.task(id).await.expect("the task is there")
    }

    /// The task once it is in this status.
    pub(crate) async fn task_in(&self, id: &str, status: Status) -> Task {
        let there = async || Some(self.task(id).await).filter(|task| task.status == status);
        eventually(status.as_str(), there).await
    }

    /// Everything that the task wrote, as it wrote it.
    pub(crate) async fn task_output(&self, id: &str) -> String {
        let output = self.api.task_output(id, OutputForm::Bytes).await.expect("the task is there");
        let output = output.bytes().await.expect("the output comes whole");
        String::from_utf8_lossy(&output).into_owned()
    }

    /// Files that a task has left, and those that it was to leave.
    pub(crate) async fn artefacts(&self, id: &str) -> Vec<Artefact> {
        self.api.artefacts(id).await.expect("the task is there")
    }

    /// A project; `None` while the server does not tell: one that has just begun knows none yet.
    pub(crate) async fn project(&self, id: &str) -> Option<Project> {
        match self.api.project(id).await {
            Ok(project) => Some(project),
            Err(error) => error.failure().map(|_| None).unwrap_or_else(|| panic!("no answer: {error:?}")),
        }
    }

    /// Waits until the server knows a worker that was made.
    pub(crate) async fn has_worker(&self, id: &str) {
        let known = async || match self.api.worker(id).await {
            Ok(_) => Some(()),
            Err(error) => error.failure().map(|_| None).unwrap_or_else(|| panic!("no answer: {error:?}")),
        };
        eventually(id, known).await;
    }

    pub(crate) async fn worker(&self, id: &str) -> Worker {
        self.api.worker(id).await.expect("the worker is there")
    }

    /// Everything that the command wrote, as it wrote it.
    pub(crate) async fn output(&self, id: &str) -> Bytes {
        self.output_in(DEMO, id).await
    }

    /// Everything that a command of a project wrote.
    pub(crate) async fn output_in(&self, project: &str, id: &str) -> Bytes {
        let output =
            self.api.command_output(project, id, OutputForm::Bytes).await.expect("the command is there");
        output.bytes().await.expect("the output comes whole")
    }

    /// The stream's events, from after one of them or from its start.
    pub(crate) async fn follow(&self, stream: &str, after: Option<&str>) -> Events {
        Events::connect(self.api.stream_events(DEMO, stream), after).await
    }

    /// The events of a task, as [`Client::follow`].
    pub(crate) async fn follow_task(&self, id: &str, after: Option<&str>) -> Events {
        Events::connect(self.api.task_events(id), after).await
    }

    /// The events of a whole project, as [`Client::follow`].
    pub(crate) async fn follow_project(&self, project: &str, after: Option<&str>) -> Events {
        Events::connect(self.api.project_events(project), after).await
    }

    /// Runs a shell line to its end: what it wrote to standard output, line by line, and how it ended.
    pub(crate) async fn run(&self, command: &str) -> (Vec<String>, CompleteEvent) {
        let accepted = self.shell(command).await;
        let mut events = self.follow(&accepted.stream_id, None).await;
        let mut lines = Vec::new();
        loop {
            match events.event().await.event {
                Event::Output(output) => lines.push(output.line),
                Event::Complete(complete) => return (lines, complete),
                Event::Error(_) | Event::Status(_) | Event::Heartbeat(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }
}

fn api(address: SocketAddr, key: Option<&str>, reconnect: Reconnect) -> rdev_client::Client {
    let builder = rdev_client::Client::builder().key(key).reconnect(reconnect);
    let builder = builder.answer_timeout(PATIENCE).idle_timeout(PATIENCE);
    builder.build(&format!("http://{address}")).expect("the address and the key are valid")
}

/// A body that a story has written as JSON, as the request that it is.
fn request<T: DeserializeOwned>(body: &impl Serialize) -> T {
    let body = serde_json::to_string(body).expect("test bodies are JSON");
    serde_json::from_str(&body).unwrap_or_else(|error| panic!("{error} in {body}"))
}

fn git(args: &[&str]) -> GitBody {
    GitBody { args: args.iter().map(|arg| (*arg).to_owned()).collect(), ..GitBody::default() }
}
