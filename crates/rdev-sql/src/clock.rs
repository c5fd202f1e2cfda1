//! The clock of the Postgres server.
//!
//! Replicas compare each other's leases with the time, so they must share one clock, whatever somebody does to the clock
//! of a machine: a replica whose clock is ahead would take the others' jobs, and after its death its leases would last
//! for as long as it was ahead. Between two looks at the server's clock, time passes by the machine's monotonic clock,
//! which setting the time of day does not change.

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

/// Selects the server's time of day in microseconds.
const NOW: &str = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::BIGINT";
/// Pause between two looks at the server's clock.
const LOOK: Duration = Duration::from_secs(10);
/// Difference between the clocks of machine and server above which a warning is logged: it confuses people who compare
/// logs, and nothing else.
pub(crate) const SKEW_MAX: Duration = Duration::from_secs(2);

/// Clock of a server. Its background task ends when it is dropped.
pub(crate) struct PostgresClock {
    hand: Arc<Mutex<Hand>>,
    looking: AbortHandle,
}

/// Time of day at a moment of the monotonic clock.
#[derive(Debug, Clone, Copy)]
struct Hand {
    time: Timestamp,
    at: Instant,
}

/// Time that the server's clock showed at some moment between question and answer.
#[derive(Debug, Clone, Copy)]
struct Seen {
    time: Timestamp,
    asked: Instant,
    answered: Instant,
}

impl PostgresClock {
    /// Looks at the server's clock, now and every 10 s. `failed` is cancelled when that has ended.
    pub(crate) async fn start(pool: &PgPool, own: &dyn Clock, failed: &CancellationToken) -> Result<Self> {
        let seen = look(pool).await?;
        let (time, own) = (seen.time, own.now());
        if time.since(own).max(own.since(time)) > SKEW_MAX {
            tracing::warn!(database = %time, machine = %own, "the clocks of database and machine differ, using that of the database");
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

    /// Returns the time, moved into the interval that was seen: a slow answer says little, and moves nothing.
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
            // Time passes by the monotonic clock meanwhile.
            Err(error) => tracing::debug!(?error, "looking at the clock of the database failed"),
        }
    }
}

async fn look(pool: &PgPool) -> Result<Seen> {
    bounded(&Db::Postgres(pool.clone()), async {
        let mut transaction = Transaction::reading(pool).await?;
        let asked = Instant::now();
        let micros = sqlx::query_scalar(NOW).fetch_one(transaction.connection()?).await.map_err(database);
        let answered = Instant::now();
        let time = Timestamp::from_micros(transaction.end(micros).await?);
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
