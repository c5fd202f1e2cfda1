//! Samples: jobs, ids and output for tests.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::str::FromStr;
use std::time::Duration;

use bytes::Bytes;
use rdev_domain::{
    AgentRequest, Chunk, CommandRequest, IdempotencyKey, Job, JobId, JobIdPrefix, JobSpec, JobState, LogView,
    OnFailure, OperationRequest, Schedule, Seq, ShellRequest, Target, TaskKind, TaskRequest,
};

use super::START;
use crate::ClaimLimits;

/// Returns the target of a project.
pub fn target(project: &str) -> Target {
    Target::Project(id(project))
}

/// Returns the view of a project's log.
pub fn log_of(project: &str) -> LogView {
    LogView::of_project(id(project))
}

/// Parses an id of any kind.
pub fn id<T: FromStr<Err: Debug>>(text: &str) -> T {
    text.parse().expect("a test names a valid id")
}

/// Returns the `n`th job's id; a higher number sorts after a lower one.
pub(crate) fn job_id(n: u64) -> JobId {
    JobId::new(JobIdPrefix::Command, n.into())
}

/// Returns the `n`th operation's id; a higher number sorts after a lower one.
pub(crate) fn operation_id(n: u64) -> JobId {
    JobId::new(JobIdPrefix::Operation, n.into())
}

/// Makes the `n`th job as the creation of a project.
pub fn operation(project: &str, n: u64) -> Job {
    let id = operation_id(n);
    let request =
        OperationRequest::CreateProject { project: self::id(project), on_failure: OnFailure::Rollback };
    Job { stream: (&id).into(), id, spec: JobSpec::Operation(request), ..job(project, n) }
}

/// Makes the `n`th job: a shell command of a project, accepted at [`START`].
pub fn job(project: &str, n: u64) -> Job {
    let job = job_id(n);
    Job {
        stream: (&job).into(),
        id: job,
        spec: JobSpec::Command {
            project: id(project),
            request: CommandRequest::Shell(ShellRequest {
                command: format!("echo {n}"),
                ..ShellRequest::default()
            }),
        },
        timeout: Duration::from_secs(60),
        created_by: id("key-1"),
        created_at: START,
        cancel_requested: false,
        schedule: Schedule::default(),
        state: JobState::Pending,
    }
}

/// Makes the `n`th job as a Claude command; those of a project have one concurrency key, its workspace.
pub fn agent(project: &str, n: u64) -> Job {
    let request =
        CommandRequest::Claude(AgentRequest { prompt: format!("think of {n}"), ..AgentRequest::default() });
    Job { spec: JobSpec::Command { project: id(project), request }, ..job(project, n) }
}

/// Makes the `n`th job as a task of the pool with up to three attempts.
pub fn task(kind: TaskKind, n: u64) -> Job {
    let work = TaskRequest {
        kind,
        repository: None,
        git_ref: None,
        steps: vec![format!("echo {n}")],
        env: BTreeMap::new(),
        artefacts: Vec::new(),
        project: None,
        concurrency_key: None,
    };
    let schedule = Schedule { max_attempts: 3, ..Schedule::default() };
    Job { spec: JobSpec::Task(work), schedule, ..job("demo", n) }
}

/// Makes the `n`th job as a task of the pool that is done for a project.
pub fn task_for(project: &str, n: u64) -> Job {
    let mut task = task(TaskKind::Build, n);
    let JobSpec::Task(work) = &mut task.spec else { panic!("{} is no task", task.id) };
    work.project = Some(id(project));
    task
}

/// Gives a task of the pool a concurrency key.
pub fn keyed(mut task: Job, key: &str) -> Job {
    let JobSpec::Task(work) = &mut task.spec else { panic!("{} is no task", task.id) };
    work.concurrency_key = Some(key.to_owned());
    task
}

/// Makes the idempotency key `value` of an API key; `request` is the fingerprint of the request.
pub fn idempotency_key(key: &str, value: &str, request: u8) -> IdempotencyKey {
    IdempotencyKey { key: id(key), value: value.to_owned(), fingerprint: [request; 32] }
}

/// Makes output with the events `first` to `last`, whose content the stores ignore.
pub fn chunk(first: u64, last: u64) -> Chunk {
    Chunk {
        first_seq: Seq(first),
        last_seq: Seq(last),
        frames: Bytes::from(format!("events {first} to {last}\n")),
    }
}

/// Makes limits of `n` commands of projects, `n` operations, and `n` tasks of the pool.
pub fn slots(n: u32) -> ClaimLimits {
    ClaimLimits { commands: n, operations: n, pool: n }
}
