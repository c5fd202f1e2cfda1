//! Claims: one statement decides which jobs a worker gets.

use rdev_domain::{Result, Seq, Timestamp, WorkerId};
use rdev_ports::{Claim, ClaimLimits, Fence};

use super::rows::{TaskRow, task_columns};
use crate::db::{Db, run, write_once};
use crate::error::is_unique_violation;
use crate::store::SqlStore;
use crate::values::parse;

/// Tells whether another job keeps `t` from its concurrency key. A running job holds its key, and so does a claimed one
/// until its worker releases it, even when the lease has expired: the worker may still start the job. Of the others that
/// are due the one of the highest priority is next, then the oldest. These are two subqueries: with one, Postgres reads
/// all pending jobs once for each blocked one.
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

/// Selects the jobs of a condition that may be claimed, in order.
macro_rules! claimable {
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

macro_rules! commands {
    () => {
        claimable!("t.status IN ('pending', 'running') AND NOT t.pool AND t.project <> '@operations'", "$4")
    };
}

/// Operations, which never wait for the slots of commands: some of them end commands.
macro_rules! operations {
    () => {
        claimable!("t.status IN ('pending', 'running') AND t.project = '@operations'", "$6")
    };
}

macro_rules! waiting_tasks {
    () => {
        claimable!("t.status = 'pending' AND t.pool", "$5")
    };
}

/// Running tasks of the pool whose worker process is gone, up to 256; the next claim takes the others.
macro_rules! running_tasks {
    () => {
        "SELECT t.id FROM tasks t WHERE t.status = 'running' AND t.pool = TRUE AND t.lease_until_us < $3 LIMIT 256"
    };
}

/// The fencing token is the time of the claim, or the last token + 1: unique even if the server crashes and loses an
/// unflushed claim.
macro_rules! claim {
    ($from:literal, $begin:literal, $between:literal, $end:literal) => {
        concat!(
            "UPDATE tasks SET lease_owner = $1, lease_until_us = $2,
                              attempt = CASE WHEN attempt < $3 THEN $3 ELSE attempt + 1 END",
            $from,
            " WHERE id ",
            $begin,
            commands!(),
            $between,
            operations!(),
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

/// Skips rows that another process is claiming, which are seen as they were before. The index `tasks_by_held_key` keeps
/// two processes from claiming different jobs of one key at once. The arrays make sure that the inner queries, and with
/// them their limits, are evaluated once.
///
/// Does not wait for a flush: a claim has effects only through later writes, whose flush includes earlier ones.
pub(crate) const CLAIM_BESIDE_OTHERS: &str = claim!(
    " FROM (SELECT set_config('synchronous_commit', 'off', TRUE)) AS light",
    "= ANY (ARRAY(",
    " FOR UPDATE OF t SKIP LOCKED) || ARRAY(",
    " FOR UPDATE OF t SKIP LOCKED))"
);

/// Maximum number of attempts to claim. A claim that conflicts with another one of the same key begins again; each time,
/// one of both has succeeded.
const CLAIM_ATTEMPTS: u32 = 5;

pub(super) async fn claim(
    store: &SqlStore,
    worker: &WorkerId,
    limits: ClaimLimits,
    now: Timestamp,
    lease_until: Timestamp,
) -> Result<Vec<Claim>> {
    let mut attempts = 1;
    let mut rows = loop {
        match try_claim(store, worker, limits, now, lease_until).await {
            // Another process claims a job of the same key.
            Err(error) if attempts < CLAIM_ATTEMPTS && is_unique_violation(&error) => attempts += 1,
            rows => break rows?,
        }
    };
    rows.sort_by(|a, b| {
        let rank = |row: &TaskRow| (row.pool && row.pod_uid.is_none(), -row.priority, row.virtual_time);
        rank(a).cmp(&rank(b)).then_with(|| a.id.cmp(&b.id))
    });
    rows.iter().map(claim_of).collect()
}

async fn try_claim(
    store: &SqlStore,
    worker: &WorkerId,
    limits: ClaimLimits,
    now: Timestamp,
    lease_until: Timestamp,
) -> Result<Vec<TaskRow>> {
    let sql = match &store.db {
        Db::Sqlite { .. } => CLAIM,
        Db::Postgres(_) => CLAIM_BESIDE_OTHERS,
    };
    write_once!(&store.db, |tx| {
        run!(
            &mut tx,
            fetch_all,
            query_as<TaskRow>,
            sql,
            worker.as_str(),
            lease_until.as_micros(),
            now.as_micros(),
            i64::from(limits.commands),
            i64::from(limits.pool),
            i64::from(limits.operations),
        )
    })
}

fn claim_of(row: &TaskRow) -> Result<Claim> {
    Ok(Claim {
        fence: Fence { id: parse(&row.id)?, token: row.token },
        job: row.job()?,
        last_seq: Seq(row.last_seq as u64),
        pod_uid: row.pod_uid.clone(),
        slot: row.slot()?,
    })
}
