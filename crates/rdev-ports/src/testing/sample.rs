use std::collections::BTreeMap;
use std::fmt::Debug;
use std::str::FromStr;
use std::time::Duration;

use bytes::Bytes;
use rdev_domain::{
    Chunk, CommandRequest, IdempotencyKey, Job, JobId, JobSpec, JobState, Schedule, Seq, ShellRequest,
    Target, TaskKind, TaskRequest,
};

use super::START;
use crate::{ClaimLimits, NewJob};

/// The target of a project.
pub fn target(project: &str) -> Target {
    Target::Project(id(project))
}

/// An id, of whatever kind is wanted.
pub fn id<T: FromStr<Err: Debug>>(text: &str) -> T {
    text.parse().expect("a test names a valid id")
}

/// The `n`th command's id; a higher number sorts after a lower one.
pub(crate) fn job_id(n: u64) -> JobId {
    id(&format!("cmd-{n:032x}"))
}

/// The `n`th command, as a project's caller asks for it at [`START`].
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

/// The `n`th command, as a task of the pool that may be tried three times.
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

/// A command to be stored, without any key.
pub fn new_job(job: Job) -> NewJob {
    NewJob { job, concurrency_key: None, idempotency: None }
}

/// The idempotency key `value` of an API key, for the request that `request` stands for.
pub fn idempotency_key(key: &str, value: &str, request: u8) -> IdempotencyKey {
    IdempotencyKey { key: id(key), value: value.to_owned(), fingerprint: [request; 32] }
}

/// Output with the events `first` to `last`; the stores do not look into it.
pub fn chunk(first: u64, last: u64) -> Chunk {
    Chunk {
        first_seq: Seq(first),
        last_seq: Seq(last),
        frames: Bytes::from(format!("events {first} to {last}\n")),
    }
}

/// Room for so many commands of projects, and as many tasks of the pool.
pub fn slots(n: u32) -> ClaimLimits {
    ClaimLimits { jobs: n, pool: n }
}
