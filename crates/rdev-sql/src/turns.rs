use std::time::Duration;

use async_trait::async_trait;
use rdev_domain::{Result, Timestamp};
use rdev_ports::{Turn, Turns};

use crate::SqlStore;
use crate::db::{Commit, execute, write};
use crate::rows::as_micros;

/// A sign of life from beyond the next period is of a clock that was wrong: it holds nobody up.
const TAKE: &str = "INSERT INTO turns (chore, taken_us) VALUES ($1, $2)
     ON CONFLICT (chore) DO UPDATE SET taken_us = excluded.taken_us
     WHERE turns.taken_us <= $3 OR turns.taken_us > $4";

const KEEP: &str = "UPDATE turns SET taken_us = $1 WHERE chore = $2 AND taken_us = $3";

/// A row rather than an advisory lock: it also says when the chore was done last, it is the same on both
/// databases, and it holds no connection. Of two that take it at once the second sees the first one's row.
#[async_trait]
impl Turns for SqlStore {
    async fn take_turn(&self, chore: &'static str, period: Duration, now: Timestamp) -> Result<Option<Turn>> {
        let (at, period) = (now.as_micros(), as_micros(period));
        write!(&self.db, Commit::Light, |tx| {
            let taken = execute!(&mut tx, TAKE, chore, at, at - period, at + period)?;
            Ok((taken == 1).then_some(Turn { chore, at: now }))
        })
    }

    async fn keep_turn(&self, turn: Turn, now: Timestamp) -> Result<Option<Turn>> {
        write!(&self.db, Commit::Light, |tx| {
            let kept = execute!(&mut tx, KEEP, now.as_micros(), turn.chore, turn.at.as_micros())?;
            Ok((kept == 1).then_some(Turn { at: now, ..turn }))
        })
    }
}
