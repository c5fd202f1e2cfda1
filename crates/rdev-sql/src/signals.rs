//! Hints between processes by LISTEN and NOTIFY.
//!
//! A commit with a notification takes a lock of the whole server, so none is sent from the transactions that
//! store: a task of its own sends what has come together, at once and then at most 100 times a second, in
//! commits that wait for no disk.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::{BoxStream, unfold};
use rdev_domain::{JobId, Position, Result, Target};
use rdev_ports::{Appended, Signal, Signals, spawn_for_good};
use serde::{Deserialize, Serialize};
use sqlx::postgres::{PgConnectOptions, PgListener, PgPool, PgPoolOptions};
use tokio::sync::{Notify, broadcast};
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::db::Transaction;
use crate::db::{Commit, postgres};
use crate::error::database;
use crate::target::column;

const CHANNEL: &str = "rdev";
/// Pause after each sending.
const PAUSE: Duration = Duration::from_millis(10);
/// Commands named by one notification; Postgres takes less than 8,000 bytes, and each of these is under 150.
const NAMED_MAX: usize = 48;
/// Commands that wait to be named; beyond them everything may have changed.
const WAITING_MAX: usize = 2_000;
/// Signals that a subscriber may be behind.
const BEHIND_MAX: usize = 1_024;
/// A listener that has heard nothing for so long asks whether anybody is there.
const SILENCE: Duration = Duration::from_secs(15);
/// How long the answer may take.
const ANSWER: Duration = Duration::from_secs(5);
/// Pauses between attempts to listen again: doubled each time, up to the last.
const RETRY_FIRST: Duration = Duration::from_millis(100);
const RETRY_LAST: Duration = Duration::from_secs(5);

/// The signals of the processes on one Postgres database. Its tasks end with it.
pub(crate) struct PostgresSignals {
    waiting: Arc<Waiting>,
    heard: broadcast::Sender<Signal>,
    tasks: [AbortHandle; 2],
}

/// What is to be sent next.
#[derive(Default)]
struct Waiting {
    bag: Mutex<Bag>,
    bell: Notify,
}

#[derive(Default)]
struct Bag {
    grown: HashMap<JobId, (Target, Position)>,
    cancel: Vec<JobId>,
    work: bool,
    anything: bool,
}

/// A notification as it travels.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Message {
    /// Who has sent it: nobody listens to himself.
    from: u64,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    grown: Vec<(String, String, u64)>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    cancel: Vec<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    work: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    anything: bool,
}

impl PostgresSignals {
    /// Begins to send by connections of `pool`, and to listen by one of its own. `failed` tells when a task has ended.
    pub(crate) fn start(pool: PgPool, failed: &CancellationToken) -> Self {
        let waiting = Arc::new(Waiting::default());
        let (heard, _) = broadcast::channel(BEHIND_MAX);
        let own = own_number();
        let options = PgConnectOptions::clone(&pool.connect_options());
        let sending = spawn_for_good(failed, send_all(waiting.clone(), pool, own));
        let listening = spawn_for_good(failed, listen_always(options, heard.clone(), own));
        Self { waiting, heard, tasks: [sending, listening] }
    }
}

impl Drop for PostgresSignals {
    fn drop(&mut self) {
        self.tasks.iter().for_each(AbortHandle::abort);
    }
}

impl Signals for PostgresSignals {
    fn publish(&self, signal: Signal) {
        let mut bag = self.waiting.bag();
        match signal {
            Signal::Appended(grown) => {
                for Appended { target, job, position } in grown {
                    bag.grown.insert(job, (target, position));
                }
            }
            Signal::Work => bag.work = true,
            Signal::Cancel(id) => bag.cancel.push(id),
            Signal::Resync => bag.anything = true,
        }
        if bag.grown.len() + bag.cancel.len() > WAITING_MAX {
            *bag = Bag { anything: true, ..Bag::default() };
        }
        drop(bag);
        self.waiting.bell.notify_one();
    }

