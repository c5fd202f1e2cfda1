//! A write of a batch, and the entries that it stores.

use rdev_domain::{Entry, EntryBody, JobId, Position, Result, Seq, Timestamp};
use sqlx::PgConnection;

use crate::row::row;
use crate::values::{job_kind, parse, project_of};

/// Stores an entry for each row of `taken`, and returns the entries' positions.
///
/// The statement holds the lock of each project's log from before the position is assigned until the entry is visible. The
/// log of tasks that are done for no project is not read as a whole, and has no lock: a task's entries are ordered by the
/// lock on its row. The position
/// is assigned here, not by the column's default: the inserted rows could only be matched with `taken` by a join, whose
/// number of rows the planner cannot foresee.
macro_rules! insert_entries {
    ($kind:literal, $first_seq:literal, $at:literal, $body:literal, in $order:literal, $columns:literal) => {
        $crate::batch::write::insert_entries!($kind, $first_seq, $at, $body, weighing "0", in $order, $columns)
    };
    ($kind:literal, $first_seq:literal, $at:literal, $body:literal, weighing $file_bytes:expr, in $order:literal,
     $columns:literal) => {
        concat!(
            $crate::batch::write::stored_entries!($kind, $first_seq, $at, $body, weighing $file_bytes, in $order),
            " SELECT id, target, kind, project, stream, last_seq, position",
            $columns,
            " FROM placed"
        )
    };
}

/// The parts of a statement that store an entry for each row of `taken`; those of `placed` have its position.
macro_rules! stored_entries {
    ($kind:literal, $first_seq:literal, $at:literal, $body:literal, weighing $file_bytes:expr, in $order:literal) => {
        concat!(
            "locked AS MATERIALIZED (
                 SELECT count(pg_advisory_xact_lock(turn)) FROM (
                     SELECT DISTINCT ",
            $crate::log::entries::lock_of!("log"),
            " AS turn FROM (SELECT ",
            $crate::values::log_of_row!(),
            " AS log FROM taken) logs WHERE log <> '@pool'
                     ORDER BY turn) turns),
             placed AS MATERIALIZED (
                 SELECT t.*, nextval('entries_position_seq') AS position FROM taken t, locked ORDER BY ",
            $order,
            "),
             stored AS (
                 INSERT INTO entries (position, job_id, log, kind, first_seq, last_seq, at_us, body, file_bytes)
                 OVERRIDING SYSTEM VALUE SELECT position, id, ",
            $crate::values::log_of_row!(),
            ", ",
            $kind,
            ", ",
            $first_seq,
            ", last_seq, ",
            $at,
            ", ",
            $body,
            ", ",
            $file_bytes,
            " FROM placed)"
        )
    };
}
pub(super) use insert_entries;
pub(crate) use stored_entries;

/// A write to one job, which goes to Postgres together with others of its kind.
pub(crate) trait BatchedWrite: Sized + Send + Sync + 'static {
    /// Row that comes back for each stored entry.
    type Row: AsRef<InsertedEntry> + Send;

    /// One statement, and so one transaction, for many writes. Writes that the state of their job does not allow return
    /// no row.
    ///
    /// So that two statements never wait for each other, they lock in one order: jobs by their ids, then projects by
    /// their numbers ([`insert_entries`]), then counters. Jobs of a concurrency key go alone: see `queue::heads`.
    const SQL: &'static str;

    /// Id of the job. A statement has at most one write to each job.
    fn id(&self) -> &JobId;

    /// Bytes of the write's data.
    fn bytes(&self) -> usize {
        0
    }

    /// Executes the statement for these writes, which are sorted by the ids of their jobs.
    fn execute(
        connection: &mut PgConnection,
        writes: &[Self],
    ) -> impl Future<Output = sqlx::Result<Vec<Self::Row>>> + Send;
}

row! {
    /// Row of a stored entry.
    #[derive(Debug)]
    pub(crate) struct InsertedEntry {
        pub(super) id: String,
        target: String,
        kind: String,
        project: String,
        stream: String,
        position: i64,
        last_seq: i64,
    }
}

impl AsRef<Self> for InsertedEntry {
    fn as_ref(&self) -> &Self {
        self
    }
}

impl InsertedEntry {
    pub(crate) fn position(&self) -> Position {
        Position(self.position as u64)
    }

    pub(crate) fn last_seq(&self) -> Seq {
        Seq(self.last_seq as u64)
    }

    /// Returns the entry, which has one number, or none of its own.
    pub(crate) fn entry(&self, at: Timestamp, body: EntryBody) -> Result<Entry> {
        Ok(Entry {
            position: self.position(),
            job: parse(&self.id)?,
            kind: job_kind(&self.target, &self.kind)?,
            project: project_of(&self.project)?,
            stream: parse(&self.stream)?,
            first_seq: self.last_seq(),
            last_seq: self.last_seq(),
            at,
            body,
        })
    }
}
