use rdev_domain::{JobId, Timestamp};
use rdev_ports::Fence;
use sqlx::PgConnection;

use super::{BatchedWrite, InsertedEntry, stored};

/// A command is started for the first time, in the place of its project.
#[derive(Debug)]
pub(crate) struct Start {
    pub(crate) fence: Fence,
    pub(crate) place_uid: String,
    pub(crate) now: Timestamp,
}

/// What comes back of it.
#[derive(Debug, sqlx::FromRow)]
pub(crate) struct Started {
    #[sqlx(flatten)]
    pub(crate) told: InsertedEntry,
    pub(crate) place_uid: String,
    pub(crate) tries: i32,
    pub(crate) cancel_requested: bool,
}

impl AsRef<InsertedEntry> for Started {
    fn as_ref(&self) -> &InsertedEntry {
        &self.told
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
             RETURNING t.id, t.project, t.stream, t.last_seq, t.started_us, t.place_uid, t.tries, t.cancel_requested),
         ",
        stored!("'status'", "last_seq", "started_us", "'running'", in "id", ", place_uid, tries, cancel_requested")
    );

    fn id(&self) -> &JobId {
        &self.fence.id
    }

    async fn take(connection: &mut PgConnection, steps: &[Self]) -> sqlx::Result<Vec<Started>> {
        sqlx::query_as(Self::SQL)
            .bind(steps.iter().map(|step| step.fence.id.as_str()).collect::<Vec<_>>())
            .bind(steps.iter().map(|step| step.fence.token).collect::<Vec<_>>())
            .bind(steps.iter().map(|step| step.place_uid.as_str()).collect::<Vec<_>>())
            .bind(steps.iter().map(|step| step.now.as_micros()).collect::<Vec<_>>())
            .fetch_all(connection)
            .await
    }
}
