//! Claims: one statement decides which jobs a worker gets.

use std::collections::BTreeMap;

use rdev_domain::{
    Entry, EntryBody, Error, JobState, JobStatus, Lane, Position, Result, Seq, Target, Timestamp, WorkerId,
};
use rdev_ports::{Claim, ClaimLimits, Fence, ReadyProject, Started};

use super::rows::{JobRow, is_leased, job_columns};
use super::start::begin;
use crate::batch::write::stored_entries;
use crate::db::{Tx, execute, run, write_once};
use crate::error::{database, is_unique_violation};
use crate::log::entries::entry;
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

/// The jobs of a claim, by the brackets around and between the queries that select them.
macro_rules! chosen {
    ($begin:literal, $between:literal, $end:literal) => {
        concat!(
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

/// The fencing token is the time of the claim, or the last token + 1: unique even if the server crashes and loses an
/// unflushed claim.
macro_rules! leased {
    () => {
        "lease_owner = $1, lease_until_us = $6, postponed_until_us = 0,
         token = CASE WHEN token < $2 THEN $2 ELSE token + 1 END"
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
    "UPDATE queue SET ",
    leased!(),
    " WHERE id ",
    chosen!("IN (SELECT id FROM (", ") UNION ALL SELECT id FROM (", "))"),
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
       started_us, reason, message, run_after_us, attempts, earlier_attempts, last_error, worker, slot, virtual_time, lane,
       NULL AS position"
);

/// A later claim moves a clock on, never back.
const MOVE_CLOCK: &str = "INSERT INTO virtual_clocks AS c (lane, priority, virtual_time) VALUES ($1, $2, $3)
     ON CONFLICT (lane, priority) DO UPDATE SET virtual_time = excluded.virtual_time
     WHERE c.virtual_time < excluded.virtual_time";

/// Skips rows that another process is claiming, which are seen as they were before. The index `queue_by_held_key` keeps
/// two processes from claiming different jobs of one key at once. The arrays make sure that the inner queries, and with
/// them their limits, are evaluated once.
///
/// Pending commands of a project that is ready start with their claim. Without any, the commit does not wait for its flush:
/// a claim has effects only through later writes, whose flush includes earlier ones.
pub(crate) const CLAIM_BESIDE_OTHERS: &str = concat!(
    "WITH chosen AS MATERIALIZED (
         SELECT q.id, r.pod_uid
         FROM queue q LEFT JOIN unnest($7::TEXT[], $8::TEXT[]) AS r (project, pod_uid) ON q.lane = 0 AND r.project = q.project
         WHERE q.id ",
    chosen!("= ANY (ARRAY(", " FOR UPDATE OF q SKIP LOCKED) || ARRAY(", " FOR UPDATE OF q SKIP LOCKED))"),
    "),
     claimed AS (
         UPDATE queue SET ",
    leased!(),
    ", pod_uid = CASE WHEN started_us IS NULL THEN COALESCE(queue.pod_uid, c.pod_uid) ELSE queue.pod_uid END,
       attempts = attempts + CASE WHEN started_us IS NULL AND c.pod_uid IS NOT NULL THEN 1 ELSE 0 END,
       started_us = CASE WHEN started_us IS NULL AND c.pod_uid IS NOT NULL THEN $2 ELSE started_us END
         FROM chosen c WHERE queue.id = c.id
         RETURNING queue.*, c.pod_uid IS NOT NULL AND started_us = $2 AS starts),
     served AS (
         INSERT INTO virtual_clocks AS c (lane, priority, virtual_time)
         SELECT lane, priority, MAX(virtual_time) FROM claimed GROUP BY lane, priority ORDER BY lane, priority
         ON CONFLICT (lane, priority) DO UPDATE SET virtual_time = excluded.virtual_time
         WHERE c.virtual_time < excluded.virtual_time),
     taken AS (
         SELECT q.id, q.last_seq, q.started_us, j.target, j.kind, j.project, j.stream
         FROM claimed q JOIN jobs j ON j.id = q.id WHERE q.starts),
     ",
    stored_entries!("'status'", "last_seq", "started_us", "'running'", weighing "0", in "id"),
    " SELECT ",
    job_columns!(),
    ", q.virtual_time, q.lane, p.position,
       set_config('synchronous_commit', CASE WHEN EXISTS (SELECT 1 FROM placed) THEN current_setting('synchronous_commit')
                                             ELSE 'off' END, TRUE) AS commits
     FROM claimed q JOIN jobs j ON j.id = q.id LEFT JOIN placed p ON p.id = q.id"
);

row! {
    /// A claimed job.
    #[derive(Debug)]
    struct ClaimedRow {
        job: JobRow = flatten,
        virtual_time: i64,
        lane: i32,
        /// Position of the entry of its start, if it has just been started.
        position: Option<i64>,
    }
}

/// A claimed job, as it was before its start, and the start that came with the claim.
struct Claimed {
    row: ClaimedRow,
    start: Option<Started>,
}

/// Arguments of a claim.
pub(super) struct ClaimCall<'a> {
    pub(super) worker: &'a WorkerId,
    pub(super) limits: ClaimLimits,
    pub(super) ready: &'a [ReadyProject],
    pub(super) now: Timestamp,
    pub(super) lease_until: Timestamp,
}

/// Maximum number of attempts to claim. A claim that conflicts with another one of the same key begins again; each time,
/// one of both has succeeded.
const CLAIM_ATTEMPTS: u32 = 5;

pub(super) async fn claim(store: &SqlStore, call: &ClaimCall<'_>) -> Result<Vec<Claim>> {
    let mut attempts = 1;
    let mut claimed = loop {
        match try_claim(store, call).await {
            // Another process claims a job of the same key.
            Err(error) if attempts < CLAIM_ATTEMPTS && is_unique_violation(&error) => attempts += 1,
            claimed => break claimed?,
        }
    };
    if claimed.iter().any(|claimed| claimed.start.is_some()) {
        // As in `start`: nothing begins before its acceptance survives the death of the machine.
        store.db.settled().await?;
    }
    claimed.sort_by(|Claimed { row: a, .. }, Claimed { row: b, .. }| {
        let rank = |row: &ClaimedRow| {
            let waits = row.lane == lane_column(Lane::Tasks) && row.job.pod_uid.is_none();
            (waits, -row.job.priority, row.virtual_time)
        };
        rank(a).cmp(&rank(b)).then_with(|| a.job.id.cmp(&b.job.id))
    });
    claimed.into_iter().map(claim_of).collect()
}

async fn try_claim(store: &SqlStore, call: &ClaimCall<'_>) -> Result<Vec<Claimed>> {
    write_once!(&store.db, |tx| {
        match &tx {
            Tx::Postgres(_) => claim_beside_others(&mut tx, call).await,
            Tx::Sqlite(_) => claim_alone(&mut tx, call).await,
        }
    })
}

async fn claim_beside_others(tx: &mut Tx, call: &ClaimCall<'_>) -> Result<Vec<Claimed>> {
    let (projects, pods): (Vec<&str>, Vec<&str>) =
        call.ready.iter().map(|ready| (ready.project.as_str(), ready.pod_uid.as_str())).unzip();
    let Tx::Postgres(transaction) = tx else {
        return Err(Error::Internal(anyhow::anyhow!("only Postgres has arrays")));
    };
    let rows: Vec<ClaimedRow> = sqlx::query_as(CLAIM_BESIDE_OTHERS)
        .bind(call.worker.as_str())
        .bind(call.now.as_micros())
        .bind(i64::from(call.limits.commands))
        .bind(i64::from(call.limits.pool))
        .bind(i64::from(call.limits.operations))
        .bind(call.lease_until.as_micros())
        .bind(projects)
        .bind(pods)
        .fetch_all(transaction.connection()?)
        .await
        .map_err(database)?;
    rows.into_iter().map(|row| started_with(row, call.now)).collect()
}

/// Returns a claimed job, and the start that the same statement has made.
fn started_with(row: ClaimedRow, now: Timestamp) -> Result<Claimed> {
    let Some(position) = row.position else { return Ok(Claimed { row, start: None }) };
    let pod_uid = row.job.pod_uid.clone().unwrap_or_default();
    let row = ClaimedRow { job: row.job.before_start(), ..row };
    let job = row.job.job()?;
    let running = entry(&job, Seq(row.job.last_seq as u64), now, EntryBody::Status(JobStatus::Running));
    let start = Started {
        pod_uid,
        slot: None,
        started_at: now,
        attempt: row.job.attempts.unsigned_abs() + 1,
        cancel_requested: job.cancel_requested,
        entry: Some(Entry { position: Position(position as u64), ..running }),
    };
    Ok(Claimed { row, start: Some(start) })
}

async fn claim_alone(tx: &mut Tx, call: &ClaimCall<'_>) -> Result<Vec<Claimed>> {
    let rows = run!(
        &mut *tx,
        fetch_all,
        query_as<ClaimedRow>,
        CLAIM,
        call.worker.as_str(),
        call.now.as_micros(),
        i64::from(call.limits.commands),
        i64::from(call.limits.pool),
        i64::from(call.limits.operations),
        call.lease_until.as_micros(),
    )?;
    let mut served: BTreeMap<(i32, i32), i64> = BTreeMap::new();
    let mut claimed = Vec::new();
    for row in rows {
        let clock = served.entry((row.lane, row.job.priority)).or_default();
        *clock = row.virtual_time.max(*clock);
        let start = start_of(&mut *tx, &row.job, call).await?;
        claimed.push(Claimed { row, start });
    }
    for ((lane, priority), virtual_time) in served {
        execute!(&mut *tx, MOVE_CLOCK, lane, priority, virtual_time)?;
    }
    Ok(claimed)
}

/// Starts a claimed command that is pending, if its project is ready.
async fn start_of(tx: &mut Tx, row: &JobRow, call: &ClaimCall<'_>) -> Result<Option<Started>> {
    if call.ready.is_empty() {
        return Ok(None);
    }
    let job = row.job()?;
    let ready = match (&job.state, job.target()) {
        (JobState::Pending, Target::Project(project)) => {
            call.ready.iter().find(|ready| ready.project == project)
        }
        _ => None,
    };
    let Some(ready) = ready else { return Ok(None) };
    let started = Started {
        pod_uid: ready.pod_uid.clone(),
        slot: None,
        started_at: call.now,
        attempt: row.attempts.unsigned_abs() + 1,
        cancel_requested: job.cancel_requested,
        entry: None,
    };
    begin(tx, &job, Seq(row.last_seq as u64), started).await.map(Some)
}

fn claim_of(Claimed { row, start }: Claimed) -> Result<Claim> {
    let row = &row.job;
    Ok(Claim {
        fence: Fence { id: parse(&row.id)?, token: row.token },
        job: row.job()?,
        last_seq: Seq(row.last_seq as u64),
        pod_uid: row.pod_uid.clone(),
        slot: row.slot()?,
        start,
    })
}
