//! The log is followed.

use async_trait::async_trait;
use rdev_domain::{EntryBody, Position, Result, Timestamp};
use rdev_ports::{FollowedBatch, FollowedEntry, Follower, FollowerGap, LogFollower, Rest, Unread};

use super::rows::EventRow;
use super::views::{READ_CHANGES, READ_CHANGES_ON_POSTGRES};
use crate::db::{Commit, Tx, execute, read, run, write};
use crate::row::row;
use crate::store::SqlStore;
use crate::values::micros;

macro_rules! oldest_unread {
    ($index:literal) => {
        concat!(
            "SELECT (SELECT e.at_us FROM entries e",
            $index,
            " WHERE e.position > c.position AND e.kind <> 'output' ORDER BY e.position LIMIT 1)
              FROM log_cursors c WHERE c.follower = $1"
        )
    };
}

pub(crate) const OLDEST_UNREAD: &str = oldest_unread!(" INDEXED BY entries_of_followers");
pub(crate) const OLDEST_UNREAD_ON_POSTGRES: &str = oldest_unread!("");

const CURSOR: &str = "SELECT position FROM log_cursors WHERE follower = $1";

const OPEN: &str = "INSERT INTO log_cursors (follower, position, updated_us) VALUES ($1, $2, $3)
     ON CONFLICT (follower) DO NOTHING";

const ADVANCE: &str = "UPDATE log_cursors SET position = $1, updated_us = $2
     WHERE follower = $3 AND (position = $4 OR position = $1)";

const CLOSE: &str = "DELETE FROM log_cursors WHERE follower = $1";

const GAP: &str = "SELECT gap_to FROM log_cursors WHERE follower = $1 AND gap_to > $2";

const SLOWEST: &str = "SELECT MIN(position) FROM log_cursors";

const MARK_GAP: &str = "UPDATE log_cursors SET gap_to = $1 WHERE position < $1 AND gap_to < $1";

row! {
    /// An entry, and the wait of its job.
    #[derive(Debug)]
    struct FollowedRow {
        event: EventRow = flatten,
        waited_us: Option<i64>,
    }
}

impl FollowedRow {
    fn followed(self) -> Result<FollowedEntry> {
        let entry = self.event.entry()?;
        // The times of any other entry's job are not final, and those of a former end are a later attempt's.
        let waited_us = self.waited_us.filter(|_| matches!(entry.body, EntryBody::Complete(_)));
        Ok(FollowedEntry { entry, waited: waited_us.map(micros) })
    }
}

#[async_trait]
impl LogFollower for SqlStore {
    async fn open(&self, follower: Follower, now: Timestamp) -> Result<Position> {
        let name = follower.as_str();
        let stored = read!(&self.db, fetch_optional, query_scalar<i64>, CURSOR, name)?;
        if let Some(stored) = stored {
            return Ok(Position(stored as u64));
        }
        let end = self.settled.end(&self.db).await?;
        // Of several processes the first decides.
        write!(&self.db, Commit::Visible, |tx| {
            execute!(&mut tx, OPEN, name, end, now.as_micros())?;
            let stored = run!(&mut tx, fetch_one, query_scalar<i64>, CURSOR, name)?;
            Ok(Position(stored as u64))
        })
    }

    async fn read(&self, follower: Follower, after: Position, limit: u32) -> Result<FollowedBatch> {
        let settled = self.settled.of(&self.db).await?;
        let (after_position, to) = (after.0 as i64, settled.to.max(after.0 as i64));
        let sql = self.db.text([READ_CHANGES, READ_CHANGES_ON_POSTGRES]);
        let rows =
            read!(&self.db, fetch_all, query_as<FollowedRow>, sql, after_position, to, i64::from(limit))?;
        // Asked after the entries: the gap covers all that the read missed.
        let gap = read!(&self.db, fetch_optional, query_scalar<i64>, GAP, follower.as_str(), after_position)?;
        let found = rows.len();
        let entries = readable(rows)?;
        let last = entries.last().filter(|_| found >= limit as usize || entries.len() < found);
        Ok(FollowedBatch {
            next: last.map_or(Position(to as u64), |last| last.entry.position),
            gap: gap.map(|to| FollowerGap { after, to: Position(to as u64) }),
            rest: match last {
                Some(_) => Rest::More,
                None if to < settled.last => Rest::Unsettled,
                None => Rest::Nothing,
            },
            entries,
        })
    }

    async fn advance(
        &self,
        follower: Follower,
        from: Position,
        to: Position,
        now: Timestamp,
    ) -> Result<bool> {
        let (from, to) = (from.0 as i64, to.0 as i64);
        // A cursor that a crash of the server sets back would have others told twice.
        write!(&self.db, Commit::Visible, |tx| {
            let moved = execute!(&mut tx, ADVANCE, to, now.as_micros(), follower.as_str(), from)?;
            Ok(moved == 1)
        })
    }

    async fn close(&self, follower: Follower) -> Result<()> {
        write!(&self.db, Commit::Visible, |tx| {
            execute!(&mut tx, CLOSE, follower.as_str())?;
            Ok(())
        })
    }

    async fn unread(&self, follower: Follower) -> Result<Unread> {
        let sql = self.db.text([OLDEST_UNREAD, OLDEST_UNREAD_ON_POSTGRES]);
        let at = read!(&self.db, fetch_optional, query_scalar<Option<i64>>, sql, follower.as_str())?;
        Ok(match at {
            None => Unread::NoCursor,
            Some(None) => Unread::Nothing,
            Some(Some(at)) => Unread::Since(Timestamp::from_micros(at)),
        })
    }
}

/// Returns the entries before the first row that cannot be read.
///
/// # Errors
/// When that is the first row.
fn readable(rows: Vec<FollowedRow>) -> Result<Vec<FollowedEntry>> {
    let mut entries = Vec::with_capacity(rows.len());
    for row in rows {
        match row.followed() {
            Ok(entry) => entries.push(entry),
            Err(error) if entries.is_empty() => return Err(error),
            Err(_) => break,
        }
    }
    Ok(entries)
}

/// Returns the cursor of the slowest follower; `None` when there is no follower.
pub(super) async fn slowest(tx: &mut Tx) -> Result<Option<i64>> {
    run!(tx, fetch_one, query_scalar<Option<i64>>, SLOWEST)
}

/// Notes for the followers whose cursors lie before a position that the entries up to the position are removed.
pub(super) async fn mark_gap(tx: &mut Tx, to: i64) -> Result<()> {
    execute!(tx, MARK_GAP, to).map(|_| ())
}
