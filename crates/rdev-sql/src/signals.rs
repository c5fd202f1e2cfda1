//! Hints between processes by LISTEN and NOTIFY.
//!
//! A commit with a notification takes a lock of the whole server, so the transactions that store data send none: a task
//! of its own sends the collected hints, the first at once, in commits that do not wait for the disk, and pauses for four times
//! as long as the sending took: however many hints there are, a process sends for a fifth of the time.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::{BoxStream, unfold};
use rdev_domain::{JobId, Position, ProjectId, Result};
use rdev_ports::{Appended, Signal, Signals, spawn_for_good};
use serde::{Deserialize, Serialize};
use sqlx::postgres::{PgConnectOptions, PgListener, PgPool, PgPoolOptions};
use tokio::sync::{Notify, broadcast};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::db::{Transaction, postgres};
use crate::error::database;
use crate::values::POOL;

const CHANNEL: &str = "rdev";
/// Pause after each sending, in times of the sending; and its bounds.
const PAUSE: u32 = 4;
const PAUSE_MIN: Duration = Duration::from_millis(1);
const PAUSE_MAX: Duration = Duration::from_millis(10);
/// Sends hints. They may be lost in a crash: no flush while holding the lock of the server.
const SEND: &str = "SELECT set_config('synchronous_commit', 'off', TRUE), pg_notify($1, payload) FROM unnest($2::TEXT[]) payload";
/// Maximum number of jobs in one notification. Postgres takes less than 8,000 bytes, and a job needs less than 150.
const NAMED_MAX: usize = 48;
/// Maximum number of jobs that wait to be sent. Beyond it a resync is sent instead.
const WAITING_MAX: usize = 2_000;
/// Maximum number of signals that a subscriber may be behind. Beyond it the subscriber gets a resync.
const BEHIND_MAX: usize = 1_024;
/// Time without a notification after which a listener checks its connection.
const SILENCE: Duration = Duration::from_secs(15);
/// Maximum time of the answer.
const ANSWER: Duration = Duration::from_secs(5);
/// Pauses between attempts to listen again: the first, doubled each time up to the last.
const RETRY_FIRST: Duration = Duration::from_millis(100);
const RETRY_LAST: Duration = Duration::from_secs(5);

/// Signals of the processes on one Postgres database. Its background tasks end when it is dropped.
pub(crate) struct PostgresSignals {
    waiting: Arc<Waiting>,
    received: broadcast::Sender<Signal>,
    tasks: [AbortHandle; 2],
}

/// Hints that wait to be sent.
#[derive(Default)]
struct Waiting {
    pending: Mutex<Pending>,
    bell: Notify,
}

#[derive(Default)]
struct Pending {
    appended: HashMap<JobId, (Option<ProjectId>, Position)>,
    cancel: Vec<JobId>,
    work: bool,
    resync: bool,
}

/// Payload of a notification, with the names that replicas of earlier versions read.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Message {
    /// Number of the sender, which ignores its own notifications.
    from: u64,
    #[serde(rename = "grown", default, skip_serializing_if = "Vec::is_empty")]
    appended: Vec<(String, String, u64)>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    cancel: Vec<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    work: bool,
    #[serde(rename = "anything", default, skip_serializing_if = "std::ops::Not::not")]
    resync: bool,
}

impl PostgresSignals {
    /// Begins to send over connections of `pool`, and to listen on one of its own. `failed` is cancelled when a task has
    /// ended.
    pub(crate) fn start(pool: PgPool, failed: &CancellationToken) -> Self {
        let waiting = Arc::new(Waiting::default());
        let (received, _) = broadcast::channel(BEHIND_MAX);
        let own = own_number();
        let options = PgConnectOptions::clone(&pool.connect_options());
        let sending = spawn_for_good(failed, send_all(waiting.clone(), pool, own));
        let listening = spawn_for_good(failed, listen_always(options, received.clone(), own));
        Self { waiting, received, tasks: [sending, listening] }
    }
}

impl Drop for PostgresSignals {
    fn drop(&mut self) {
        self.tasks.iter().for_each(AbortHandle::abort);
    }
}

impl Signals for PostgresSignals {
    fn publish(&self, signal: Signal) {
        let mut pending = self.waiting.pending();
        match signal {
            Signal::Appended(appended) => {
                for Appended { project, job, position } in appended {
                    pending.appended.insert(job, (project, position));
                }
            }
            Signal::Work => pending.work = true,
            Signal::Cancel(id) => pending.cancel.push(id),
            Signal::Resync => pending.resync = true,
        }
        if pending.appended.len() + pending.cancel.len() > WAITING_MAX {
            *pending = Pending { resync: true, ..Pending::default() };
        }
        drop(pending);
        self.waiting.bell.notify_one();
    }

    fn subscribe(&self) -> BoxStream<'static, Signal> {
        unfold(self.received.subscribe(), |mut received| async {
            match received.recv().await {
                Ok(signal) => Some((signal, received)),
                Err(broadcast::error::RecvError::Lagged(_)) => Some((Signal::Resync, received)),
                Err(broadcast::error::RecvError::Closed) => None,
            }
        })
        .boxed()
    }

    fn shared(&self) -> bool {
        true
    }
}

