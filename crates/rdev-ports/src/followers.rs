//! Followers of the event log: readers of all targets, each with a stored cursor.

use std::time::Duration;

use async_trait::async_trait;
use rdev_domain::{Entry, Position, Result, Timestamp};

/// Time for which retention waits for the slowest follower, beyond the age at which retention would remove a job:
/// 7 days.
pub const FOLLOWER_PATIENCE: Duration = Duration::from_secs(7 * 24 * 3600);

/// Time after the end of a job for which the deletion of the job's project waits for the slowest follower: 5 min. It is
/// shorter than the time for which a step of an operation is repeated, so that a follower which stands still delays a
/// deletion, and fails none.
pub const DELETION_PATIENCE: Duration = Duration::from_secs(5 * 60);

/// Name of a follower, the same in all processes on a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Follower(&'static str);

impl Follower {
    /// Names a follower.
    pub const fn new(name: &'static str) -> Self {
        Self(name)
    }

    /// Returns the name.
    pub fn as_str(self) -> &'static str {
        self.0
    }
}

/// The event log as its followers read it: the entries of all targets, without output, in the order of their positions.
///
/// A position is settled when nothing can appear at it, or before it, any more. Followers read up to a settled position:
/// no entry appears before a cursor.
#[async_trait]
pub trait LogFollower: Send + Sync {
    /// Returns the cursor of a follower. The cursor of a new follower is stored at a settled position which no entry
    /// exceeds that was stored before this call.
    async fn open(&self, follower: Follower, now: Timestamp) -> Result<Position>;

    /// Returns up to `limit` entries after a position, and whether retention has removed entries beyond the stored
    /// cursor. Waits for no writer: an entry that is not settled yet is in a later batch. A batch ends before an entry
    /// that cannot be read.
    ///
    /// # Errors
    /// `Internal` when the first entry cannot be read.
    async fn read(&self, follower: Follower, after: Position, limit: u32) -> Result<FollowedBatch>;

    /// Moves the cursor of a follower from one position to a later one, and tells whether the cursor was at the first. A
    /// call that comes again, because its answer was lost, tells the same.
    async fn advance(&self, follower: Follower, from: Position, to: Position, now: Timestamp)
    -> Result<bool>;

    /// Removes the cursor of a follower that reads no more: retention waits for it no longer. Does nothing when there is
    /// none.
    async fn close(&self, follower: Follower) -> Result<()>;

    /// Returns what lies after the stored cursor of a follower.
    async fn unread(&self, follower: Follower) -> Result<Unread>;
}

/// Part of the log that a follower has not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unread {
    /// The follower has no cursor: nobody has opened it.
    NoCursor,
    /// The follower has read everything.
    Nothing,
    /// The first entry that the follower has not read is of this time.
    Since(Timestamp),
}

/// Entries of one read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FollowedBatch {
    /// The entries, in order; none is output.
    pub entries: Vec<FollowedEntry>,
    /// Position after which the next read goes on.
    pub next: Position,
    /// Entries that retention has removed unread. Each read tells them until the cursor has passed them, so that the next
    /// process tells a gap again whose first teller died before it moved the cursor.
    pub gap: Option<FollowerGap>,
    /// State of the log beyond `next`.
    pub rest: Rest,
}

/// Entry, with what a follower cannot know from earlier ones: it may have been another process that read these.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FollowedEntry {
    /// The entry.
    pub entry: Entry,
    /// Wait of the job that has ended with this entry: from its acceptance, or the time before which it must not run, to
    /// its last start. `None` for any other entry, for a job that never started, and for a former end.
    pub waited: Option<Duration>,
}

/// Entries that retention removed before a follower has read them: any number after `after`, up to `to` inclusive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FollowerGap {
    /// Position after which the follower read.
    pub after: Position,
    /// Position of the last removed entry.
    pub to: Position,
}

/// State of the log beyond a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rest {
    /// Nothing was stored.
    Nothing,
    /// Entries may be read at once.
    More,
    /// Positions are assigned that are not settled: a later read returns their entries.
    Unsettled,
}
