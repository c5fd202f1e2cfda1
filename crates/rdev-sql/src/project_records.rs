//! Records of a project: what its deletion removes from the store.

use async_trait::async_trait;
use rdev_domain::{JobId, ProjectId, Result, Target, Timestamp};
use rdev_ports::{ProjectRecords, StepReport};

use crate::db::{Commit, execute, read, write};
use crate::log::prune::remove_jobs_of;
use crate::store::SqlStore;
use crate::values::{parse, target};

/// Commands and tasks of the project `$1` that have not ended. Operations are no work in the project.
pub(crate) const UNFINISHED_OF: &str = "SELECT j.target, j.id FROM queue q JOIN jobs j ON j.id = q.id
     WHERE q.lane <> 2 AND q.project = $1 ORDER BY q.id LIMIT $2";

/// Removes at most 512 keys in one transaction.
const REMOVE_KEYS_OF: &str = "DELETE FROM idempotency_keys WHERE (key_id, value) IN (
         SELECT k.key_id, k.value FROM idempotency_keys k JOIN jobs j ON j.id = k.job_id
         WHERE j.project = $1 AND j.target <> '@operations' LIMIT 512)";

#[async_trait]
impl ProjectRecords for SqlStore {
    async fn unfinished_of(&self, project: &ProjectId, limit: u32) -> Result<Vec<(Target, JobId)>> {
        let rows = read!(
            &self.db,
            fetch_all,
            query_as<(String, String)>,
            UNFINISHED_OF,
            project.as_str(),
            i64::from(limit),
        )?;
        rows.iter().map(|(of, id)| Ok((target(of)?, parse(id)?))).collect()
    }

    async fn remove_keys(&self, project: &ProjectId) -> Result<u64> {
        write!(&self.db, Commit::Visible, |tx| { execute!(&mut tx, REMOVE_KEYS_OF, project.as_str()) })
    }

    async fn remove_records(&self, project: &ProjectId, now: Timestamp) -> Result<StepReport> {
        // A removal that a crash undoes is done again.
        write!(&self.db, Commit::Visible, |tx| { remove_jobs_of(&mut tx, project, now).await })
    }
}
