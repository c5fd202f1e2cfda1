use async_trait::async_trait;
use rdev_domain::{Chunk, Entry, JobId, Position, Result, Seq, Target, Timestamp};

use crate::Fence;

/// A read ends with the entry that makes it hold this many bytes: a slow reader's memory is bounded.
pub const READ_BYTES: usize = 128 * 1024;

/// The event log: the one source of everything that a subscriber reads.
#[async_trait]
pub trait EventLog: Send + Sync {
    /// Stores the next output of a running command, all of it or nothing, in the order of `chunks`, each of
    /// which begins right after the one before it. Asked for again, because its answer was lost, it stores
    /// nothing, and the entries of the first time come back.
    ///
    /// # Errors
    /// `LeaseLost` when the fence is not the command's latest claim, when the command does not run, or when
    /// the first chunk does not begin right after the last event that is stored: somebody else has written.
    async fn append(&self, fence: &Fence, chunks: Vec<Chunk>, now: Timestamp) -> Result<Vec<Entry>>;

    /// Up to `limit` entries of a command that come after `after`, in order; fewer, but not none, once they
    /// hold [`READ_BYTES`] of output. The end of a task that was reopened since reads as a former end: of what is
    /// read at once one entry at most is the last of its stream, and nothing follows it.
    async fn read_job(&self, id: &JobId, after: Position, limit: u32) -> Result<Vec<Entry>>;

    /// Up to `limit` entries of all commands of a home that come after `after`, in order; fewer, but not
    /// none, once they hold [`READ_BYTES`] of output. An entry of a project never appears before one that was already
    /// returned; of the pool this holds for each task.
    async fn read_target(&self, target: &Target, after: Position, limit: u32) -> Result<Vec<Entry>>;

    /// The last entry of a command that says nothing after `seq`: reading goes on after it. A status counts
    /// as said with the event before it; to read everything, begin at [`Position::ZERO`].
    async fn position_of(&self, id: &JobId, seq: Seq) -> Result<Position>;

    /// The last entries of many commands; those without any are not among them.
    async fn ends(&self, ids: &[JobId]) -> Result<Vec<(JobId, Position)>>;

    /// The last entry of a home that does not lie beyond `to`; [`Position::ZERO`] when it has none.
    async fn last(&self, target: &Target, to: Position) -> Result<Position>;

    /// The last position in a home's log at which retention has removed an entry; others may be missing before
    /// it. [`Position::ZERO`] when the log is whole. Whoever asks after a read is told of all that the read has
    /// missed.
    async fn pruned(&self, target: &Target) -> Result<Position>;

    /// Number of the last event of a command that was stored, whether or not it is still there; `None` when the
    /// command is not.
    async fn last_seq(&self, id: &JobId) -> Result<Option<Seq>>;

    /// Makes all that was stored before this call survive the death of the machine. It is called before anything
    /// is freed that the log holds the only other copy of.
    async fn flush(&self) -> Result<()>;
}
