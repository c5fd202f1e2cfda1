//! The event log: the one source of everything that a subscriber reads.

use async_trait::async_trait;
use rdev_domain::{Chunk, Entry, JobId, LogView, Position, Result, Seq, Timestamp};

use crate::Fence;

/// Output bytes at which a read ends, with the entry that reaches them: 128 KiB. Bounds a slow reader's memory.
pub const READ_BYTES: usize = 128 * 1024;

/// The event log. Entries are stored by this port's `append`, and by the changes of the queue that they report.
#[async_trait]
pub trait EventLog: Send + Sync {
    /// Stores the next output of a running job, all of it or nothing. Each of `chunks` begins right after the one
    /// before. A call that comes again, because its answer was lost, stores nothing and returns the entries of the
    /// first call.
    ///
    /// # Errors
    /// `LeaseLost` when the fence is not the job's latest claim, when the job does not run, or when the first chunk does
    /// not begin right after the last stored event: another worker has written.
    async fn append(&self, fence: &Fence, chunks: Vec<Chunk>, now: Timestamp) -> Result<Vec<Entry>>;

    /// Returns up to `limit` entries of a job after a position, in order; fewer, but not none, once they hold
    /// [`READ_BYTES`] of output. The end of a task that was reopened since reads as a former end: at most one entry of
    /// a read is the last of its stream, and nothing follows it.
    async fn read_job(&self, id: &JobId, after: Position, limit: u32) -> Result<Vec<Entry>>;

    /// Returns up to `limit` entries of a view after a position, in order; fewer, but not none, once they hold
    /// [`READ_BYTES`] of output. No entry ever appears before one that was returned. Without a project the read ends at the
    /// last position that is known to be settled, before which nothing appears any more: [`EventLog::last`] looks anew.
    async fn read_view(&self, view: &LogView, after: Position, limit: u32) -> Result<Vec<Entry>>;

    /// Returns the position of a job's last entry with no event after `seq`: a reader who has that event reads on after
    /// it. A status counts as read with the event before it; to read everything, begin at [`Position::ZERO`].
    async fn position_of(&self, id: &JobId, seq: Seq) -> Result<Position>;

    /// Returns the positions of the last entries of many jobs, without those that have none.
    async fn ends(&self, ids: &[JobId]) -> Result<Vec<(JobId, Position)>>;

    /// Returns the position of a view's last entry up to `to` inclusive, output included; [`Position::ZERO`] when there is
    /// none. Without a project and with [`Position::MAX`] waits until everything is settled that was stored before the
    /// call, which takes as long as the transactions that write then.
    async fn last(&self, view: &LogView, to: Position) -> Result<Position>;

    /// Returns the position of the last entry of a view, output included, that was stored before a time;
    /// [`Position::ZERO`] when there is none. A clock that was set back makes this a position near that time.
    async fn last_before(&self, view: &LogView, at: Timestamp) -> Result<Position>;

    /// Returns the number of a job's last event that was stored before a time; `None` when the job has no entry of before.
    async fn seq_before(&self, id: &JobId, at: Timestamp) -> Result<Option<Seq>>;

    /// Returns the last position in a view at which retention removed an entry, output included; [`Position::ZERO`] when
    /// the log is whole. Asked after a read, the answer covers everything that the read missed.
    async fn pruned(&self, view: &LogView) -> Result<Position>;

    /// Returns the number of a job's last stored event, also of one that retention removed since; `None` when there is
    /// no such job.
    async fn last_seq(&self, id: &JobId) -> Result<Option<Seq>>;

    /// Makes everything that was stored before this call survive the death of the machine. Call it before freeing data
    /// whose only other copy is in the log.
    async fn flush(&self) -> Result<()>;
}
