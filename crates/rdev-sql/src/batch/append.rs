//! Output that is appended, in batches.

use rdev_domain::{Chunk, JobId, Seq, Timestamp};
use rdev_ports::Fence;
use sqlx::PgConnection;

use super::write::{BatchedWrite, InsertedEntry, insert_entries};

/// Output of a job, which begins right after the last stored event.
#[derive(Debug)]
pub(crate) struct Append {
    pub(crate) fence: Fence,
    pub(crate) before: Seq,
    pub(crate) last: Seq,
    pub(crate) chunks: Vec<Chunk>,
    pub(crate) now: Timestamp,
}

impl BatchedWrite for Append {
    type Row = InsertedEntry;

    const SQL: &'static str = concat!(
        "WITH asked AS (
             SELECT * FROM unnest($1::TEXT[], $2::BIGINT[], $3::BIGINT[], $4::BIGINT[])
                 AS a (id, token, before, last)),
         chunks AS (
             SELECT * FROM unnest($5::TEXT[], $6::BIGINT[], $7::BIGINT[], $8::BIGINT[], $9::BYTEA[])
                 WITH ORDINALITY AS c (id, first_seq, last_seq, at_us, body, nth)),
         grown AS (
             UPDATE queue q SET last_seq = a.last
             FROM asked a WHERE q.id = a.id AND q.token = a.token AND q.last_seq = a.before AND q.started_us IS NOT NULL
             RETURNING q.id),
         taken AS (
             SELECT c.*, j.target, j.kind, j.project, j.stream
             FROM grown g JOIN chunks c ON c.id = g.id JOIN jobs j ON j.id = g.id),
         ",
        insert_entries!("'output'", "first_seq", "at_us", "body", in "nth", "")
    );

    fn id(&self) -> &JobId {
        &self.fence.id
    }

    fn bytes(&self) -> usize {
        self.chunks.iter().map(|chunk| chunk.frames.len()).sum()
    }

    async fn execute(connection: &mut PgConnection, writes: &[Self]) -> sqlx::Result<Vec<InsertedEntry>> {
        let chunks = || writes.iter().flat_map(|write| write.chunks.iter().map(move |chunk| (write, chunk)));
        sqlx::query_as(Self::SQL)
            .bind(writes.iter().map(|write| write.fence.id.as_str()).collect::<Vec<_>>())
            .bind(writes.iter().map(|write| write.fence.token).collect::<Vec<_>>())
            .bind(writes.iter().map(|write| write.before.0 as i64).collect::<Vec<_>>())
            .bind(writes.iter().map(|write| write.last.0 as i64).collect::<Vec<_>>())
            .bind(chunks().map(|(write, _)| write.fence.id.as_str()).collect::<Vec<_>>())
            .bind(chunks().map(|(_, chunk)| chunk.first_seq.0 as i64).collect::<Vec<_>>())
            .bind(chunks().map(|(_, chunk)| chunk.last_seq.0 as i64).collect::<Vec<_>>())
            .bind(chunks().map(|(write, _)| write.now.as_micros()).collect::<Vec<_>>())
            .bind(chunks().map(|(_, chunk)| &chunk.frames[..]).collect::<Vec<_>>())
            .fetch_all(connection)
            .await
    }
}
