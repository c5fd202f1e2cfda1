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
        pub(crate) pod_uid: String = "place_uid",
        pub(crate) attempts: i32 = "tries",
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
                 AS a (id, attempt, place_uid, now_us)),
         taken AS (
             UPDATE tasks t SET status = 'running', place_uid = COALESCE(t.place_uid, a.place_uid),
                                started_us = a.now_us, tries = t.tries + 1
             FROM asked a WHERE t.id = a.id AND t.attempt = a.attempt AND t.started_us IS NULL AND t.ended_us IS NULL
             RETURNING t.id, t.project, t.kind, t.share, t.stream, t.last_seq, t.started_us, t.place_uid, t.tries, t.cancel_requested),
         ",
        insert_entries!("'status'", "last_seq", "started_us", "'running'", in "id", ", place_uid, tries, cancel_requested")
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