impl Waiting {
    /// Locks the hints. Nothing panics while holding the lock.
    fn pending(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn send_all(waiting: Arc<Waiting>, pool: PgPool, own: u64) {
    loop {
        waiting.bell.notified().await;
        let pending = std::mem::take(&mut *waiting.pending());
        let began = Instant::now();
        if let Err(error) = send(&pool, pending.messages(own)).await {
            tracing::debug!(?error, "sending hints to other processes failed, sending a resync");
            waiting.pending().resync = true;
            waiting.bell.notify_one();
            sleep(RETRY_FIRST).await;
        }
        sleep((began.elapsed() * PAUSE).clamp(PAUSE_MIN, PAUSE_MAX)).await;
    }
}

async fn send(pool: &PgPool, messages: Vec<Message>) -> Result<()> {
    let payloads = messages.iter().map(serde_json::to_string).collect::<serde_json::Result<Vec<_>>>();
    let payloads = payloads.map_err(anyhow::Error::from)?;
    let sending = async {
        let mut transaction = Transaction::reading(pool).await?;
        let sent = sqlx::query(SEND).bind(CHANNEL).bind(payloads).execute(transaction.connection()?).await;
        transaction.end(sent.map_err(database)).await
    };
    match timeout(postgres::WORK_TIMEOUT, sending).await {
        Ok(sent) => sent.map(|_| ()),
        Err(elapsed) => Err(rdev_domain::Error::unavailable("database", elapsed)),
    }
}

impl Pending {
    /// Returns as few messages as can hold all hints.
    fn messages(self, from: u64) -> Vec<Message> {
        let appended: Vec<_> = self
            .appended
            .iter()
            .map(|(job, (project, position))| {
                let log = project.as_ref().map_or(POOL, ProjectId::as_str);
                (log.to_owned(), job.as_str().to_owned(), position.0)
            })
            .collect();
        let cancel: Vec<_> = self.cancel.iter().map(|id| id.as_str().to_owned()).collect();
        let appended = appended.chunks(NAMED_MAX).map(|appended| Message {
            from,
            appended: appended.to_vec(),
            ..Message::default()
        });
        let cancel = cancel.chunks(NAMED_MAX).map(|cancel| Message {
            from,
            cancel: cancel.to_vec(),
            ..Message::default()
        });
        let mut messages: Vec<_> = cancel.chain(appended).collect();
        if self.work || self.resync {
            messages.push(Message { from, work: self.work, resync: self.resync, ..Message::default() });
        }
        messages
    }
}

async fn listen_always(options: PgConnectOptions, received: broadcast::Sender<Signal>, own: u64) {
    let mut pause = RETRY_FIRST;
    loop {
        let error = match timeout(ANSWER, listener(&options)).await {
            Ok(Ok(listener)) => {
                pause = RETRY_FIRST;
                forward(&received, Signal::Resync);
                listen(listener, &received, own).await
            }
            Ok(Err(error)) => error,
            Err(_) => sqlx::Error::PoolTimedOut,
        };
        tracing::debug!(%error, "listening for hints of other processes failed, retrying");
        sleep(pause).await;
        pause = (pause * 2).min(RETRY_LAST);
    }
}

/// Opens a connection that only listens. Hints that come while there is none are lost.
async fn listener(options: &PgConnectOptions) -> sqlx::Result<PgListener> {
    let pool = PgPoolOptions::new().max_connections(1).connect_lazy_with(options.clone());
    let mut listener = PgListener::connect_with(&pool).await?;
    listener.eager_reconnect(false);
    listener.listen(CHANNEL).await?;
    Ok(listener)
}

/// Listens until the connection is lost, or does not answer a check.
async fn listen(mut listener: PgListener, received: &broadcast::Sender<Signal>, own: u64) -> sqlx::Error {
    loop {
        match timeout(SILENCE, listener.try_recv()).await {
            Ok(Ok(Some(notification))) => receive(notification.payload(), received, own),
            Ok(Ok(None)) => return sqlx::Error::PoolClosed,
            Ok(Err(error)) => return error,
            Err(_) => match timeout(ANSWER, sqlx::query("SELECT 1").execute(&mut listener)).await {
                Ok(Ok(_)) => {}
                Ok(Err(error)) => return error,
                Err(_) => return sqlx::Error::PoolTimedOut,
            },
        }
    }
}

fn receive(payload: &str, received: &broadcast::Sender<Signal>, own: u64) {
    // From another version, or another program: the store has the truth.
    let Ok(message) = serde_json::from_str::<Message>(payload) else {
        return forward(received, Signal::Resync);
    };
    if message.from == own {
        return;
    }
    let mut appended = Vec::new();
    for (log, job, position) in &message.appended {
        if let Ok(job) = job.parse() {
            // What is in no project's log is sent under a name that is no project's.
            appended.push(Appended { project: log.parse().ok(), job, position: Position(*position) });
        }
    }
    if !appended.is_empty() {
        forward(received, Signal::Appended(appended));
    }
    message
        .cancel
        .iter()
        .filter_map(|id| id.parse().ok())
        .for_each(|id| forward(received, Signal::Cancel(id)));
    if message.work {
        forward(received, Signal::Work);
    }
    if message.resync {
        forward(received, Signal::Resync);
    }
}

fn forward(received: &broadcast::Sender<Signal>, signal: Signal) {
    // There may be no subscriber yet; a new subscriber reads the store first.
    drop(received.send(signal));
}

/// Returns a random number for this store, which tells its notifications from those of others.
fn own_number() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(std::process::id()) >> 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_notification_is_too_long() {
        let mut pending = Pending { work: true, ..Pending::default() };
        for n in 0..1000 {
            let job: JobId = format!("cmd-{n:032x}").parse().unwrap();
            pending.appended.insert(job.clone(), (Some("p".repeat(63).parse().unwrap()), Position(u64::MAX)));
            pending.cancel.push(job);
        }
        let messages = pending.messages(u64::MAX);
        let named: usize = messages.iter().map(|message| message.appended.len()).sum();
        assert_eq!(named, 1000);
        for message in messages {
            assert!(serde_json::to_string(&message).unwrap().len() < 8000);
        }
    }
}
