//! Group commit: steps of the queue that are asked for at the same moment go to Postgres together.
//!
//! The first one goes at once. Those that come while it is under way go together in the next statement, as
//! many as there are: nobody waits for a clock, and a flood costs few round trips and few commits.

mod append;
mod enqueue;
mod finish;
mod start;

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::FutureExt;
use rdev_domain::{Entry, EntryBody, Error, JobId, Position, Result, Seq, Timestamp};
use sqlx::{PgConnection, PgPool};
use tokio::sync::oneshot;
use tokio::time::timeout;

pub(crate) use self::append::Append;
pub(crate) use self::enqueue::Enqueue;
pub(crate) use self::finish::Finish;
pub(crate) use self::start::Start;
use crate::db::Transaction;
use crate::db::postgres::WORK_TIMEOUT;
use crate::error::{Shared, database, may_go_alone};
use crate::rows::parse;

/// Steps of one statement.
const STEPS_MAX: usize = 500;
/// Their bytes, unless a single one has more.
const BYTES_MAX: usize = 4 * 1024 * 1024;
/// Steps that wait; whoever comes beyond them is told to come again.
const WAITING_MAX: usize = 10_000;

/// Stores an entry for each row of `taken`, and tells their positions.
///
/// Whoever stores an entry holds the lock of its project from before the position is given until everybody
/// sees it. The pool's log is not read as a whole, and has none: those of one task hold its row. A position is given here, not by its column: what was inserted could only be brought together with
/// `taken` by a join, whose rows the planner cannot foresee.
macro_rules! stored {
    ($kind:literal, $first_seq:literal, $at:literal, $body:literal, in $order:literal, $told:literal) => {
        $crate::batch::stored!($kind, $first_seq, $at, $body, weighing "0", in $order, $told)
    };
    ($kind:literal, $first_seq:literal, $at:literal, $body:literal, weighing $file_bytes:expr, in $order:literal,
     $told:literal) => {
        concat!(
            "locked AS MATERIALIZED (
                 SELECT count(pg_advisory_xact_lock(turn)) FROM (
                     SELECT DISTINCT ",
            $crate::entries::lock_of!("project"),
            " AS turn FROM taken WHERE project <> '@pool'
                     ORDER BY turn) turns),
             placed AS MATERIALIZED (
                 SELECT t.*, nextval('events_position_seq') AS position FROM taken t, locked ORDER BY ",
            $order,
            "),
             stored AS (
                 INSERT INTO events (position, task_id, project, kind, first_seq, last_seq, at_us, body, file_bytes)
                 OVERRIDING SYSTEM VALUE SELECT position, id, project, ",
            $kind,
            ", ",
            $first_seq,
            ", last_seq, ",
            $at,
            ", ",
            $body,
            ", ",
            $file_bytes,
            " FROM placed)
             SELECT id, project, stream, last_seq, position",
            $told,
            " FROM placed"
        )
    };
}
use stored;

/// One step with one task.
pub(crate) trait BatchedWrite: Sized + Send + Sync + 'static {
    /// What comes back of it, a row for each entry of the log that was stored.
    type Row: AsRef<InsertedEntry> + Send;

    /// Takes many in one statement, which is a transaction by itself. Those that the state of their task does
    /// not allow are not among what comes back.
    ///
    /// So that two statements never wait for each other, they lock in one order: tasks by their ids, then
    /// projects by their numbers ([`stored`]), and nothing after these. A task's state is asked for by its times:
    /// by its name Postgres might go through all that wait or run, with a plan made when these were few.
    const SQL: &'static str;

    /// The task: a statement takes one step with each at most.
    fn id(&self) -> &JobId;

    /// The bytes that it carries.
    fn bytes(&self) -> usize {
        0
    }

    /// Runs it for these steps, in the order of their tasks.
    fn take(
        connection: &mut PgConnection,
        steps: &[Self],
    ) -> impl Future<Output = sqlx::Result<Vec<Self::Row>>> + Send;
}

/// What comes back of an entry that was stored.
#[derive(Debug, sqlx::FromRow)]
pub(crate) struct InsertedEntry {
    id: String,
    project: String,
    stream: String,
    position: i64,
    last_seq: i64,
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

    /// The entry that takes this one number, or none of its own.
    pub(crate) fn entry(&self, at: Timestamp, body: EntryBody) -> Result<Entry> {
        Ok(Entry {
            position: self.position(),
            target: crate::target::target(&self.project)?,
            job: parse(&self.id)?,
            stream: parse(&self.stream)?,
            first_seq: self.last_seq(),
            last_seq: self.last_seq(),
            at,
            body,
        })
    }
}

/// The groups of one database.
#[derive(Debug, Clone)]
pub(crate) struct Batchers {
    pub(crate) enqueue: Batcher<Enqueue>,
    pub(crate) start: Batcher<Start>,
    pub(crate) append: Batcher<Append>,
    pub(crate) finish: Batcher<Finish>,
}

impl Batchers {
    pub(crate) fn on(pool: &PgPool) -> Self {
        Self {
            enqueue: Batcher::on(pool),
            start: Batcher::on(pool),
            append: Batcher::on(pool),
            finish: Batcher::on(pool),
        }
    }
}

/// Steps of one kind; clones share them.
pub(crate) struct Batcher<S: BatchedWrite> {
    pool: PgPool,
    inner: Arc<Mutex<Inner<S>>>,
}

struct Inner<S: BatchedWrite> {
    waiting: Vec<Waiting<S>>,
    /// Whether steps are being taken, after which those that wait have their turn.
    under_way: bool,
}

