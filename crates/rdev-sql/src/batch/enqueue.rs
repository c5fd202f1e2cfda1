//! Jobs that are accepted, in batches.

use rdev_domain::{Job, JobId};
use sqlx::PgConnection;

use super::write::{BatchedWrite, InsertedEntry, insert_entries};
use crate::queue::rows::{run_after_us, stored_spec};
use crate::queue::virtual_time::virtual_time_before;
use crate::values::{as_micros, column_of, lane_column, project_column};

/// Acceptance of a job without an idempotency key and without a concurrency key.
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
             SELECT a.*, row_number() OVER (PARTITION BY lane, created_by, project, priority ORDER BY nth) AS of_caller
             FROM unnest($1::TEXT[], $2::TEXT[], $3::TEXT[], $4::TEXT[], $5::TEXT[], $6::BIGINT[], $7::TEXT[],
                         $8::BIGINT[], $9::INTEGER[], $10::TEXT[], $11::INTEGER[], $12::BIGINT[], $13::INTEGER[])
                 WITH ORDINALITY AS a (id, target, stream, kind, request, timeout_us, created_by, created_us, lane,
                                       project, priority, run_after_us, max_attempts, nth)),
         timed AS MATERIALIZED (
             SELECT asked.*, CASE WHEN of_caller = 1 THEN (",
        virtual_time_before!("asked.lane", "asked.created_by", "asked.project", "asked.priority"),
        ") END AS virtual_time FROM asked),
         taken AS (
             INSERT INTO jobs (id, target, project, stream, kind, request, timeout_us, created_by, created_us, priority,
                               run_after_us, max_attempts)
             SELECT id, target, project, stream, kind, request, timeout_us, created_by, created_us, priority, run_after_us,
                    max_attempts
             FROM timed
             WHERE stream = id OR COALESCE((
                 SELECT FALSE FROM removed_streams r WHERE r.target = timed.target AND r.stream = timed.stream), TRUE)
                 AND COALESCE((
                 SELECT FALSE FROM jobs o WHERE o.id = timed.stream AND o.target = timed.target), TRUE)
             ORDER BY nth
             ON CONFLICT DO NOTHING
             RETURNING id, target, kind, project, stream, last_seq, created_us),
         queued AS (
             INSERT INTO queue (id, lane, kind, project, created_by, created_us, priority, virtual_time, ready, run_after_us)
             SELECT id, lane, kind, project, created_by, created_us, priority,
                    of_caller + max(virtual_time) OVER (PARTITION BY lane, created_by, project, priority), TRUE, run_after_us
             FROM timed WHERE id IN (SELECT id FROM taken)
             ORDER BY nth),
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
            .bind(jobs().map(|job| lane_column(job.target().lane())).collect::<Vec<_>>())
            .bind(jobs().map(|job| project_column(&job.spec)).collect::<Vec<_>>())
            .bind(schedules().map(|schedule| schedule.priority).collect::<Vec<_>>())
            .bind(schedules().map(run_after_us).collect::<Vec<_>>())
            .bind(schedules().map(|schedule| schedule.max_attempts.cast_signed()).collect::<Vec<_>>())
            .fetch_all(connection)
            .await
    }
}
