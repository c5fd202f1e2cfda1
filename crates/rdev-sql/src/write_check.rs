//! A write without content, which proves that the store can be written.

use std::sync::Arc;
use std::time::Duration;

use rdev_domain::Result;
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::db::{Commit, Db, execute, write};
use crate::error::Shared;

/// Time for which a successful write counts: frequent checks must not load the disk.
const VALID_FOR: Duration = Duration::from_secs(1);

/// Counts up. A commit without a change writes nothing, and so flushes nothing.
const COUNT: &str = "INSERT INTO periodic_leases AS l (job_name, acquired_us) VALUES ('write-check', 1)
     ON CONFLICT (job_name) DO UPDATE SET acquired_us = l.acquired_us + 1";

/// Writes as many pages as the acceptance of a task needs, more than a number does: a file with less room is full, though
/// a little can still be written to it. The pages replace those of the last check.
const TAKE_ROOM: &str = "INSERT INTO periodic_leases (job_name, acquired_us) VALUES ('write-check ' || hex(randomblob(16384)), 1)";
const FREE_ROOM: &str =
    "DELETE FROM periodic_leases WHERE job_name > 'write-check ' AND job_name < 'write-check!'";

/// The last write. Those who ask during a write get its result, and nobody waits for two.
#[derive(Debug, Clone, Default)]
pub(crate) struct WriteCheck(Arc<Mutex<Option<Last>>>);

#[derive(Debug)]
struct Last {
    at: Instant,
    done: std::result::Result<(), Shared>,
}

/// Writes as much as the acceptance of a task does.
async fn write_as_much_as_a_task(db: &Db) -> Result<()> {
    write!(db, Commit::Durable, |tx| {
        if let Db::Sqlite { .. } = db {
            execute!(&mut tx, FREE_ROOM)?;
            execute!(&mut tx, TAKE_ROOM)?;
        }
        execute!(&mut tx, COUNT).map(|_| ())
    })
}

impl WriteCheck {
    /// Checks that the store can be written.
    pub(crate) async fn check(&self, db: &Db) -> Result<()> {
        let asked = Instant::now();
        let mut last = self.0.lock().await;
        match &*last {
            Some(Last { at, done: Err(error) }) if *at >= asked => return Err(error.error()),
            Some(Last { at, done: Ok(()) }) if at.elapsed() < VALID_FOR => return Ok(()),
            _ => {}
        }
        let done = write_as_much_as_a_task(db).await.map_err(Shared::new);
        let answer = done.as_ref().map_err(Shared::error).copied();
        *last = Some(Last { at: Instant::now(), done });
        answer
    }
}
