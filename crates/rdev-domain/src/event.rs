use bytes::Bytes;

use serde::{Deserialize, Serialize};

use crate::{Failure, JobId, JobStatus, Outcome, StreamId, Target, Timestamp};

/// Sequence number of an event in its stream: 1, 2, 3 … without gaps, given by the runner at the source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Seq(pub u64);

/// Place of an entry in the log: grows with every entry of every stream.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position(pub u64);

impl Seq {
    /// Before the first event.
    pub const ZERO: Self = Self(0);

    /// The number after this one.
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// The number before this one.
    pub fn before(self) -> Self {
        Self(self.0.saturating_sub(1))
    }
}

impl Position {
    /// Before the first entry.
    pub const ZERO: Self = Self(0);

    /// After any entry.
    pub const MAX: Self = Self(u64::MAX);

    /// The place right before this one.
    pub fn before(self) -> Self {
        Self(self.0.saturating_sub(1))
    }
}

/// Output on its way into the log: whole frames of the runner, opaque to the stores.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunk {
    /// Number of the first event in it.
    pub first_seq: Seq,
    /// Number of the last event in it.
    pub last_seq: Seq,
    /// The frames, one after the other.
    pub frames: Bytes,
}

/// One entry of the event log: the unit that is stored, and read again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its place in the log.
    pub position: Position,
    /// Where the command belongs.
    pub target: Target,
    /// The command that it tells about.
    pub job: JobId,
    /// The command's stream.
    pub stream: StreamId,
    /// Number of its first event; a status has the number of the event before it, and takes none.
    pub first_seq: Seq,
    /// Number of its last event.
    pub last_seq: Seq,
    /// When it was stored.
    pub at: Timestamp,
    /// What it says.
    pub body: EntryBody,
}

/// How an attempt ended that is followed by another one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retrying {
    /// Number of the attempt that follows.
    pub attempt: u32,
    /// Why the attempt before is not the last: its reason, or `retried` by hand.
    pub reason: String,
    /// The same for people.
    pub message: String,
    /// Tells whether it takes a number: that of a complete event in whose place earlier versions have put it.
    pub counted: bool,
}

/// What an entry says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EntryBody {
    /// The command has reached a status that is not its last.
    Status(JobStatus),
    /// Something keeps a started command from running. It is over with the next entry.
    Stalled(Failure),
    /// An attempt is over, and the command waits for the next one.
    Retry(Retrying),
    /// Output, as frames of the runner.
    Output(Bytes),
    /// The command is over; nothing follows in its stream.
    Complete(Outcome),
    /// It was over, and somebody has asked for one more round: what was complete when it was stored is this from
    /// then on, under the same number.
    FormerEnd(Outcome),
}

impl Entry {
    /// Bytes of output that it holds.
    pub fn output_bytes(&self) -> usize {
        match &self.body {
            EntryBody::Output(frames) => frames.len(),
            EntryBody::Status(_)
            | EntryBody::Stalled(_)
            | EntryBody::Retry(_)
            | EntryBody::Complete(_)
            | EntryBody::FormerEnd(_) => 0,
        }
    }

    /// Whether it is the last of its stream.
    pub fn is_last(&self) -> bool {
        matches!(self.body, EntryBody::Complete(_))
    }
}