    fn subscribe(&self) -> BoxStream<'static, Signal> {
        unfold(self.heard.subscribe(), |mut heard| async {
            match heard.recv().await {
                Ok(signal) => Some((signal, heard)),
                Err(broadcast::error::RecvError::Lagged(_)) => Some((Signal::Resync, heard)),
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
    /// Nothing panics with the bag in hand.
    fn bag(&self) -> MutexGuard<'_, Bag> {
        self.bag.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn send_all(waiting: Arc<Waiting>, pool: PgPool, own: u64) {
    loop {
        waiting.bell.notified().await;
        let bag = std::mem::take(&mut *waiting.bag());
        if let Err(error) = send(&pool, bag.messages(own)).await {
            tracing::debug!(?error, "a hint to other processes was not sent, they are told to look");
            waiting.bag().anything = true;
            waiting.bell.notify_one();
            sleep(RETRY_FIRST).await;
        }
        sleep(PAUSE).await;
    }
}

async fn send(pool: &PgPool, messages: Vec<Message>) -> Result<()> {
    let payloads = messages.iter().map(serde_json::to_string).collect::<serde_json::Result<Vec<_>>>();
    let payloads = payloads.map_err(anyhow::Error::from)?;
    let sending = async {
        // A hint that a crash takes is worth no flush, least of all one with the server's lock in hand.
        let mut work = Transaction::begin(pool, Commit::Async).await?;
        let sent = sqlx::query("SELECT pg_notify($1, payload) FROM unnest($2::TEXT[]) payload")
            .bind(CHANNEL)
            .bind(payloads)
            .execute(work.connection()?)
            .await;
        work.end(sent.map_err(database)).await
    };
    match timeout(postgres::WORK_TIMEOUT, sending).await {
        Ok(sent) => sent.map(|_| ()),
        Err(elapsed) => Err(rdev_domain::Error::unavailable("database", elapsed)),
    }
}

impl Bag {
    /// As few as hold it all.
    fn messages(self, from: u64) -> Vec<Message> {
        let grown: Vec<_> = self
            .grown
            .iter()
            .map(|(job, (target, position))| (column(target).to_owned(), job.as_str().to_owned(), position.0))
            .collect();
        let cancel: Vec<_> = self.cancel.iter().map(|id| id.as_str().to_owned()).collect();
        let grown = grown.chunks(NAMED_MAX).map(|grown| Message {
            from,
            grown: grown.to_vec(),
            ..Message::default()
        });
        let cancel = cancel.chunks(NAMED_MAX).map(|cancel| Message {
            from,
            cancel: cancel.to_vec(),
            ..Message::default()
        });
        let mut messages: Vec<_> = cancel.chain(grown).collect();
        if self.work || self.anything {
            messages.push(Message { from, work: self.work, anything: self.anything, ..Message::default() });
        }
        messages
    }
}

async fn listen_always(options: PgConnectOptions, heard: broadcast::Sender<Signal>, own: u64) {
    let mut pause = RETRY_FIRST;
    loop {
        let error = match timeout(ANSWER, listener(&options)).await {
            Ok(Ok(listener)) => {
                pause = RETRY_FIRST;
                tell(&heard, Signal::Resync);
                listen(listener, &heard, own).await
            }
            Ok(Err(error)) => error,
            Err(_) => sqlx::Error::PoolTimedOut,
        };
        tracing::debug!(%error, "hints of other processes are not heard, listening again");
        sleep(pause).await;
        pause = (pause * 2).min(RETRY_LAST);
    }
}

/// A connection for nothing but listening: what is lost while it is away is not heard later.
async fn listener(options: &PgConnectOptions) -> sqlx::Result<PgListener> {
    let pool = PgPoolOptions::new().max_connections(1).connect_lazy_with(options.clone());
    let mut listener = PgListener::connect_with(&pool).await?;
    listener.eager_reconnect(false);
    listener.listen(CHANNEL).await?;
    Ok(listener)
}

/// Listens until the connection is lost, or says nothing when it is asked.
async fn listen(mut listener: PgListener, heard: &broadcast::Sender<Signal>, own: u64) -> sqlx::Error {
    loop {
        match timeout(SILENCE, listener.try_recv()).await {
            Ok(Ok(Some(notification))) => hear(notification.payload(), heard, own),
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

fn hear(payload: &str, heard: &broadcast::Sender<Signal>, own: u64) {
    // Of another version, or of another program: whatever it means, the store knows.
    let Ok(message) = serde_json::from_str::<Message>(payload) else {
        return tell(heard, Signal::Resync);
    };
    if message.from == own {
        return;
    }
    let mut grown = Vec::new();
    for (target, job, position) in &message.grown {
        if let (Ok(target), Ok(job)) = (crate::target::target(target), job.parse()) {
            grown.push(Appended { target, job, position: Position(*position) });
        }
    }
    if !grown.is_empty() {
        tell(heard, Signal::Appended(grown));
    }
    message.cancel.iter().filter_map(|id| id.parse().ok()).for_each(|id| tell(heard, Signal::Cancel(id)));
    if message.work {
        tell(heard, Signal::Work);
    }
    if message.anything {
        tell(heard, Signal::Resync);
    }
}

fn tell(heard: &broadcast::Sender<Signal>, signal: Signal) {
    // Nobody may be subscribed yet; whoever subscribes looks first.
    drop(heard.send(signal));
}

/// A number that no other process has, nor another store of this one.
fn own_number() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(std::process::id()) >> 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_notification_is_too_long() {
        let mut bag = Bag { work: true, ..Bag::default() };
        for n in 0..1000 {
            let job: JobId = format!("cmd-{n:032x}").parse().unwrap();
            bag.grown
                .insert(job.clone(), (Target::Project("p".repeat(63).parse().unwrap()), Position(u64::MAX)));
            bag.cancel.push(job);
        }
        let messages = bag.messages(u64::MAX);
        let named: usize = messages.iter().map(|message| message.grown.len()).sum();
        assert_eq!(named, 1000);
        for message in messages {
            assert!(serde_json::to_string(&message).unwrap().len() < 8000);
        }
    }
}
