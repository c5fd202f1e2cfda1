//! The event log, and retention.

mod append;
pub(crate) mod entries;
pub(crate) mod followers;
pub(crate) mod prune;
pub(crate) mod read;
pub(crate) mod rows;
pub(crate) mod settled;

use async_trait::async_trait;
use rdev_domain::{Chunk, Entry, JobId, Position, Result, Seq, Target, Timestamp};
use rdev_ports::{EventLog, Fence, PruneRule, Retention, StepReport};

use crate::db::Db;
use crate::store::SqlStore;
use crate::write_check::write_through;

#[async_trait]
impl EventLog for SqlStore {
    async fn append(&self, fence: &Fence, chunks: Vec<Chunk>, now: Timestamp) -> Result<Vec<Entry>> {
        append::append(self, fence, chunks, now).await
    }

    async fn read_job(&self, id: &JobId, after: Position, limit: u32) -> Result<Vec<Entry>> {
        read::read_job(self, id, after, limit).await
    }

    async fn read_target(&self, target: &Target, after: Position, limit: u32) -> Result<Vec<Entry>> {
        read::read_target(self, target, after, limit).await
    }

    async fn position_of(&self, id: &JobId, seq: Seq) -> Result<Position> {
        read::position_of(self, id, seq).await
    }

    async fn ends(&self, ids: &[JobId]) -> Result<Vec<(JobId, Position)>> {
        read::ends(self, ids).await
    }

    async fn last(&self, target: &Target, to: Position) -> Result<Position> {
        read::last(self, target, to).await
    }

    async fn pruned(&self, target: &Target) -> Result<Position> {
        read::pruned(self, target).await
    }

    async fn last_seq(&self, id: &JobId) -> Result<Option<Seq>> {
        read::last_seq(self, id).await
    }

    async fn flush(&self) -> Result<()> {
        match &self.db {
            Db::Sqlite { .. } => write_through(&self.db).await,
            // Postgres flushes with each commit that anybody can see.
            Db::Postgres(_) => Ok(()),
        }
    }
}

#[async_trait]
impl Retention for SqlStore {
    async fn prune(&self, rule: PruneRule) -> Result<StepReport> {
        prune::prune(self, rule).await
    }
}
