//! Jobs that are accepted, in batches.

use rdev_domain::{Job, JobId};
use sqlx::PgConnection;

use super::write::{BatchedWrite, InsertedEntry, insert_entries};
use crate::queue::rows::{run_after_us, stored_spec};
use crate::queue::virtual_time::{share, virtual_time_of_command, virtual_time_of_task};
use crate::values::{as_micros, column_of};

/// Acceptance of a job without an idempotency key.
#[derive(Debug)]
pub(crate) struct Enqueue {
    pub(crate) job: Job,
    /// Stored form of the specification.
    pub(crate) request: String,
}

impl TryFrom<&Job> for Enqueue {
    type Error = rdev_domain::Error;

    fn try_from(job: &Job) -> rdev_domain::Result<Self> {
        Ok(Self { request: stored_spec(&job.spec)?, job: job.clone() })
    }
}

impl BatchedWrite for Enqueue {
    type Row = InsertedEntry;

    /// Each caller and project reads its virtual time once, and counts on from there.
    const SQL: &'static str = concat!(
        "WITH asked AS (
             SELECT * FROM unnest($1::TEXT[], $2::TEXT[], $3::TEXT[], $4::TEXT[], $5::TEXT[], $6::BIGINT[], $7::TEXT[],
                                  $8::BIGINT[], $9::TEXT[], $10::BOOLEAN[], $11::TEXT[], $12::INTEGER[], $13::BIGINT[],
                                  $14::INTEGER[])
                 WITH ORDINALITY AS a (id, project, stream, kind, request, timeout_us, created_by, created_us,
                                       concurrency_key, pool, share, priority, run_after_us, max_attempts, nth)),
         turns AS MATERIALIZED (
             SELECT s.*, CASE WHEN s.pool THEN (",
        virtual_time_of_task!("s.pool", "s.created_by", "s.share", "s.priority"),
        ") ELSE (",
        virtual_time_of_command!("s.pool", "s.created_by", "s.share", "s.priority"),
        ") END AS turn
             FROM (SELECT DISTINCT pool, created_by, share, priority FROM asked) s),
         taken AS (
             INSERT INTO tasks (id, project, stream, kind, request, timeout_us, created_by, created_us,
                                concurrency_key, pool, share, priority, turn, run_after_us, max_attempts, status)
             SELECT id, project, stream, kind, request, timeout_us, created_by, created_us, concurrency_key, pool, share,
                    priority, turn - 1 + row_number() OVER (PARTITION BY pool, created_by, share, priority ORDER BY nth),
                    run_after_us, max_attempts, 'pending'
             FROM asked JOIN turns USING (pool, created_by, share, priority)
             WHERE stream = id OR COALESCE((
                 SELECT FALSE FROM removed_streams r WHERE r.project = asked.project AND r.stream = asked.stream), TRUE)
             ORDER BY nth
             ON CONFLICT DO NOTHING
             RETURNING id, project, kind, share, stream, last_seq, created_us),
         ",
        insert_entries!("'status'", "last_seq", "created_us", "'pending'", in "id", "")
    );

    fn id(&self) -> &JobId {
        &self.job.id
    }

    fn bytes(&self) -> usize {
        self.request.len()
    }

    async fn execute(connection: &mut PgConnection, writes: &[Self]) -> sqlx::Result<Vec<InsertedEntry>> {
        let jobs = || writes.iter().map(|write| &write.job);
        let schedules = || jobs().map(|job| &job.schedule);
        sqlx::query_as(Self::SQL)
            .bind(jobs().map(|job| job.id.as_str()).collect::<Vec<_>>())
            .bind(jobs().map(|job| column_of(&job.spec)).collect::<Vec<_>>())
            .bind(jobs().map(|job| job.stream.as_str()).collect::<Vec<_>>())
            .bind(jobs().map(|job| job.spec.kind().as_str()).collect::<Vec<_>>())
            .bind(writes.iter().map(|write| write.request.as_str()).collect::<Vec<_>>())
            .bind(jobs().map(|job| as_micros(job.timeout)).collect::<Vec<_>>())
            .bind(jobs().map(|job| job.created_by.as_str()).collect::<Vec<_>>())
            .bind(jobs().map(|job| job.created_at.as_micros()).collect::<Vec<_>>())
            .bind(jobs().map(|job| job.spec.concurrency_key()).collect::<Vec<_>>())
            .bind(jobs().map(|job| job.spec.is_task()).collect::<Vec<_>>())
            .bind(jobs().map(share).collect::<Vec<_>>())
            .bind(schedules().map(|schedule| schedule.priority).collect::<Vec<_>>())
            .bind(schedules().map(run_after_us).collect::<Vec<_>>())
            .bind(schedules().map(|schedule| schedule.max_attempts.cast_signed()).collect::<Vec<_>>())
            .fetch_all(connection)
            .await
    }
}
