use rdev_domain::{Command, CommandId, Home};
use rdev_ports::NewCommand;
use sqlx::PgConnection;

use super::{Step, Told, stored};
use crate::rows::as_micros;
use crate::tasks::{run_after_us, share, turn_of_command, turn_of_task};

/// A command is accepted that has no idempotency key.
#[derive(Debug)]
pub(crate) struct Enqueue {
    pub(crate) command: Command,
    pub(crate) concurrency_key: Option<String>,
    /// What it asks for, as it is stored.
    pub(crate) request: String,
}

impl TryFrom<&NewCommand> for Enqueue {
    type Error = serde_json::Error;

    fn try_from(new: &NewCommand) -> serde_json::Result<Self> {
        let NewCommand { command, concurrency_key, idempotency: _ } = new.clone();
        Ok(Self { request: serde_json::to_string(&command.request)?, command, concurrency_key })
    }
}

impl Step for Enqueue {
    type Row = Told;

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

    fn id(&self) -> &CommandId {
        &self.command.id
    }

    fn bytes(&self) -> usize {
        self.request.len()
    }

    async fn take(connection: &mut PgConnection, steps: &[Self]) -> sqlx::Result<Vec<Told>> {
        let commands = || steps.iter().map(|step| &step.command);
        let schedules = || commands().map(|command| &command.schedule);
        sqlx::query_as(Self::SQL)
            .bind(commands().map(|command| command.id.as_str()).collect::<Vec<_>>())
            .bind(commands().map(|command| command.home.as_str()).collect::<Vec<_>>())
            .bind(commands().map(|command| command.stream.as_str()).collect::<Vec<_>>())
            .bind(commands().map(|command| command.request.kind().as_str()).collect::<Vec<_>>())
            .bind(steps.iter().map(|step| step.request.as_str()).collect::<Vec<_>>())
            .bind(commands().map(|command| as_micros(command.timeout)).collect::<Vec<_>>())
            .bind(commands().map(|command| command.created_by.as_str()).collect::<Vec<_>>())
            .bind(commands().map(|command| command.created_at.as_micros()).collect::<Vec<_>>())
            .bind(steps.iter().map(|step| step.concurrency_key.as_deref()).collect::<Vec<_>>())
            .bind(commands().map(|command| command.home == Home::Pool).collect::<Vec<_>>())
            .bind(commands().map(share).collect::<Vec<_>>())
            .bind(schedules().map(|schedule| schedule.priority).collect::<Vec<_>>())
            .bind(schedules().map(run_after_us).collect::<Vec<_>>())
            .bind(schedules().map(|schedule| schedule.max_attempts.cast_signed()).collect::<Vec<_>>())
            .fetch_all(connection)
            .await
    }
}