struct Waiting<S: BatchedWrite> {
    step: S,
    caller: Caller<S::Row>,
}

type Caller<R> = oneshot::Sender<Result<Vec<R>>>;

impl<S: BatchedWrite> Clone for Batcher<S> {
    fn clone(&self) -> Self {
        Self { pool: self.pool.clone(), inner: self.inner.clone() }
    }
}

impl<S: BatchedWrite> fmt::Debug for Batcher<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Group").field("waiting", &self.inner().waiting.len()).finish_non_exhaustive()
    }
}

impl<S: BatchedWrite> Batcher<S> {
    fn on(pool: &PgPool) -> Self {
        let inner = Inner { waiting: Vec::new(), under_way: false };
        Self { pool: pool.clone(), inner: Arc::new(Mutex::new(inner)) }
    }

    /// Takes a step. Nothing comes back when the state of its task does not allow it. A caller that goes away
    /// before the step was begun takes it back.
    pub(crate) async fn take(&self, step: S) -> Result<Vec<S::Row>> {
        let (caller, answer) = oneshot::channel();
        if self.join(Waiting { step, caller })? {
            // A task of its own: nobody depends on another caller's staying.
            tokio::spawn(self.clone().run());
        }
        match timeout(WORK_TIMEOUT, answer).await {
            Ok(Ok(done)) => done,
            Ok(Err(_)) => Err(Error::Internal(anyhow::anyhow!("the runtime is shutting down"))),
            Err(_) => Err(Error::unavailable("database", anyhow::anyhow!("no answer in {WORK_TIMEOUT:?}"))),
        }
    }

    /// Has a step wait; whether somebody has to begin.
    fn join(&self, waiting: Waiting<S>) -> Result<bool> {
        let mut inner = self.inner();
        if inner.waiting.len() >= WAITING_MAX {
            return Err(Error::unavailable("database", anyhow::anyhow!("{WAITING_MAX} writes wait for it")));
        }
        inner.waiting.push(waiting);
        Ok(!std::mem::replace(&mut inner.under_way, true))
    }

    async fn run(self) {
        loop {
            let (steps, callers) = self.next();
            if steps.is_empty() {
                return;
            }
            match self.try_take(&steps).await {
                Ok(rows) => answer(&steps, callers, rows),
                Err(error) if steps.len() > 1 && may_go_alone(&error) => {
                    for (step, caller) in steps.iter().zip(callers) {
                        tell(caller, self.try_take(std::slice::from_ref(step)).await);
                    }
                }
                Err(error) => {
                    let shared = Shared::new(error);
                    callers.into_iter().for_each(|caller| tell(caller, Err(shared.error())));
                }
            }
        }
    }

    /// The steps that go next, in the order of their tasks; with none, whoever comes begins anew.
    fn next(&self) -> (Vec<S>, Vec<Caller<S::Row>>) {
        let mut inner = self.inner();
        let (mut bytes, mut seen) = (0, HashSet::new());
        let mut next = Vec::new();
        let mut later = Vec::new();
        for waiting in std::mem::take(&mut inner.waiting) {
            if waiting.caller.is_closed() {
                continue;
            }
            let fits = next.is_empty() || bytes + waiting.step.bytes() <= BYTES_MAX && next.len() < STEPS_MAX;
            if fits && seen.insert(waiting.step.id().clone()) {
                bytes += waiting.step.bytes();
                next.push(waiting);
            } else {
                later.push(waiting);
            }
        }
        inner.waiting = later;
        inner.under_way = !next.is_empty();
        next.sort_by(|a, b| a.step.id().cmp(b.step.id()));
        next.into_iter().map(|waiting| (waiting.step, waiting.caller)).unzip()
    }

    async fn try_take(&self, steps: &[S]) -> Result<Vec<S::Row>> {
        let taking = async {
            let mut work = Transaction::reading(&self.pool).await?;
            let rows = S::take(work.connection()?, steps).await;
            work.end(rows.map_err(database)).await
        };
        // A panic is one of these steps' alone.
        match timeout(WORK_TIMEOUT, AssertUnwindSafe(taking).catch_unwind()).await {
            Ok(Ok(rows)) => rows,
            Ok(Err(_)) => Err(Error::Internal(anyhow::anyhow!("a step of the queue panicked"))),
            Err(_) => Err(Error::unavailable("database", anyhow::anyhow!("no answer in {WORK_TIMEOUT:?}"))),
        }
    }

    /// Nothing panics with these in hand.
    fn inner(&self) -> MutexGuard<'_, Inner<S>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn answer<S: BatchedWrite>(steps: &[S], callers: Vec<Caller<S::Row>>, rows: Vec<S::Row>) {
    let mut of_task: HashMap<String, Vec<S::Row>> = HashMap::new();
    for row in rows {
        of_task.entry(row.as_ref().id.clone()).or_default().push(row);
    }
    for (step, caller) in steps.iter().zip(callers) {
        tell(caller, Ok(of_task.remove(step.id().as_str()).unwrap_or_default()));
    }
}

fn tell<R>(caller: Caller<R>, rows: Result<Vec<R>>) {
    // Whoever has gone away in the meantime finds out from the store.
    drop(caller.send(rows));
}

#[cfg(test)]
mod tests {

    use super::*;

    #[test]
    fn the_pool_is_known_by_its_name() {
        assert!(Enqueue::SQL.contains(&format!("project <> '{}'", crate::target::POOL)));
    }
}
