//! The queue of writes of one kind, and the tasks that execute them.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::FutureExt;
use rdev_domain::{Error, Result};
use sqlx::PgPool;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::write::BatchedWrite;
use crate::db::Transaction;
use crate::db::postgres::WORK_TIMEOUT;
use crate::error::{Shared, database, may_go_alone};

/// Maximum number of statements under way: while one waits for its flush, the next one does its work.
const STATEMENTS_MAX: usize = 2;
/// Maximum number of writes of one statement.
const WRITES_MAX: usize = 500;
/// Maximum bytes of one statement, unless a single write has more.
const BYTES_MAX: usize = 4 * 1024 * 1024;
/// Maximum number of waiting writes. Beyond it callers get `Unavailable`.
const WAITING_MAX: usize = 10_000;

/// Writes of one kind; clones share the queue.
pub(crate) struct Batcher<W: BatchedWrite> {
    pool: PgPool,
    inner: Arc<Mutex<Inner<W>>>,
}

struct Inner<W: BatchedWrite> {
    waiting: Vec<Waiting<W>>,
    /// Number of tasks that execute writes; each goes on with those that wait.
    running: usize,
}

struct Waiting<W: BatchedWrite> {
    write: W,
    caller: Caller<W::Row>,
}

type Caller<R> = oneshot::Sender<Result<Vec<R>>>;

impl<W: BatchedWrite> Clone for Batcher<W> {
    fn clone(&self) -> Self {
        Self { pool: self.pool.clone(), inner: self.inner.clone() }
    }
}

impl<W: BatchedWrite> fmt::Debug for Batcher<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batcher").field("waiting", &self.inner().waiting.len()).finish_non_exhaustive()
    }
}

impl<W: BatchedWrite> Batcher<W> {
    pub(super) fn on(pool: &PgPool) -> Self {
        let inner = Inner { waiting: Vec::new(), running: 0 };
        Self { pool: pool.clone(), inner: Arc::new(Mutex::new(inner)) }
    }

    /// Executes a write, together with others. No row comes back when the state of its job does not allow the write. A
    /// caller that goes away before the statement began withdraws the write.
    ///
    /// # Errors
    /// `Unavailable` when the server does not answer within [`WORK_TIMEOUT`], or too many writes wait.
    pub(crate) async fn write(&self, write: W) -> Result<Vec<W::Row>> {
        let (caller, answer) = oneshot::channel();
        if self.join(Waiting { write, caller })? {
            // Tasks of their own: no caller depends on another one's staying.
            tokio::spawn(self.clone().run());
        }
        match timeout(WORK_TIMEOUT, answer).await {
            Ok(Ok(done)) => done,
            Ok(Err(_)) => Err(Error::Internal(anyhow::anyhow!("the runtime is shutting down"))),
            Err(_) => Err(Error::unavailable("database", anyhow::anyhow!("no answer in {WORK_TIMEOUT:?}"))),
        }
    }

    /// Adds a write. True when the caller has to start a task.
    fn join(&self, waiting: Waiting<W>) -> Result<bool> {
        let mut inner = self.inner();
        if inner.waiting.len() >= WAITING_MAX {
            return Err(Error::unavailable("database", anyhow::anyhow!("{WAITING_MAX} writes are waiting")));
        }
        inner.waiting.push(waiting);
        let starts = inner.running < STATEMENTS_MAX;
        inner.running += usize::from(starts);
        Ok(starts)
    }

    async fn run(self) {
        loop {
            let (writes, callers) = self.next();
            if writes.is_empty() {
                return;
            }
            match self.try_execute(&writes).await {
                Ok(rows) => answer_all(&writes, callers, rows),
                Err(error) if writes.len() > 1 && may_go_alone(&error) => {
                    for (write, caller) in writes.iter().zip(callers) {
                        answer(caller, self.try_execute(std::slice::from_ref(write)).await);
                    }
                }
                Err(error) => {
                    let shared = Shared::new(error);
                    callers.into_iter().for_each(|caller| answer(caller, Err(shared.error())));
                }
            }
        }
    }

    /// Returns the next writes, sorted by the ids of their jobs. With none the task ends, and the next caller starts another one.
    fn next(&self) -> (Vec<W>, Vec<Caller<W::Row>>) {
        let mut inner = self.inner();
        let (mut bytes, mut seen) = (0, HashSet::new());
        let mut next = Vec::new();
        let mut later = Vec::new();
        for waiting in std::mem::take(&mut inner.waiting) {
            if waiting.caller.is_closed() {
                continue;
            }
            let fits =
                next.is_empty() || bytes + waiting.write.bytes() <= BYTES_MAX && next.len() < WRITES_MAX;
            if fits && seen.insert(waiting.write.id().clone()) {
                bytes += waiting.write.bytes();
                next.push(waiting);
            } else {
                later.push(waiting);
            }
        }
        inner.waiting = later;
        inner.running -= usize::from(next.is_empty());
        next.sort_by(|a, b| a.write.id().cmp(b.write.id()));
        next.into_iter().map(|waiting| (waiting.write, waiting.caller)).unzip()
    }

    async fn try_execute(&self, writes: &[W]) -> Result<Vec<W::Row>> {
        let taking = async {
            let mut transaction = Transaction::reading(&self.pool).await?;
            let rows = W::execute(transaction.connection()?, writes).await;
            transaction.end(rows.map_err(database)).await
        };
        // A panic fails these writes alone.
        match timeout(WORK_TIMEOUT, AssertUnwindSafe(taking).catch_unwind()).await {
            Ok(Ok(rows)) => rows,
            Ok(Err(_)) => Err(Error::Internal(anyhow::anyhow!("a batched write panicked"))),
            Err(_) => Err(Error::unavailable("database", anyhow::anyhow!("no answer in {WORK_TIMEOUT:?}"))),
        }
    }

    /// Locks the queue. Nothing panics while holding the lock.
    fn inner(&self) -> MutexGuard<'_, Inner<W>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn answer_all<W: BatchedWrite>(writes: &[W], callers: Vec<Caller<W::Row>>, rows: Vec<W::Row>) {
    let mut of_job: HashMap<String, Vec<W::Row>> = HashMap::new();
    for row in rows {
        of_job.entry(row.as_ref().id.clone()).or_default().push(row);
    }
    for (write, caller) in writes.iter().zip(callers) {
        answer(caller, Ok(of_job.remove(write.id().as_str()).unwrap_or_default()));
    }
}

fn answer<R>(caller: Caller<R>, rows: Result<Vec<R>>) {
    // A caller that has gone away finds out from the store.
    drop(caller.send(rows));
}
