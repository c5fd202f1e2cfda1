//! Rows as they lie in the database, and the domain types that they stand for.

use std::time::Duration;

use bytes::Bytes;
use rdev_domain::{
    Ending, Entry, EntryBody, Failure, Job, JobState, JobStatus, Outcome, Position, Reason, Result, Schedule,
    Seq, Timestamp,
};
use rdev_ports::Slot;
use serde::{Deserialize, Serialize};
use sqlx::FromRow;

use crate::error::{about, unreadable};

/// All columns that a [`TaskRow`] reads.
macro_rules! task_columns {
    () => {
        "id, project, stream, request, timeout_us, created_by, created_us, cancel_requested, status, attempt, \
         last_seq, place_uid, started_us, ended_us, exit_code, reason, message, duration_us, pool, priority, turn, \
         run_after_us, tries, earlier_tries, max_attempts, last_error, worker, seat"
    };
}
pub(crate) use task_columns;

#[derive(Debug, FromRow)]
pub(crate) struct TaskRow {
    pub(crate) id: String,
    project: String,
    stream: String,
    request: String,
    timeout_us: i64,
    created_by: String,
    created_us: i64,
    cancel_requested: bool,
    status: String,
    pub(crate) attempt: i64,
    pub(crate) last_seq: i64,
    pub(crate) place_uid: Option<String>,
    started_us: Option<i64>,
    ended_us: Option<i64>,
    exit_code: Option<i32>,
    reason: Option<String>,
    message: Option<String>,
    duration_us: Option<i64>,
    pub(crate) pool: bool,
    pub(crate) priority: i32,
    pub(crate) turn: i64,
    run_after_us: i64,
    pub(crate) tries: i32,
    earlier_tries: i32,
    max_attempts: i32,
    last_error: Option<String>,
    worker: Option<String>,
    seat: i32,
}

impl TaskRow {
    pub(crate) fn job(&self) -> Result<Job> {
        self.read().map_err(|error| about(error, format_args!("task {}", self.id)))
    }

    fn read(&self) -> Result<Job> {
        Ok(Job {
            id: parse(&self.id)?,
            spec: crate::target::spec(&self.project, &self.request, &self.id)?,
            stream: parse(&self.stream)?,
            timeout: micros(self.timeout_us),
            created_by: parse(&self.created_by)?,
            created_at: Timestamp::from_micros(self.created_us),
            cancel_requested: self.cancel_requested,
            schedule: self.schedule(),
            state: self.state()?,
        })
    }

    pub(crate) fn slot(&self) -> Result<Option<Slot>> {
        slot(self.worker.as_deref(), self.seat)
    }

    /// What keeps it from running, while it has not ended.
    fn failure(&self) -> Result<Option<Failure>> {
        let failure = |reason: &String| {
            let message = self.message.clone().unwrap_or_default();
            let reason = Reason::parse(reason).ok_or_else(|| unreadable("reason", reason))?;
            Ok(Failure { reason, message })
        };
        self.reason.as_ref().map(failure).transpose()
    }

    fn schedule(&self) -> Schedule {
        Schedule {
            priority: self.priority,
            run_after: (self.run_after_us > 0).then(|| Timestamp::from_micros(self.run_after_us)),
            max_attempts: self.max_attempts.unsigned_abs(),
            attempts: self.tries.unsigned_abs(),
            earlier_attempts: self.earlier_tries.unsigned_abs(),
            last_error: self.last_error.clone(),
        }
    }

    fn state(&self) -> Result<JobState> {
        let status = JobStatus::parse(&self.status).ok_or_else(|| unreadable("status", &self.status))?;
        let started_at = self.started_us.map(Timestamp::from_micros);
        match (status, started_at) {
            (JobStatus::Pending, _) => Ok(JobState::Pending),
            (JobStatus::Running, Some(started_at)) => {
                Ok(JobState::Running { started_at, failure: self.failure()? })
            }
            (_, started_at) => {
                let ending = Ending::from_status_and_reason(status, self.reason.as_deref());
                let (Some(ending), Some(ended_us)) = (ending, self.ended_us) else {
                    return Err(unreadable("state", &(&self.id, &self.status, &self.reason)));
                };
                let outcome = Outcome {
                    ending,
                    exit_code: self.exit_code,
                    message: self.message.clone(),
                    duration: micros(self.duration_us.unwrap_or(0)),
                };
                Ok(JobState::Ended { started_at, ended_at: Timestamp::from_micros(ended_us), outcome })
            }
        }
    }
}

/// All columns that an [`EventRow`] reads.
macro_rules! event_columns {
    () => {
        "e.position, e.task_id, t.project, t.stream, e.kind, e.first_seq, e.last_seq, e.at_us, e.body, \
         t.exit_code, t.reason, t.message, t.duration_us, t.status"
    };
}
pub(crate) use event_columns;

