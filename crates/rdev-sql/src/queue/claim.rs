//! Claims: one statement decides which jobs a worker gets.

use std::collections::BTreeMap;

use rdev_domain::{Lane, Result, Seq, Timestamp, WorkerId};
use rdev_ports::{Claim, ClaimLimits, Fence};

use super::rows::{JobRow, is_leased, job_columns};
use crate::db::{Tx, execute, run, write_once};
use crate::error::is_unique_violation;
use crate::row::row;
use crate::store::SqlStore;
use crate::values::{lane_column, parse};

/// Tells whether another job of its concurrency key keeps `q` waiting: it is not the head of the key, or another one holds
/// the key, as a running job does, and a claimed one until its worker releases it, even when the lease has expired: the
/// worker may still start the job.
macro_rules! key_is_held {
    () => {
        "(q.ready = FALSE OR EXISTS (SELECT 1 FROM queue o WHERE o.holds_key = q.concurrency_key AND o.id <> q.id))"
    };
}
pub(crate) use key_is_held;

/// Selects the jobs of a lane that may be claimed, in order: those that are in line.
macro_rules! claimable {
    ($lane:literal, $limit:literal) => {
        concat!(
            "SELECT q.id FROM queue q WHERE q.lane = ",
            $lane,
            " AND q.ready = TRUE AND q.postponed_until_us < $2 AND q.run_after_us <= $2
              AND (q.lease_owner IS NULL OR NOT ",
            is_leased!(),
            ") AND (q.concurrency_key IS NULL OR NOT ",
            key_is_held!(),
            ") ORDER BY q.priority DESC, q.virtual_time, q.id LIMIT ",
            $limit
        )
    };
}

macro_rules! commands {
    () => {
        claimable!("0", "$3")
    };
}

macro_rules! waiting_tasks {
    () => {
        claimable!("1 AND q.started_us IS NULL", "$4")
    };
}

/// Operations, which never wait for the slots of commands: some of them end commands.
macro_rules! operations {
    () => {
        claimable!("2", "$5")
    };
}

/// Running tasks of the pool whose worker process is gone, up to 256; the next claim takes the others.
macro_rules! running_tasks {
    () => {
        concat!(
            "SELECT q.id FROM queue q WHERE q.worker IS NOT NULL AND q.postponed_until_us < $2
             AND (q.lease_owner IS NULL OR NOT ",
            is_leased!(),
            ") LIMIT 256"
        )
    };
}

/// The fencing token is the time of the claim, or the last token + 1: unique even if the server crashes and loses an
/// unflushed claim.
macro_rules! claim {
    ($from:literal, $begin:literal, $between:literal, $end:literal) => {
        concat!(
            "UPDATE queue SET lease_owner = $1, lease_until_us = $6, postponed_until_us = 0,
                              token = CASE WHEN token < $2 THEN $2 ELSE token + 1 END",
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
            $end
        )
    };
}

/// Column of a job that its row in the queue does not have.
macro_rules! of_job {
    ($column:literal) => {
        concat!("(SELECT ", $column, " FROM jobs j WHERE j.id = queue.id) AS ", $column)
    };
}

/// Returns what a [`JobRow`] reads as well, in the same statement: on SQLite each costs two changes of thread.
pub(crate) const CLAIM: &str = concat!(
    claim!("", "IN (SELECT id FROM (", ") UNION ALL SELECT id FROM (", "))"),
    " RETURNING id, ",
    of_job!("target"),
    ", ",
    of_job!("stream"),
    ", ",
    of_job!("request"),
    ", ",
    of_job!("timeout_us"),
    ", ",
    of_job!("max_attempts"),
    ", created_by, created_us, priority, NULL AS ended_us, NULL AS exit_code, NULL AS duration_us, waiting_for,
       CASE WHEN started_us IS NULL THEN 'pending' ELSE 'running' END AS status, cancel_requested, token, last_seq, pod_uid,
       started_us, reason, message, run_after_us, attempts, earlier_attempts, last_error, worker, slot, virtual_time, lane"
);

/// A later claim moves a clock on, never back.
const MOVE_CLOCK: &str = "INSERT INTO virtual_clocks AS c (lane, priority, virtual_time) VALUES ($1, $2, $3)
     ON CONFLICT (lane, priority) DO UPDATE SET virtual_time = excluded.virtual_time
     WHERE c.virtual_time < excluded.virtual_time";

/// Skips rows that another process is claiming, which are seen as they were before. The index `queue_by_held_key` keeps
/// two processes from claiming different jobs of one key at once. The arrays make sure that the inner queries, and with
/// them their limits, are evaluated once.
///
/// Does not wait for a flush: a claim has effects only through later writes, whose flush includes earlier ones.
pub(crate) const CLAIM_BESIDE_OTHERS: &str = concat!(
    "WITH claimed AS (",
    claim!(
        " FROM (SELECT set_config('synchronous_commit', 'off', TRUE)) AS light",
        "= ANY (ARRAY(",
        " FOR UPDATE OF q SKIP LOCKED) || ARRAY(",
        " FOR UPDATE OF q SKIP LOCKED))"
    ),
    " RETURNING queue.*),
     served AS (
         INSERT INTO virtual_clocks AS c (lane, priority, virtual_time)
         SELECT lane, priority, MAX(virtual_time) FROM claimed GROUP BY lane, priority ORDER BY lane, priority
         ON CONFLICT (lane, priority) DO UPDATE SET virtual_time = excluded.virtual_time
         WHERE c.virtual_time < excluded.virtual_time)
     SELECT ",
    job_columns!(),
    ", q.virtual_time, q.lane FROM claimed q JOIN jobs j ON j.id = q.id"
);

row! {
    /// A claimed job.
    #[derive(Debug)]
    struct ClaimedRow {
        job: JobRow = flatten,
        virtual_time: i64,
        lane: i32,
    }
}

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
        let rank = |row: &ClaimedRow| {
            let waits = row.lane == lane_column(Lane::Tasks) && row.job.pod_uid.is_none();
            (waits, -row.job.priority, row.virtual_time)
        };
        rank(a).cmp(&rank(b)).then_with(|| a.job.id.cmp(&b.job.id))
    });
    rows.iter().map(|row| claim_of(&row.job)).collect()
}

