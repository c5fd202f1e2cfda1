//! Event log: positions, sequence numbers and entries.

use bytes::Bytes;

use serde::{Deserialize, Serialize};

use crate::{Failure, JobId, JobKind, JobStatus, Outcome, ProjectId, StepChange, StreamId, Timestamp};

/// Sequence number of an event in its stream: 1, 2, 3 … without gaps, assigned by the runner at the
/// source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Seq(pub u64);

/// Position of an entry in the log: grows with every entry of every stream.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position(pub u64);

impl Seq {
    /// Before the first event.
    pub const ZERO: Self = Self(0);

    /// Returns the following number.
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// Returns the preceding number.
    pub fn before(self) -> Self {
        Self(self.0.saturating_sub(1))
    }
}

impl Position {
    /// Before the first entry.
    pub const ZERO: Self = Self(0);

    /// After every entry.
    pub const MAX: Self = Self(u64::MAX);

    /// Returns the preceding position.
    pub fn before(self) -> Self {
        Self(self.0.saturating_sub(1))
    }
}

/// Output to append to the log: whole frames of the runner, opaque to the stores.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunk {
    /// Number of the first event in the chunk.
    pub first_seq: Seq,
    /// Number of the last event in the chunk.
    pub last_seq: Seq,
    /// The frames, one after the other.
    pub frames: Bytes,
}

/// One entry of the event log: the unit of storage and of reading.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Position in the log.
    pub position: Position,
    /// The job that the entry is about.
    pub job: JobId,
    /// Kind of the job.
    pub kind: JobKind,
    /// Project that the job is done for; a task may have none.
    pub project: Option<ProjectId>,
    /// Stream of the job.
    pub stream: StreamId,
    /// Number of the first event; a status has the number of the event before it, and takes none.
    pub first_seq: Seq,
    /// Number of the last event.
    pub last_seq: Seq,
    /// Time of storage.
    pub at: Timestamp,
    /// Content of the entry.
    pub body: EntryBody,
}

/// End of an attempt that another one follows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retrying {
    /// Number of the attempt that follows.
    pub attempt: u32,
    /// Reason for another attempt: the reason of the failed one, or `retried` by hand.
    pub reason: String,
    /// The reason in a sentence for people.
    pub message: String,
    /// True for an entry that has a number of its own: earlier versions wrote it over a complete event,
    /// under that event's number.
    pub counted: bool,
}

/// Content of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EntryBody {
    /// The job has reached a status that is not final.
    Status(JobStatus),
    /// A failure keeps a started job from running. The next entry ends the stall.
    Stalled(Failure),
    /// An attempt has ended, and the job waits for the next one.
    Retry(Retrying),
    /// A step of an operation has reached another state.
    Step(StepChange),
    /// Output, as frames of the runner.
    Output(Bytes),
    /// The job has ended; no entry follows in its stream.
    Complete(Outcome),
    /// The end before a retry by hand: a stored `Complete` that becomes this entry under the same number.
    FormerEnd(Outcome),
}

/// Part of the log that a reader of many jobs follows.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct LogView {
    /// The project whose log is read; `None` reads the logs of all projects, of the pool and of the operations.
    pub project: Option<ProjectId>,
    /// False leaves output out.
    pub output: bool,
}

impl LogView {
    /// The entries of all jobs without output: what has become of them.
    pub const CHANGES: Self = Self { project: None, output: false };

    /// Returns the view of everything in the log of a project: its commands, and the tasks that are done for it.
    pub fn of_project(project: ProjectId) -> Self {
        Self { project: Some(project), output: true }
    }
}

impl Entry {
    /// Returns the project in whose log the entry is: that of a command, and of a task that is done for a project. An
    /// operation outlives its project, and is in no project's log.
    pub fn log_project(&self) -> Option<&ProjectId> {
        match self.kind {
            JobKind::Command(_) | JobKind::Task(_) => self.project.as_ref(),
            JobKind::Operation(_) => None,
        }
    }

    /// Returns the number of bytes of output in the entry.
    pub fn output_bytes(&self) -> usize {
        match &self.body {
            EntryBody::Output(frames) => frames.len(),
            EntryBody::Status(_)
            | EntryBody::Stalled(_)
            | EntryBody::Retry(_)
            | EntryBody::Step(_)
            | EntryBody::Complete(_)
            | EntryBody::FormerEnd(_) => 0,
        }
    }

    /// Tells whether the entry is the last of its stream.
    pub fn is_last(&self) -> bool {
        matches!(self.body, EntryBody::Complete(_))
    }
}
