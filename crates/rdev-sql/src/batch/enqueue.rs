use rdev_domain::{Job, JobId};
use rdev_ports::NewJob;
use sqlx::PgConnection;

use super::{BatchedWrite, InsertedEntry, stored};
use crate::rows::as_micros;
use crate::target::{column_of, stored_spec};
use crate::tasks::{run_after_us, share, turn_of_command, turn_of_task};

/// A command is accepted that has no idempotency key.
#[derive(Debug)]
pub(crate) struct Enqueue {
    pub(crate) job: Job,
    pub(crate) concurrency_key: Option<String>,
    /// What it asks for, as it is stored.
    pub(crate) request: String,
}

impl TryFrom<&NewJob> for Enqueue {
    type Error = rdev_domain::Error;

    fn try_from(new: &NewJob) -> rdev_domain::Result<Self> {
        let NewJob { job, concurrency_key, idempotency: _ } = new.clone();
        Ok(Self { request: stored_spec(&job.spec)?, job, concurrency_key })
    }
}

impl BatchedWrite for Enqueue {
    type Row = InsertedEntry;

    /// Each caller and project finds its turn once, and counts on from there.
    const SQL: &'static str = concat!(
        "WITH asked AS (
             SELECT * FROM unnest($1::TEXT[], $2::TEXT[], $3::TEXT[], $4::TEXT[], $5::TEXT[], $6::BIGINT[], $7::TEXT[],
                                  $8::BIGINT[], $9::TEXT[], $10::BOOLEAN[], $11::TEXT[], $12::INTEGER[], $13::BIGINT[],
                                  $14::INTEGER[])
                 WITH ORDINALITY AS a (id, project, stream, kind, request, timeout_us, created_by, created_us,
                                       concurrency_key, pool, share, priority, run_after_us, max_attempts, nth)),
         turns AS MATERIALIZED (
             SELECT s.*, CASE WHEN s.pool THEN (",
        turn_of_task!("s.pool", "s.created_by", "s.share", "s.priority"),
        ") ELSE (",
        turn_of_command!("s.pool", "s.created_by", "s.share", "s.priority"),
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
             RETURNING id, project, stream, last_seq, created_us),
         ",
        stored!("'status'", "last_seq", "created_us", "'pending'", in "id", "")
    );

    fn id(&self) -> &JobId {
        &self.job.id
    }

    fn bytes(&self) -> usize {
        self.request.len()
    }

    async fn take(connection: &mut PgConnection, steps: &[Self]) -> sqlx::Result<Vec<InsertedEntry>> {
        let jobs = || steps.iter().map(|step| &step.job);
        let schedules = || jobs().map(|job| &job.schedule);
        sqlx::query_as(Self::SQL)
            .bind(jobs().map(|job| job.id.as_str()).collect::<Vec<_>>())
            .bind(jobs().map(|job| column_of(&job.spec)).collect::<Vec<_>>())
            .bind(jobs().map(|job| job.stream.as_str()).collect::<Vec<_>>())
            .bind(jobs().map(|job| job.spec.kind().as_str()).collect::<Vec<_>>())
            .bind(steps.iter().map(|step| step.request.as_str()).collect::<Vec<_>>())
            .bind(jobs().map(|job| as_micros(job.timeout)).collect::<Vec<_>>())
            .bind(jobs().map(|job| job.created_by.as_str()).collect::<Vec<_>>())
            .bind(jobs().map(|job| job.created_at.as_micros()).collect::<Vec<_>>())
            .bind(steps.iter().map(|step| step.concurrency_key.as_deref()).collect::<Vec<_>>())
            .bind(jobs().map(|job| job.spec.is_task()).collect::<Vec<_>>())
            .bind(jobs().map(share).collect::<Vec<_>>())
            .bind(schedules().map(|schedule| schedule.priority).collect::<Vec<_>>())
            .bind(schedules().map(run_after_us).collect::<Vec<_>>())
            .bind(schedules().map(|schedule| schedule.max_attempts.cast_signed()).collect::<Vec<_>>())
            .fetch_all(connection)
            .await
    }
}
