//! Jobs that are started, in batches.

use rdev_domain::{JobId, Timestamp};
use rdev_ports::Fence;
use sqlx::PgConnection;

use super::write::{BatchedWrite, InsertedEntry, insert_entries};
use crate::row::row;

/// First start of a command, in the pod of its project.
#[derive(Debug)]
pub(crate) struct Start {
    pub(crate) fence: Fence,
    pub(crate) pod_uid: String,
    pub(crate) now: Timestamp,
}

row! {
    /// Row of a started job.
    #[derive(Debug)]
    pub(crate) struct Started {
        pub(crate) inserted: InsertedEntry = flatten,
        pub(crate) pod_uid: String,
        pub(crate) attempts: i32,
        pub(crate) cancel_requested: bool,
    }
}

impl AsRef<InsertedEntry> for Started {
    fn as_ref(&self) -> &InsertedEntry {
        &self.inserted
    }
}

impl BatchedWrite for Start {
    type Row = Started;

    const SQL: &'static str = concat!(
        "WITH asked AS (
             SELECT * FROM unnest($1::TEXT[], $2::BIGINT[], $3::TEXT[], $4::BIGINT[])
                 AS a (id, token, pod_uid, now_us)),
         started AS (
             UPDATE queue q SET pod_uid = COALESCE(q.pod_uid, a.pod_uid), started_us = a.now_us, attempts = q.attempts + 1
             FROM asked a WHERE q.id = a.id AND q.token = a.token AND q.started_us IS NULL
             RETURNING q.id, q.last_seq, q.started_us, q.pod_uid, q.attempts, q.cancel_requested),
         taken AS (SELECT s.*, j.target, j.kind, j.project, j.stream FROM started s JOIN jobs j ON j.id = s.id),
         ",
        insert_entries!("'status'", "last_seq", "started_us", "'running'", in "id", ", pod_uid, attempts, cancel_requested")
    );

    fn id(&self) -> &JobId {
        &self.fence.id
    }

    async fn execute(connection: &mut PgConnection, writes: &[Self]) -> sqlx::Result<Vec<Started>> {
        sqlx::query_as(Self::SQL)
            .bind(writes.iter().map(|write| write.fence.id.as_str()).collect::<Vec<_>>())
            .bind(writes.iter().map(|write| write.fence.token).collect::<Vec<_>>())
            .bind(writes.iter().map(|write| write.pod_uid.as_str()).collect::<Vec<_>>())
            .bind(writes.iter().map(|write| write.now.as_micros()).collect::<Vec<_>>())
            .fetch_all(connection)
            .await
    }
}
