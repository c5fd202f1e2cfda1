//! A write that changes nothing of value: it proves that the store can be written, and on SQLite flushes all that was
//! written before.

use std::sync::Arc;
use std::time::Duration;

use rdev_domain::Result;
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::SqlStore;
use crate::db::{Commit, Db, execute, write};
use crate::error::Shared;

/// A write that went well is believed for so long: who asks often must not load the disk.
const BELIEVED: Duration = Duration::from_secs(1);

/// A commit without a change writes nothing, and so flushes nothing: this one counts.
const COUNT: &str = "INSERT INTO turns (chore, taken_us) VALUES ('write-check', 1)
     ON CONFLICT (chore) DO UPDATE SET taken_us = turns.taken_us + 1";

/// Pages for accepting a task, which are more than a number needs: a file that has room for less is full, though a little can
/// still be written to it. They are written anew each time, in the place of the last ones.
const TAKE_ROOM: &str =
    "INSERT INTO turns (chore, taken_us) VALUES ('write-check ' || hex(randomblob(16384)), 1)";
const GIVE_ROOM_BACK: &str = "DELETE FROM turns WHERE chore > 'write-check ' AND chore < 'write-check!'";

/// The last write. Those who ask while it is under way are told how it ended, and nobody waits for two.
#[derive(Debug, Clone, Default)]
pub(crate) struct WriteCheck(Arc<Mutex<Option<Last>>>);

#[derive(Debug)]
struct Last {
    at: Instant,
    done: std::result::Result<(), Shared>,
}

impl SqlStore {
    /// Writes, and waits until the disk has it.
    pub(crate) async fn write_through(&self) -> Result<()> {
        write!(&self.db, Commit::Durable, |tx| { execute!(&mut tx, COUNT).map(|_| ()) })
    }

    /// Writes as much as work needs.
    async fn write_as_work_does(&self) -> Result<()> {
        write!(&self.db, Commit::Durable, |tx| {
            if let Db::Sqlite { .. } = &self.db {
                execute!(&mut tx, GIVE_ROOM_BACK)?;
                execute!(&mut tx, TAKE_ROOM)?;
            }
            execute!(&mut tx, COUNT).map(|_| ())
        })
    }

    /// Fails when the store cannot be written, or could not a moment ago.
    pub(crate) async fn check_writes(&self) -> Result<()> {
        let asked = Instant::now();
        let mut last = self.write_check.0.lock().await;
        match &*last {
            Some(Last { at, done: Err(error) }) if *at >= asked => return Err(error.error()),
            Some(Last { at, done: Ok(()) }) if at.elapsed() < BELIEVED => return Ok(()),
            _ => {}
        }
        let done = self.write_as_work_does().await.map_err(Shared::new);
        let answer = done.as_ref().map_err(Shared::error).copied();
        *last = Some(Last { at: Instant::now(), done });
        answer
    }
}