async fn try_claim(
    store: &SqlStore,
    worker: &WorkerId,
    limits: ClaimLimits,
    now: Timestamp,
    lease_until: Timestamp,
) -> Result<Vec<ClaimedRow>> {
    let (commands, pool) = (i64::from(limits.commands), i64::from(limits.pool));
    let operations = i64::from(limits.operations);
    write_once!(&store.db, |tx| {
        if let Tx::Postgres(_) = tx {
            return run!(
                &mut tx,
                fetch_all,
                query_as<ClaimedRow>,
                CLAIM_BESIDE_OTHERS,
                worker.as_str(),
                now.as_micros(),
                commands,
                pool,
                operations,
                lease_until.as_micros(),
            );
        }
        let rows = run!(
            &mut tx,
            fetch_all,
            query_as<ClaimedRow>,
            CLAIM,
            worker.as_str(),
            now.as_micros(),
            commands,
            pool,
            operations,
            lease_until.as_micros(),
        )?;
        if rows.is_empty() {
            return Ok(rows);
        }
        let mut served: BTreeMap<(i32, i32), i64> = BTreeMap::new();
        for row in &rows {
            let clock = served.entry((row.lane, row.job.priority)).or_default();
            *clock = row.virtual_time.max(*clock);
        }
        for ((lane, priority), virtual_time) in served {
            execute!(&mut tx, MOVE_CLOCK, lane, priority, virtual_time)?;
        }
        Ok(rows)
    })
}

fn claim_of(row: &JobRow) -> Result<Claim> {
    Ok(Claim {
        fence: Fence { id: parse(&row.id)?, token: row.token },
        job: row.job()?,
        last_seq: Seq(row.last_seq as u64),
        pod_uid: row.pod_uid.clone(),
        slot: row.slot()?,
    })
}
