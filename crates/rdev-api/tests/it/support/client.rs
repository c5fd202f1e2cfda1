//! The answers of the API as types, and the calls that most stories make.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::http::Client;
use super::sse::{Complete, Events, Told};
use super::{Answer, eventually};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Meta {
    pub(crate) request_id: String,
    pub(crate) timestamp: Timestamp,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Data<T> {
    pub(crate) data: T,
    pub(crate) meta: Meta,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct List<T> {
    pub(crate) data: Vec<T>,
    pub(crate) meta: ListMeta,
}

#[derive(Debug, Deserialize)]
pub(crate) struct ListMeta {
    pub(crate) request_id: String,
    pub(crate) next_cursor: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Failure {
    pub(crate) error: FailureInfo,
    pub(crate) meta: Meta,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FailureInfo {
    pub(crate) code: String,
    pub(crate) message: String,
    pub(crate) details: Option<Vec<Detail>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Detail {
    pub(crate) field: String,
    pub(crate) message: String,
}

impl Failure {
    /// The fields that it names, in their order.
    pub(crate) fn fields(&self) -> Vec<&str> {
        self.error.details.iter().flatten().map(|detail| detail.field.as_str()).collect()
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Accepted {
    pub(crate) id: String,
    pub(crate) command_id: String,
    pub(crate) project: String,
    #[serde(rename = "type")]
    pub(crate) kind: String,
    pub(crate) status: String,
    pub(crate) stream_id: String,
    pub(crate) stream_url: String,
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Command {
    pub(crate) id: String,
    pub(crate) project: String,
    #[serde(rename = "type")]
    pub(crate) kind: String,
    pub(crate) status: String,
    pub(crate) stream_id: String,
    pub(crate) summary: String,
    pub(crate) timeout_ms: u64,
    pub(crate) cancel_requested: bool,
    pub(crate) created_at: Timestamp,
    pub(crate) started_at: Option<Timestamp>,
    pub(crate) ended_at: Option<Timestamp>,
    pub(crate) duration_ms: Option<u64>,
    pub(crate) exit_code: Option<i32>,
    pub(crate) reason: Option<String>,
    pub(crate) message: Option<String>,
}

impl Command {
    pub(crate) fn is_over(&self) -> bool {
        !matches!(self.status.as_str(), "pending" | "running")
    }
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Queued {
    pub(crate) position: u64,
    pub(crate) blocked_by: String,
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Task {
    pub(crate) id: String,
    pub(crate) status: String,
    pub(crate) dead: bool,
    pub(crate) stream_url: String,
    pub(crate) attempts: u32,
    pub(crate) max_attempts: u32,
    pub(crate) last_error: Option<String>,
    pub(crate) started_at: Option<Timestamp>,
    pub(crate) exit_code: Option<i32>,
    pub(crate) reason: Option<String>,
    pub(crate) queue: Option<Queued>,
    pub(crate) artefacts: Option<Left>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Left {
    pub(crate) files: usize,
    pub(crate) bytes: u64,
    pub(crate) problems: usize,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Artefact {
    pub(crate) path: String,
    pub(crate) size: u64,
    pub(crate) sha256: Option<String>,
    pub(crate) problem: Option<String>,
    pub(crate) url: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct PoolWorker {
    pub(crate) id: String,
    pub(crate) status: String,
    pub(crate) draining: bool,
    pub(crate) capacity: u32,
    pub(crate) busy: usize,
    pub(crate) task_ids: Vec<String>,
    pub(crate) reason: Option<String>,
    pub(crate) message: Option<String>,
}

/// How a project stands.
#[derive(Debug, Deserialize)]
pub(crate) struct ProjectStatus {
    pub(crate) status: String,
    pub(crate) reason: Option<String>,
    pub(crate) message: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Ticket {
    pub(crate) ticket: String,
    pub(crate) expires_at: Timestamp,
}

/// A body of `POST …/shell`.
#[derive(Debug, Default, Serialize)]
struct Shell<'a> {
    command: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    stream_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timeout_seconds: Option<u64>,
}

impl Client {
    /// Has a shell line accepted in the project `demo`.
    pub(crate) async fn shell(&self, command: &str) -> Accepted {
        self.accept(&Shell { command, ..Shell::default() }).await
    }

    pub(crate) async fn shell_on(&self, stream: &str, command: &str) -> Accepted {
        self.accept(&Shell { command, stream_id: Some(stream), ..Shell::default() }).await
    }

    pub(crate) async fn shell_for(&self, seconds: u64, command: &str) -> Accepted {
        self.accept(&Shell { command, timeout_seconds: Some(seconds), ..Shell::default() }).await
    }

    async fn accept(&self, shell: &Shell<'_>) -> Accepted {
        let answer = self.post("/projects/demo/shell", shell).send().await;
        answer.json::<Data<Accepted>>(202).data
    }

    /// The answer to `POST …/git`, which may be a refusal.
    pub(crate) async fn git(&self, args: &[&str]) -> Answer {
        #[derive(Serialize)]
        struct Git<'a> {
            args: &'a [&'a str],
        }
        self.post("/projects/demo/git", &Git { args }).send().await
    }

    pub(crate) async fn command(&self, id: &str) -> Command {
        self.get(&format!("/projects/demo/commands/{id}")).send().await.json::<Data<Command>>(200).data
    }

    /// The command once it has ended.
    pub(crate) async fn ended(&self, id: &str) -> Command {
        eventually("the command's end", async || Some(self.command(id).await).filter(Command::is_over)).await
    }

    /// The command once it runs, or is over.
    pub(crate) async fn begun(&self, id: &str) -> Command {
        let begun = |command: &Command| command.status != "pending";
        eventually("the command's start", async || Some(self.command(id).await).filter(begun)).await
    }

    pub(crate) async fn cancel(&self, id: &str) -> Command {
        let call = self.call("POST", &format!("/projects/demo/commands/{id}/cancel"));
        call.send().await.json::<Data<Command>>(200).data
    }

    /// Has a task of the pool accepted.
    pub(crate) async fn add_task(&self, body: &impl Serialize) -> Task {
        self.post("/queue/tasks", body).send().await.json::<Data<Task>>(202).data
    }

    pub(crate) async fn task(&self, id: &str) -> Task {
        self.get(&format!("/queue/tasks/{id}")).send().await.json::<Data<Task>>(200).data
    }

    /// The task once it is in this status.
    pub(crate) async fn task_in(&self, id: &str, status: &str) -> Task {
        let there = async || Some(self.task(id).await).filter(|task| task.status == status);
        eventually(status, there).await
    }

    /// What a task has left, and what it was to leave.
    pub(crate) async fn artefacts(&self, id: &str) -> Vec<Artefact> {
        let path = format!("/queue/tasks/{id}/artefacts");
        self.get(&path).send().await.json::<List<Artefact>>(200).data
    }

    /// How a project stands; `None` while the server does not tell: one that has just begun knows none yet.
    pub(crate) async fn project(&self, id: &str) -> Option<ProjectStatus> {
        let answer = self.get(&format!("/projects/{id}")).send().await;
        (answer.status == 200).then(|| answer.json::<Data<ProjectStatus>>(200).data)
    }

    /// Waits until the server knows a worker that was made.
    pub(crate) async fn has_worker(&self, id: &str) {
        let path = format!("/workers/{id}");
        let known = async || (self.get(&path).send().await.status == 200).then_some(());
        eventually(id, known).await;
    }

    pub(crate) async fn worker(&self, id: &str) -> PoolWorker {
        self.get(&format!("/workers/{id}")).send().await.json::<Data<PoolWorker>>(200).data
    }

    /// Everything that the command wrote, as it wrote it.
    pub(crate) async fn output(&self, id: &str) -> bytes::Bytes {
        let answer = self.get(&format!("/projects/demo/commands/{id}/output")).send().await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.body
    }

    /// The stream's events, from after one of them or from its start.
    pub(crate) async fn follow(&self, stream: &str, after: Option<&str>) -> Events {
        let call = self.get(&format!("/projects/demo/events?stream_id={stream}"));
        match after {
            Some(id) => call.header("last-event-id", id).events().await,
            None => call.events().await,
        }
    }

    /// Runs a shell line to its end: what it wrote to standard output, line by line, and how it ended.
    pub(crate) async fn run(&self, command: &str) -> (Vec<String>, Complete) {
        let accepted = self.shell(command).await;
        let mut events = self.follow(&accepted.stream_id, None).await;
        let mut lines = Vec::new();
        loop {
            match events.event().await.told {
                Told::Output(output) => lines.push(output.line),
                Told::Complete(complete) => return (lines, complete),
                Told::Error(_) | Told::Status(_) | Told::Heartbeat(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }
}
