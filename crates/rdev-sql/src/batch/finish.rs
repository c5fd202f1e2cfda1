//! Jobs that end, in batches.

use rdev_domain::{JobId, JobStatus, Outcome, Seq, Timestamp};
use rdev_ports::Fence;
use sqlx::PgConnection;

use super::write::{BatchedWrite, InsertedEntry, insert_entries};
use crate::log::prune::file_bytes;
use crate::queue::rows::ended_columns;
use crate::values::as_micros;

/// Bytes of the files that count with the end; only tasks of the pool have files.
macro_rules! weight {
    () => {
        concat!("CASE WHEN target = '@pool' THEN ", file_bytes!("placed.id"), " ELSE 0 END")
    };
}

/// End of a job without a concurrency key.
#[derive(Debug)]
pub(crate) struct Finish {
    pub(crate) fence: Fence,
    pub(crate) seq: Seq,
    pub(crate) outcome: Outcome,
    pub(crate) now: Timestamp,
}

impl BatchedWrite for Finish {
    type Row = InsertedEntry;

    const SQL: &'static str = concat!(
        "WITH asked AS (
             SELECT * FROM unnest($1::TEXT[], $2::BIGINT[], $3::BIGINT[], $4::TEXT[], $5::INTEGER[], $6::TEXT[],
                                  $7::TEXT[], $8::BIGINT[], $9::BIGINT[])
                 AS a (id, token, seq, status, exit_code, reason, message, duration_us, now_us)),
         gone AS (
             DELETE FROM queue q USING asked a
             WHERE q.id = a.id AND q.token = a.token AND q.last_seq < a.seq AND q.concurrency_key IS NULL
             RETURNING q.*, a.seq, a.status, a.exit_code, a.reason AS end_reason, a.message AS end_message, a.duration_us,
                       a.now_us),
         taken AS (
             UPDATE jobs j SET ",
        ended_columns!("g"),
        ", status = g.status, ended_us = g.now_us, exit_code = g.exit_code, reason = g.end_reason,
                               message = g.end_message, duration_us = g.duration_us, last_seq = g.seq
             FROM gone g WHERE j.id = g.id
             RETURNING j.id, j.target, j.kind, j.project, j.stream, j.last_seq, j.ended_us, j.status),
         counted AS (
             INSERT INTO ended_tasks AS e (kind, status, count)
             SELECT kind, status, COUNT(*) FROM taken WHERE target = '@pool' GROUP BY kind, status ORDER BY kind, status
             ON CONFLICT (kind, status) DO UPDATE SET count = e.count + excluded.count),
         ",
        insert_entries!("'complete'", "last_seq", "ended_us", "''", weighing weight!(), in "id", "")
    );

    fn id(&self) -> &JobId {
        &self.fence.id
    }

    async fn execute(connection: &mut PgConnection, writes: &[Self]) -> sqlx::Result<Vec<InsertedEntry>> {
        let outcomes = || writes.iter().map(|write| &write.outcome);
        sqlx::query_as(Self::SQL)
            .bind(writes.iter().map(|write| write.fence.id.as_str()).collect::<Vec<_>>())
            .bind(writes.iter().map(|write| write.fence.token).collect::<Vec<_>>())
            .bind(writes.iter().map(|write| write.seq.0 as i64).collect::<Vec<_>>())
            .bind(outcomes().map(|outcome| JobStatus::from(outcome.ending).as_str()).collect::<Vec<_>>())
            .bind(outcomes().map(|outcome| outcome.exit_code).collect::<Vec<_>>())
            .bind(outcomes().map(|outcome| outcome.ending.reason()).collect::<Vec<_>>())
            .bind(outcomes().map(|outcome| outcome.message.as_deref()).collect::<Vec<_>>())
            .bind(outcomes().map(|outcome| as_micros(outcome.duration)).collect::<Vec<_>>())
            .bind(writes.iter().map(|write| write.now.as_micros()).collect::<Vec<_>>())
            .fetch_all(connection)
            .await
    }
}
