//! Synchronisation with the other processes on the same store: their signals, and polls of the followed logs, as a
//! signal may be lost.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use rdev_domain::{Position, Result};
use rdev_ports::{EventLog, Signal, Signals};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::{TailCache, Wakeups};

/// Pause between two polls of the followed logs.
const POLL: Duration = Duration::from_secs(1);

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

    async fn poll(&self) -> Result<()> {
        let (jobs, targets) = self.tails.followed();
        for jobs in jobs.chunks(POLLED_MAX) {
            for (id, position) in self.log.ends(jobs).await? {
                self.tails.advance_job(&id, position);
            }
        }
        for target in targets {
            self.tails.advance_target(&target, self.log.last(&target, Position::MAX).await?);
        }
        Ok(())
    }
}
