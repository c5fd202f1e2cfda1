//! Rows of the log, and the entries that they stand for.

use bytes::Bytes;
use rdev_domain::{
    Ending, Entry, EntryBody, Failure, JobStatus, Outcome, Position, Reason, Result, Seq, Timestamp,
};
use serde::{Deserialize, Serialize};

use crate::error::{about, unreadable};
use crate::row::row;
use crate::values::{as_micros, job_kind, micros, parse, project_of};

/// All columns that an [`EventRow`] reads.
macro_rules! event_columns {
    () => {
        "e.position, e.job_id, j.target, j.kind AS job_kind, j.project, j.stream, e.kind, e.first_seq, e.last_seq, \
         e.at_us, e.body, j.exit_code, j.reason, j.message, j.duration_us, j.status"
    };
}
pub(crate) use event_columns;

/// Selects the entries of the job `$1` that match the rest of the condition.
macro_rules! entries_where {
    ($condition:literal) => {
        concat!(
            "SELECT ",
            $crate::log::rows::event_columns!(),
            " FROM entries e JOIN jobs j ON j.id = e.job_id WHERE e.job_id = $1 AND ",
            $condition
        )
    };
}
pub(crate) use entries_where;

/// Condition on an entry: the end of a job that was not reopened since. It names the kinds so that the index of followers
/// serves it.
macro_rules! is_end {
    () => {
        "kind <> 'output' AND kind = 'complete' AND length(body) = 0"
    };
}
pub(crate) use is_end;

pub(crate) const KIND_STATUS: &str = "status";
pub(crate) const KIND_STALLED: &str = "stalled";
pub(crate) const KIND_RETRY: &str = "retry";
pub(crate) const KIND_STEP: &str = "step";
pub(crate) const KIND_OUTPUT: &str = "output";
pub(crate) const KIND_COMPLETE: &str = "complete";

row! {
    /// A row of the table `entries`, with the columns of its job that its entry needs.
    #[derive(Debug)]
    pub(crate) struct EventRow {
        position: i64,
        job_id: String,
        target: String,
        job_kind: String,
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
        status: Option<String>,
    }
}

impl EventRow {
    pub(crate) fn entry(self) -> Result<Entry> {
        let position = self.position;
        self.read().map_err(|error| about(error, format_args!("entry {position}")))
    }

    fn read(self) -> Result<Entry> {
        Ok(Entry {
            position: Position(self.position as u64),
            job: parse(&self.job_id)?,
            kind: job_kind(&self.target, &self.job_kind)?,
            project: project_of(&self.project)?,
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
                        .ok_or_else(|| unreadable("failure", &self.job_id))?,
                ),
                KIND_RETRY => EntryBody::Retry(
                    serde_json::from_slice(&self.body).map_err(|_| unreadable("retry", &self.job_id))?,
                ),
                KIND_STEP => EntryBody::Step(
                    serde_json::from_slice(&self.body).map_err(|_| unreadable("step", &self.job_id))?,
                ),
                KIND_COMPLETE if !self.body.is_empty() => EntryBody::FormerEnd(
                    FormerEnd::read(&self.body).ok_or_else(|| unreadable("former end", &self.job_id))?,
                ),
                // The outcome stands in the job's row, until the job is reopened.
                KIND_COMPLETE => EntryBody::Complete(Outcome {
                    ending: (self.status.as_deref().and_then(JobStatus::parse))
                        .and_then(|status| Ending::from_status_and_reason(status, self.reason.as_deref()))
                        .ok_or_else(|| unreadable("ending", &self.job_id))?,
                    exit_code: self.exit_code,
                    message: self.message,
                    duration: micros(self.duration_us.unwrap_or(0)),
                }),
                other => return Err(unreadable("event kind", &other)),
            },
        })
    }
}

/// Body of a complete entry whose task was reopened.
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

/// Body of an entry about a [`Failure`].
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
