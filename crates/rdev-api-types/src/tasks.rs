//! Tasks: build, test and deploy work for the pool.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::number::{whole_number, whole_number_or_null};
use crate::{
    ArtefactSummary, AsWritten, Progress, Status, TimeoutSeconds, Timestamp, VariableName, VariableValue,
};

closed_set! {
    /// Type of a task.
    TaskType {
        /// Makes something out of a checkout.
        Build = "build",
        /// Checks a checkout.
        Test = "test",
        /// Changes something outside; tried once by default, and one at a time a repository.
        Deploy = "deploy",
        /// Anything else; needs no repository.
        Shell = "shell",
    }
}

text! {
    /// Lines for one shell.
    Step, |schema| schema.min_length(Some(1)).pattern(Some("^[^\\u0000]+$"))
}

/// Request to add a task: steps in a clean checkout.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct TaskBody {
    /// Type of the task; sets the default of `max_attempts`.
    #[serde(rename = "type")]
    #[cfg_attr(feature = "schema", schema(value_type = TaskType))]
    pub kind: AsWritten<TaskType>,
    /// Repository to check out: `https://`, `http://`, `ssh://`, `git://` or `user@host:path`. Required, but for
    /// `shell`, which without one runs in an empty folder.
    #[cfg_attr(
        feature = "schema",
        schema(min_length = 1, max_length = 2048, example = "https://github.com/example/demo.git")
    )]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repository: Option<String>,
    /// Branch, tag or commit to check out; default: the repository's default branch.
    #[cfg_attr(feature = "schema", schema(min_length = 1, max_length = 255, example = "main"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub r#ref: Option<String>,
    /// Lines for `sh -e`, each in a shell of its own, until one fails; 1 to 64.
    #[cfg_attr(feature = "schema", schema(min_items = 1, max_items = 64, example = json!(["make", "make test"])))]
    pub steps: Vec<Step>,
    /// Environment variables to set, 256 at most.
    #[cfg_attr(feature = "schema", schema(example = json!({"CI": "true"})))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub env: Option<BTreeMap<VariableName, VariableValue>>,
    /// Project that the task is done for. The pool serves projects in turn.
    #[cfg_attr(
        feature = "schema",
        schema(pattern = "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$", example = "demo")
    )]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
    /// Priority, -100 to 100: a higher one runs first; default 0.
    #[cfg_attr(feature = "schema", schema(minimum = -100, maximum = 100, default = 0))]
    #[serde(default, deserialize_with = "whole_number")]
    pub priority: i32,
    /// Earliest time of the first attempt; default: at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run_after: Option<Timestamp>,
    /// Maximum number of attempts of a round, 1 to 20; default 3, for `deploy` 1. The delay between attempts doubles,
    /// from 1 s to 10 min.
    #[cfg_attr(feature = "schema", schema(minimum = 1, maximum = 20))]
    #[serde(default, deserialize_with = "whole_number_or_null", skip_serializing_if = "Option::is_none")]
    pub max_attempts: Option<u32>,
    /// Key of which at most one task runs at a time; default: none, for `deploy` the repository.
    #[cfg_attr(feature = "schema", schema(min_length = 1, max_length = 255, example = "demo-live"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub concurrency_key: Option<String>,
    /// Time limit of an attempt; default: the server's `RDEV_COMMAND_TIMEOUT_SECONDS`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout_seconds: Option<TimeoutSeconds>,
    /// Names of credentials. This version has none: anything but an empty list is refused.
    #[cfg_attr(feature = "schema", schema(max_items = 0))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub credentials: Vec<String>,
    /// Files of the checkout to keep, also after an attempt that fails: paths, folders, or patterns of files with `*`,
    /// `?` and `**`, 32 at most. Names that begin with a dot must be written out. At most 256 files of 16 MiB in all are
    /// kept.
    #[cfg_attr(feature = "schema", schema(max_items = 32, example = json!(["target/report.xml", "dist/*.tar.gz"])))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub artefacts: Vec<String>,
}

impl TaskBody {
    /// Makes a request for these steps, with every default.
    pub fn new<T: Into<String>>(kind: TaskType, steps: impl IntoIterator<Item = T>) -> Self {
        Self {
            kind: kind.into(),
            repository: None,
            r#ref: None,
            steps: steps.into_iter().map(|step| Step(step.into())).collect(),
            env: None,
            project: None,
            priority: 0,
            run_after: None,
            max_attempts: None,
            concurrency_key: None,
            timeout_seconds: None,
            credentials: Vec::new(),
            artefacts: Vec::new(),
        }
    }
}

