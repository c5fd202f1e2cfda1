//! Synchronisation with the other processes on the same store: their signals, and polls of the followed logs, as a
//! signal may be lost.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use rdev_domain::{LogView, Position, Result};
use rdev_ports::{EventLog, Signal, Signals};
use tokio::time::{MissedTickBehavior, interval, sleep};
use tokio_util::sync::CancellationToken;

use crate::{TailCache, Wakeups};

/// Pause between two polls of the followed logs.
const POLL: Duration = Duration::from_secs(1);

/// Pause between two looks at the settled position: entries that are stored closely one after the other are read together.
const GATHER: Duration = Duration::from_millis(10);

/// Jobs that one query of a poll is about.
const POLLED_MAX: usize = 500;

/// Keeps the caches and wakeups of this process abreast of the other processes.
pub struct ReplicaSync {
    tails: TailCache,
    wakeups: Wakeups,
    log: Arc<dyn EventLog>,
    signals: Arc<dyn Signals>,
}

impl ReplicaSync {
    /// Wires the service.
    pub fn new(
        tails: TailCache,
        wakeups: Wakeups,
        log: Arc<dyn EventLog>,
        signals: Arc<dyn Signals>,
    ) -> Self {
        Self { tails, wakeups, log, signals }
    }

    /// Listens and polls until `shutdown`. In a process that is the only user of its store, only waits for `shutdown`.
    pub async fn run(self, shutdown: CancellationToken) {
        if !self.signals.shared() {
            return shutdown.cancelled().await;
        }
        tokio::select! {
            () = self.listen(&shutdown) => {}
            () = self.settle() => {}
        }
    }

    /// Passes the signals of the other processes on, and polls the followed logs.
    async fn listen(&self, shutdown: &CancellationToken) {
        let mut signals = self.signals.subscribe();
        let mut poll = interval(POLL);
        poll.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                Some(signal) = signals.next() => {
                    let is_resync = signal == Signal::Resync;
                    self.apply(signal);
                    if is_resync {
                        poll.reset_immediately();
                    }
                }
                _ = poll.tick() => {
                    if let Err(error) = self.poll().await {
                        tracing::warn!(?error, "polling the followed logs failed, retrying");
                    }
                }
            }
        }
    }

    /// Passes a signal of another process on.
    fn apply(&self, signal: Signal) {
        match signal {
            Signal::Appended(appended) => self.tails.apply(&appended),
            Signal::Work => self.wakeups.notify_work_here(),
            Signal::Cancel(id) => self.wakeups.cancel_here(&id),
            // The poll that follows finds what was appended.
            Signal::Resync => {
                self.wakeups.notify_work_here();
                self.wakeups.notify_renewal();
            }
        }
    }

    /// Looks up, once for all readers, how far the log is settled.
    async fn settle(&self) {
        loop {
            self.tails.unsettled().await;
            // Bounded by the store's timeout.
            match self.log.last(&LogView::CHANGES, Position::MAX).await {
                Ok(position) => self.tails.settle(position),
                // The next poll announces the same again.
                Err(error) => tracing::warn!(?error, "looking up the settled position failed, retrying"),
            }
            sleep(GATHER).await;
        }
    }

    async fn poll(&self) -> Result<()> {
        let (jobs, views) = self.tails.followed();
        for jobs in jobs.chunks(POLLED_MAX) {
            for (id, position) in self.log.ends(jobs).await? {
                self.tails.advance_job(&id, position);
            }
        }
        for view in views {
            match &view.project {
                Some(_) => self.tails.advance_view(&view, self.log.last(&view, Position::MAX).await?),
                None => self.tails.notify_unsettled(),
            }
        }
        Ok(())
    }
}
