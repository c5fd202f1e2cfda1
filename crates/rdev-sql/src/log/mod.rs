//! The event log, and retention.

mod append;
pub(crate) mod entries;
pub(crate) mod followers;
pub(crate) mod prune;
pub(crate) mod read;
pub(crate) mod rows;
pub(crate) mod settled;
pub(crate) mod times;
pub(crate) mod views;

use async_trait::async_trait;
use rdev_domain::{Chunk, Entry, JobId, LogView, Position, Result, Seq, Timestamp};
use rdev_ports::{EventLog, Fence, PruneRule, Retention, StepReport};

use crate::db::Commit;
use crate::store::SqlStore;

#[async_trait]
impl EventLog for SqlStore {
    async fn append(&self, fence: &Fence, chunks: Vec<Chunk>, now: Timestamp) -> Result<Vec<Entry>> {
        append::append(self, fence, chunks, now).await
    }

    async fn read_job(&self, id: &JobId, after: Position, limit: u32) -> Result<Vec<Entry>> {
        read::read_job(self, id, after, limit).await
    }

    async fn read_view(&self, view: &LogView, after: Position, limit: u32) -> Result<Vec<Entry>> {
        views::read_view(self, view, after, limit).await
    }

    async fn position_of(&self, id: &JobId, seq: Seq) -> Result<Position> {
        read::position_of(self, id, seq).await
    }

    async fn ends(&self, ids: &[JobId]) -> Result<Vec<(JobId, Position)>> {
        read::ends(self, ids).await
    }

    async fn last(&self, view: &LogView, to: Position) -> Result<Position> {
        views::last(self, view, to).await
    }

    async fn last_before(&self, view: &LogView, at: Timestamp) -> Result<Position> {
        times::last_before(self, view, at).await
    }

    async fn seq_before(&self, id: &JobId, at: Timestamp) -> Result<Option<Seq>> {
        times::seq_before(self, id, at).await
    }

    async fn pruned(&self, view: &LogView) -> Result<Position> {
        views::pruned(self, view).await
    }

    async fn last_seq(&self, id: &JobId) -> Result<Option<Seq>> {
        read::last_seq(self, id).await
    }

    async fn flush(&self) -> Result<()> {
        self.db.ended(Commit::Durable).await
    }
}

#[async_trait]
impl Retention for SqlStore {
    async fn prune(&self, rule: PruneRule) -> Result<StepReport> {
        prune::prune(self, rule).await
    }
}
