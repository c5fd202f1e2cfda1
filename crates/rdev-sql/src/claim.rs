//! Claiming: which commands a worker takes, in one statement.

use rdev_domain::{Error, Result, Seq, Timestamp, WorkerId};
use rdev_ports::{Claim, ClaimLimits, Fence};

use crate::SqlStore;
use crate::db::{Db, run, write_once};
use crate::rows::{TaskRow, parse, task_columns};

/// Whether another task keeps `t` from its concurrency key. A running command holds its key, and so does a
/// claimed one until its worker gives it back, even when the lease has run out: the worker may still start it.
/// Of the others that are due the one of the highest priority is next, then the oldest. These are two questions:
/// as one, Postgres reads all that waits, once for each that is blocked.
macro_rules! key_is_held {
    ($now:literal) => {
        concat!(
            "(EXISTS (SELECT 1 FROM tasks o WHERE o.holds_key = t.concurrency_key AND o.id <> t.id)
              OR t.holds_key IS NULL AND EXISTS (
                  SELECT 1 FROM tasks o
                  WHERE o.concurrency_key = t.concurrency_key AND o.status IN ('pending', 'running')
                    AND o.status = 'pending' AND o.run_after_us <= ",
            $now,
            " AND (o.priority > t.priority OR o.priority = t.priority AND o.id < t.id)))"
        )
    };
}
pub(crate) use key_is_held;

/// What may be claimed of the rest of a query.
macro_rules! first {
    ($of:literal, $limit:literal) => {
        concat!(
            "SELECT t.id FROM tasks t WHERE ",
            $of,
            " AND t.lease_until_us < $3 AND t.run_after_us <= $3
              AND (t.concurrency_key IS NULL OR NOT ",
            key_is_held!("$3"),
            ") ORDER BY t.priority DESC, t.turn, t.id LIMIT ",
            $limit
        )
    };
}

macro_rules! jobs {
    () => {
        first!("t.status IN ('pending', 'running') AND NOT t.pool", "$4")
    };
}

macro_rules! waiting_tasks {
    () => {
        first!("t.status = 'pending' AND t.pool", "$5")
    };
}

/// Tasks of the pool that run, and whose worker process is gone: more than these are for the next claim.
macro_rules! running_tasks {
    () => {
        "SELECT t.id FROM tasks t WHERE t.status = 'running' AND t.pool = TRUE AND t.lease_until_us < $3 LIMIT 256"
    };
}

/// The number of a claim is its time, or the next one: also a claim that a crash of the server has forgotten
/// shares its number with none.
macro_rules! claim {
    ($from:literal, $begin:literal, $between:literal, $end:literal) => {
        concat!(
            "UPDATE tasks SET lease_owner = $1, lease_until_us = $2,
                              attempt = CASE WHEN attempt < $3 THEN $3 ELSE attempt + 1 END",
            $from,
            " WHERE id ",
            $begin,
            jobs!(),
            $between,
            waiting_tasks!(),
            $between,
            running_tasks!(),
            $end,
            " RETURNING ",
            task_columns!()
        )
    };
}

pub(crate) const CLAIM: &str = claim!("", "IN (SELECT id FROM (", ") UNION ALL SELECT id FROM (", "))");

/// What another process is claiming is passed over; it is seen as it was before. Two that claim different
/// commands of one key at once are kept apart by the index `tasks_by_held_key`. The arrays make
/// sure that the inner queries, and with them their limits, are evaluated once.
///
/// It waits for no flush: nobody acts upon a claim but through a later write, whose flush is also of what was
/// written before.
pub(crate) const CLAIM_BESIDE_OTHERS: &str = claim!(
    " FROM (SELECT set_config('synchronous_commit', 'off', TRUE)) AS light",
    "= ANY (ARRAY(",
    " FOR UPDATE OF t SKIP LOCKED) || ARRAY(",
    " FOR UPDATE OF t SKIP LOCKED))"
);

/// Claims that met another one of the same key begin again; each time, one of them has gone on.
const CLAIM_ATTEMPTS: u32 = 5;

impl SqlStore {
    pub(crate) async fn claim_first(
        &self,
        worker: &WorkerId,
        slots: ClaimLimits,
        now: Timestamp,
        lease_until: Timestamp,
    ) -> Result<Vec<Claim>> {
        let mut attempts = 1;
        let mut rows = loop {
            match self.try_claim(worker, slots, now, lease_until).await {
                Err(error) if attempts < CLAIM_ATTEMPTS && met_another(&error) => attempts += 1,
                rows => break rows?,
            }
        };
        rows.sort_by(|a, b| {
            let rank = |row: &TaskRow| (row.pool && row.place_uid.is_none(), -row.priority, row.turn);
            rank(a).cmp(&rank(b)).then_with(|| a.id.cmp(&b.id))
        });
        rows.iter().map(claim).collect()
    }

    async fn try_claim(
        &self,
        worker: &WorkerId,
        slots: ClaimLimits,
        now: Timestamp,
        lease_until: Timestamp,
    ) -> Result<Vec<TaskRow>> {
        let sql = match &self.db {
            Db::Sqlite { .. } => CLAIM,
            Db::Postgres(_) => CLAIM_BESIDE_OTHERS,
        };
        write_once!(&self.db, |tx| {
            run!(
                &mut tx,
                fetch_all,
                query_as<TaskRow>,
                sql,
                worker.as_str(),
                lease_until.as_micros(),
                now.as_micros(),
                i64::from(slots.jobs),
                i64::from(slots.pool),
            )
        })
    }
}

/// Whether a claim has met another process's of the same key.
fn met_another(error: &Error) -> bool {
    let Error::Internal(source) = error else {
        return false;
    };
    let error = source.downcast_ref::<sqlx::Error>().and_then(sqlx::Error::as_database_error);
    error.is_some_and(sqlx::error::DatabaseError::is_unique_violation)
}

fn claim(row: &TaskRow) -> Result<Claim> {
    Ok(Claim {
        fence: Fence { id: parse(&row.id)?, token: row.attempt },
        job: row.job()?,
        last_seq: Seq(row.last_seq as u64),
        pod_uid: row.place_uid.clone(),
        slot: row.slot()?,
    })
}
