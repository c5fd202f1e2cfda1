use async_trait::async_trait;
use rdev_domain::{Chunk, CommandId, Entry, Position, ProjectId, Result, Seq, Timestamp};

use crate::Fence;

/// The event log: the one source of everything that a subscriber reads.
#[async_trait]
pub trait EventLog: Send + Sync {
    /// Stores the next output of a command, all of it or nothing, in the order of `chunks`.
    ///
    /// # Errors
    /// `LeaseLost` when the fence is not the command's latest claim, or when the first chunk does not
    /// begin right after the last event that is stored: somebody else has written.
    async fn append(&self, fence: &Fence, chunks: Vec<Chunk>, now: Timestamp) -> Result<Vec<Entry>>;

    /// Up to `limit` entries of a command that come after `after`, in order.
    async fn read_command(&self, id: &CommandId, after: Position, limit: u32) -> Result<Vec<Entry>>;

    /// Up to `limit` entries of all commands of a project that come after `after`, in order. An entry
    /// never appears before one that was already returned.
    async fn read_project(&self, project: &ProjectId, after: Position, limit: u32) -> Result<Vec<Entry>>;

    /// The last entry of a command that says nothing after `seq`: reading goes on after it.
    async fn position_of(&self, id: &CommandId, seq: Seq) -> Result<Position>;

    /// The last entry of a project; [`Position::ZERO`] when it has none.
    async fn head(&self, project: &ProjectId) -> Result<Position>;
}
