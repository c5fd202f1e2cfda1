//! The time, as the Postgres server tells it.
//!
//! Replicas compare each other's leases with the time, so they must have the same one, whatever somebody does to
//! the clock of a machine: one that is ahead would take the others' commands from them, and what it had leased
//! when it died would be nobody's for as long as it was ahead. Between two looks at the server's clock time passes
//! as the machine counts it, which setting a clock does not change.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rdev_domain::{Result, Timestamp};
use rdev_ports::{Clock, spawn_for_good};
use sqlx::PgPool;
use tokio::task::AbortHandle;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::db::Transaction;
use crate::db::{Db, bounded};
use crate::error::database;

/// The server's time of day in microseconds.
const NOW: &str = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::BIGINT";
/// Pause between two looks at the server's clock.
const LOOK: Duration = Duration::from_secs(10);
/// A machine whose clock differs by more confuses people who compare logs; nothing else.
pub(crate) const SKEW_MAX: Duration = Duration::from_secs(2);

/// The clock of a server. Its task ends with it.
pub(crate) struct PostgresClock {
    hand: Arc<Mutex<Hand>>,
    looking: AbortHandle,
}

/// What time it was when.
#[derive(Debug, Clone, Copy)]
struct Hand {
    time: Timestamp,
    at: Instant,
}

/// The server's clock has shown this, at some moment from the question to the answer.
#[derive(Debug, Clone, Copy)]
struct Seen {
    time: Timestamp,
    asked: Instant,
    answered: Instant,
}

impl PostgresClock {
    /// Looks at the server's clock, now and then again and again. `failed` tells when that has ended.
    pub(crate) async fn start(pool: &PgPool, own: &dyn Clock, failed: &CancellationToken) -> Result<Self> {
        let seen = look(pool).await?;
        let (time, own) = (seen.time, own.now());
        if time.since(own).max(own.since(time)) > SKEW_MAX {
            tracing::warn!(database = %time, machine = %own, "the clocks differ: that of the database counts");
        }
        let hand = Arc::new(Mutex::new(Hand { time, at: seen.answered }));
        let looking = spawn_for_good(failed, keep(pool.clone(), hand.clone()));
        Ok(Self { hand, looking })
    }
}

impl Clock for PostgresClock {
    fn now(&self) -> Timestamp {
        lock(&self.hand).at(Instant::now())
    }
}

impl Drop for PostgresClock {
    fn drop(&mut self) {
        self.looking.abort();
    }
}

impl Hand {
    fn at(self, moment: Instant) -> Timestamp {
        self.time + moment.saturating_duration_since(self.at)
    }

    /// As far as what was seen contradicts it, it was wrong: a slow answer says little, and moves nothing.
    fn corrected(self, seen: Seen) -> Self {
        let latest = seen.time + seen.answered.saturating_duration_since(seen.asked);
        Self { time: self.at(seen.answered).clamp(seen.time, latest), at: seen.answered }
    }
}

async fn keep(pool: PgPool, hand: Arc<Mutex<Hand>>) {
    let mut tick = interval(LOOK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        match look(&pool).await {
            Ok(seen) => {
                let mut hand = lock(&hand);
                let before = hand.at(seen.answered);
                *hand = hand.corrected(seen);
                if hand.time.since(before).max(before.since(hand.time)) > SKEW_MAX {
                    tracing::warn!(from = %before, to = %hand.time, "the database's clock was set");
                }
            }
            // Time passes without it.
            Err(error) => tracing::debug!(?error, "the database's clock was not seen"),
        }
    }
}

async fn look(pool: &PgPool) -> Result<Seen> {
    bounded(&Db::Postgres(pool.clone()), async {
        let mut work = Transaction::reading(pool).await?;
        let asked = Instant::now();
        let micros = sqlx::query_scalar(NOW).fetch_one(work.connection()?).await.map_err(database);
        let answered = Instant::now();
        let time = Timestamp::from_micros(work.end(micros).await?);
        Ok(Seen { time, asked, answered })
    })
    .await
}

fn lock(hand: &Mutex<Hand>) -> MutexGuard<'_, Hand> {
    hand.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn at_noon() -> Hand {
        Hand { time: Timestamp::from_micros(0), at: Instant::now() }
    }

    #[test]
    fn time_passes_between_two_looks() {
        let hand = at_noon();
        assert_eq!(hand.at(hand.at + 5 * MS), hand.time + 5 * MS);
        assert_eq!(hand.at(hand.at - 5 * MS), hand.time);
    }

    #[test]
    fn it_is_set_by_what_contradicts_it_alone() {
        let hand = at_noon();
        let (asked, answered) = (hand.at + 10 * MS, hand.at + 14 * MS);
        // When it was asked, when it answered, an hour ahead, an hour behind.
        let hour = Duration::from_secs(3_600);
        for (told, then) in [
            (hand.time + 10 * MS, hand.time + 14 * MS),
            (hand.time + 14 * MS, hand.time + 14 * MS),
            (hand.time + hour, hand.time + hour),
            (Timestamp::from_micros(-3_600_000_000), Timestamp::from_micros(-3_600_000_000 + 4_000)),
        ] {
            let corrected = hand.corrected(Seen { time: told, asked, answered });
            assert_eq!(corrected.at(answered), then, "{told}");
        }
    }
}