/// Task of the pool, with its progress.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Task {
    /// Id of the task.
    #[cfg_attr(feature = "schema", schema(example = "task-0199d7e8c0de7000a0b1c2d3e4f50617"))]
    pub id: String,
    /// Id of the task, the same as `id`.
    #[cfg_attr(feature = "schema", schema(example = "task-0199d7e8c0de7000a0b1c2d3e4f50617"))]
    pub task_id: String,
    /// Type of the task.
    #[serde(rename = "type")]
    pub kind: TaskType,
    /// Status of the task.
    pub status: Status,
    /// True once it has used up its attempts without success: it is kept, and may be retried.
    pub dead: bool,
    /// Name of its stream, the same as `id`.
    #[cfg_attr(feature = "schema", schema(example = "task-0199d7e8c0de7000a0b1c2d3e4f50617"))]
    pub stream_id: String,
    /// Path of its events.
    #[cfg_attr(
        feature = "schema",
        schema(
            example = "/queue/tasks/task-0199d7e8c0de7000a0b1c2d3e4f50617/events?stream_id=task-0199d7e8c0de7000a0b1c2d3e4f50617"
        )
    )]
    pub stream_url: String,
    /// Repository that is checked out.
    pub repository: Option<String>,
    /// Branch, tag or commit that is checked out.
    pub r#ref: Option<String>,
    /// Beginning of its steps, at most 120 characters.
    #[cfg_attr(feature = "schema", schema(example = "make; make test"))]
    pub summary: String,
    /// Project that it is done for.
    pub project: Option<String>,
    /// Priority: a higher one runs first.
    pub priority: i32,
    /// Earliest time of the next attempt: the caller's, or between attempts the end of the delay.
    pub run_after: Option<Timestamp>,
    /// Key of which at most one task runs at a time.
    pub concurrency_key: Option<String>,
    /// Number of attempts so far, in all rounds.
    pub attempts: u32,
    /// Maximum number of attempts by the end of the present round.
    pub max_attempts: u32,
    /// Cause for which the last failed attempt ended.
    #[cfg_attr(feature = "schema", schema(example = "exit_code: 2"))]
    pub last_error: Option<String>,
    /// Progress of the task.
    #[serde(flatten)]
    pub progress: Progress,
    /// Counts of collected files; null in lists, and for tasks without `artefacts`.
    pub artefacts: Option<ArtefactSummary>,
}

/// Query of a page of tasks.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::IntoParams), into_params(parameter_in = Query))]
pub struct TaskPage {
    /// Status of the tasks.
    #[cfg_attr(feature = "schema", param(value_type = Option<Status>, nullable = false, inline))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<AsWritten<Status>>,
    /// Type of the tasks.
    #[cfg_attr(feature = "schema", param(rename = "type", value_type = Option<TaskType>, nullable = false, inline))]
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<AsWritten<TaskType>>,
    /// Name of the task's stream.
    #[cfg_attr(feature = "schema", param(pattern = "^[A-Za-z0-9][A-Za-z0-9._:-]{0,127}$"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stream_id: Option<String>,
    /// Time of acceptance, as RFC 3339: only tasks of this millisecond or later.
    #[cfg_attr(feature = "schema", param(format = DateTime))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// Project that the tasks are done for.
    #[cfg_attr(feature = "schema", param(pattern = "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
    /// Most entries of the page, 1 to 200; default 50.
    #[cfg_attr(feature = "schema", param(minimum = 1, maximum = 200, default = 50))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// Value of `meta.next_cursor` of the page before.
    #[cfg_attr(feature = "schema", param(pattern = "^(task|cmd)-[0-9a-f]{32}$"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

/// Query of a task's events: the name of its stream.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::IntoParams), into_params(parameter_in = Query))]
pub struct TaskStreamQuery {
    /// Name of the task's stream, as in its `stream_url`; no other is accepted.
    #[cfg_attr(feature = "schema", param(pattern = "^[A-Za-z0-9][A-Za-z0-9._:-]{0,127}$"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stream_id: Option<String>,
}

/// Queue of the pool in numbers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct QueueStats {
    /// Number of tasks by status.
    #[cfg_attr(feature = "schema", schema(example = json!({"pending": 3, "running": 2, "completed": 40})))]
    pub by_status: BTreeMap<Status, u64>,
    /// Number of tasks by type, each by status.
    #[cfg_attr(feature = "schema", schema(example = json!({"test": {"pending": 3}})))]
    pub by_type: BTreeMap<TaskType, BTreeMap<Status, u64>>,
    /// Number of tasks that failed or timed out and have no attempt left.
    pub dead: u64,
    /// Milliseconds that the oldest pending task has waited; null where none waits.
    pub oldest_waiting_ms: Option<u64>,
    /// Number of tasks that run.
    pub running: u64,
    /// Number of tasks that workers run.
    pub workers_busy: usize,
    /// Number of tasks that workers could start now.
    pub workers_free: usize,
    /// Waiting time of the newest tasks that have ended, from acceptance or `run_after` to the start, in milliseconds;
    /// null without any.
    pub wait_ms: Option<QueueWait>,
}

/// Waiting time of tasks, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct QueueWait {
    /// Number of tasks that were measured.
    pub tasks: usize,
    /// Median.
    pub p50: u64,
    /// 95th percentile.
    pub p95: u64,
    /// Maximum.
    pub max: u64,
}
