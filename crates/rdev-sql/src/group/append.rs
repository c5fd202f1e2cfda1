use rdev_domain::{Chunk, CommandId, Seq, Timestamp};
use rdev_ports::Fence;
use sqlx::PgConnection;

use super::{Step, Told, locked};

/// Output of a command, which goes on right after what is stored.
#[derive(Debug)]
pub(crate) struct Append {
    pub(crate) fence: Fence,
    pub(crate) before: Seq,
    pub(crate) last: Seq,
    pub(crate) chunks: Vec<Chunk>,
    pub(crate) now: Timestamp,
}

impl Step for Append {
    type Row = Told;

    const SQL: &'static str = concat!(
        "WITH asked AS (
             SELECT * FROM unnest($1::TEXT[], $2::BIGINT[], $3::BIGINT[], $4::BIGINT[])
                 AS a (id, attempt, before, last)),
         chunks AS (
             SELECT * FROM unnest($5::TEXT[], $6::BIGINT[], $7::BIGINT[], $8::BIGINT[], $9::BYTEA[])
                 WITH ORDINALITY AS c (task_id, first_seq, last_seq, at_us, body, nth)),
         taken AS (
             UPDATE tasks t SET last_seq = a.last
             FROM asked a WHERE t.id = a.id AND t.attempt = a.attempt AND t.last_seq = a.before
                            AND t.status = 'running'
             RETURNING t.id, t.project, t.stream),
         ",
        locked!(),
        ",
         told AS (
             INSERT INTO events (task_id, project, kind, first_seq, last_seq, at_us, body)
             SELECT c.task_id, t.project, 'output', c.first_seq, c.last_seq, c.at_us, c.body
             FROM taken t JOIN chunks c ON c.task_id = t.id CROSS JOIN locked ORDER BY c.nth
             RETURNING task_id, position, last_seq)
         SELECT t.*, position, last_seq FROM told JOIN taken t ON task_id = id ORDER BY position"
    );

    fn id(&self) -> &CommandId {
        &self.fence.id
    }

    fn bytes(&self) -> usize {
        self.chunks.iter().map(|chunk| chunk.frames.len()).sum()
    }

    async fn take(connection: &mut PgConnection, steps: &[Self]) -> sqlx::Result<Vec<Told>> {
        let chunks = || steps.iter().flat_map(|step| step.chunks.iter().map(move |chunk| (step, chunk)));
        sqlx::query_as(Self::SQL)
            .bind(steps.iter().map(|step| step.fence.id.as_str()).collect::<Vec<_>>())
            .bind(steps.iter().map(|step| step.fence.attempt).collect::<Vec<_>>())
            .bind(steps.iter().map(|step| step.before.0 as i64).collect::<Vec<_>>())
            .bind(steps.iter().map(|step| step.last.0 as i64).collect::<Vec<_>>())
            .bind(chunks().map(|(step, _)| step.fence.id.as_str()).collect::<Vec<_>>())
            .bind(chunks().map(|(_, chunk)| chunk.first_seq.0 as i64).collect::<Vec<_>>())
            .bind(chunks().map(|(_, chunk)| chunk.last_seq.0 as i64).collect::<Vec<_>>())
            .bind(chunks().map(|(step, _)| step.now.as_micros()).collect::<Vec<_>>())
            .bind(chunks().map(|(_, chunk)| &chunk.frames[..]).collect::<Vec<_>>())
            .fetch_all(connection)
            .await
    }
}