pub(crate) const KIND_STATUS: &str = "status";
pub(crate) const KIND_STALLED: &str = "stalled";
pub(crate) const KIND_RETRY: &str = "retry";
pub(crate) const KIND_OUTPUT: &str = "output";
pub(crate) const KIND_COMPLETE: &str = "complete";

#[derive(Debug, FromRow)]
pub(crate) struct EventRow {
    position: i64,
    task_id: String,
    project: String,
    stream: String,
    kind: String,
    first_seq: i64,
    last_seq: i64,
    at_us: i64,
    body: Vec<u8>,
    exit_code: Option<i32>,
    reason: Option<String>,
    message: Option<String>,
    duration_us: Option<i64>,
    status: String,
}

impl EventRow {
    pub(crate) fn entry(self) -> Result<Entry> {
        let position = self.position;
        self.read().map_err(|error| about(error, format_args!("event {position}")))
    }

    fn read(self) -> Result<Entry> {
        Ok(Entry {
            position: Position(self.position as u64),
            target: crate::target::target(&self.project)?,
            job: parse(&self.task_id)?,
            stream: parse(&self.stream)?,
            first_seq: Seq(self.first_seq as u64),
            last_seq: Seq(self.last_seq as u64),
            at: Timestamp::from_micros(self.at_us),
            body: match self.kind.as_str() {
                KIND_OUTPUT => EntryBody::Output(Bytes::from(self.body)),
                KIND_STATUS => EntryBody::Status(status_of(&self.body)?),
                KIND_STALLED => EntryBody::Stalled(
                    serde_json::from_slice::<Stalled>(&self.body)
                        .ok()
                        .and_then(Stalled::failure)
                        .ok_or_else(|| unreadable("trouble", &self.task_id))?,
                ),
                KIND_RETRY => EntryBody::Retry(
                    serde_json::from_slice(&self.body).map_err(|_| unreadable("retry", &self.task_id))?,
                ),
                KIND_COMPLETE if !self.body.is_empty() => EntryBody::FormerEnd(
                    FormerEnd::read(&self.body).ok_or_else(|| unreadable("former end", &self.task_id))?,
                ),
                // The outcome stands in the task's row, until the task is reopened.
                KIND_COMPLETE => EntryBody::Complete(Outcome {
                    ending: JobStatus::parse(&self.status)
                        .and_then(|status| Ending::from_status_and_reason(status, self.reason.as_deref()))
                        .ok_or_else(|| unreadable("ending", &self.task_id))?,
                    exit_code: self.exit_code,
                    message: self.message,
                    duration: micros(self.duration_us.unwrap_or(0)),
                }),
                other => return Err(unreadable("event kind", &other)),
            },
        })
    }
}

/// The body of a complete entry whose task was reopened.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct FormerEnd {
    status: String,
    reason: Option<String>,
    exit_code: Option<i32>,
    message: Option<String>,
    duration_us: i64,
}

impl FormerEnd {
    pub(crate) fn of(outcome: &Outcome) -> Self {
        Self {
            status: JobStatus::from(outcome.ending).as_str().to_owned(),
            reason: outcome.ending.reason().map(str::to_owned),
            exit_code: outcome.exit_code,
            message: outcome.message.clone(),
            duration_us: as_micros(outcome.duration),
        }
    }

    fn read(body: &[u8]) -> Option<Outcome> {
        let former: Self = serde_json::from_slice(body).ok()?;
        let status = JobStatus::parse(&former.status)?;
        Some(Outcome {
            ending: Ending::from_status_and_reason(status, former.reason.as_deref())?,
            exit_code: former.exit_code,
            message: former.message,
            duration: micros(former.duration_us),
        })
    }
}

/// A [`Failure`] as it lies in the body of an event.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Stalled {
    reason: String,
    message: String,
}

impl Stalled {
    pub(crate) fn by(failure: &Failure) -> Self {
        Self { reason: failure.reason.as_str().to_owned(), message: failure.message.clone() }
    }

    fn failure(self) -> Option<Failure> {
        Some(Failure { reason: Reason::parse(&self.reason)?, message: self.message })
    }
}

fn status_of(body: &[u8]) -> Result<JobStatus> {
    std::str::from_utf8(body).ok().and_then(JobStatus::parse).ok_or_else(|| unreadable("status", &body))
}

pub(crate) fn slot(worker: Option<&str>, number: i32) -> Result<Option<Slot>> {
    let slot = |worker| Ok(Slot { worker: parse(worker)?, number: number.unsigned_abs() });
    worker.map(slot).transpose()
}

pub(crate) fn parse<T: std::str::FromStr>(text: &str) -> Result<T> {
    text.parse().map_err(|_| unreadable("id", &text))
}

pub(crate) fn micros(value: i64) -> Duration {
    Duration::from_micros(u64::try_from(value).unwrap_or(0))
}

pub(crate) fn as_micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}
