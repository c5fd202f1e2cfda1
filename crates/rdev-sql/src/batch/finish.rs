//! Jobs that end, in batches.

use rdev_domain::{JobId, JobStatus, Outcome, Seq, Timestamp};
use rdev_ports::Fence;
use sqlx::PgConnection;

use super::write::{BatchedWrite, InsertedEntry, insert_entries};
use crate::log::prune::file_bytes;
use crate::values::as_micros;

/// Bytes of the files that count with the end; only tasks of the pool have files.
macro_rules! weight {
    () => {
        concat!("CASE WHEN project = '@pool' THEN ", file_bytes!("placed.id"), " ELSE 0 END")
    };
}

/// End of a job.
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
                 AS a (id, attempt, seq, status, exit_code, reason, message, duration_us, now_us)),
         taken AS (
             UPDATE tasks t SET status = a.status, ended_us = a.now_us, exit_code = a.exit_code, reason = a.reason,
                                message = a.message, duration_us = a.duration_us, last_seq = a.seq,
                                waiting_for = NULL, lease_owner = NULL, lease_until_us = 0
             FROM asked a WHERE t.id = a.id AND t.attempt = a.attempt AND t.ended_us IS NULL
                            AND t.last_seq < a.seq
             RETURNING t.id, t.project, t.kind, t.share, t.stream, t.last_seq, t.ended_us),
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
