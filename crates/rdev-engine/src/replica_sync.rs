//! What other processes on the same store do: their signals, and a look of our own at what is followed here,
//! since signals may be lost.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use rdev_domain::{Position, Result};
use rdev_ports::{EventLog, Signal, Signals};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::Live;

/// Pause between two looks at the logs that somebody waits for.
const LOOK: Duration = Duration::from_secs(1);

/// Commands that the log is asked about at once.
const ASKED_MAX: usize = 500;

/// Keeps what this process knows abreast of the others.
pub struct ReplicaSync {
    live: Live,
    log: Arc<dyn EventLog>,
    signals: Arc<dyn Signals>,
}

impl ReplicaSync {
    /// Wires the service.
    pub fn new(live: Live, log: Arc<dyn EventLog>, signals: Arc<dyn Signals>) -> Self {
        Self { live, log, signals }
    }

    /// Listens and looks until `shutdown`; where there are no others, there is nothing to do.
    pub async fn run(self, shutdown: CancellationToken) {
        if !self.signals.shared() {
            return shutdown.cancelled().await;
        }
        let mut signals = self.signals.subscribe();
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                Some(signal) = signals.next() => {
                    let anything = signal == Signal::Resync;
                    self.live.heard(signal);
                    if anything {
                        look.reset_immediately();
                    }
                }
                _ = look.tick() => {
                    if let Err(error) = self.look().await {
                        tracing::warn!(?error, "it is not known how far the logs go, looking again");
                    }
                }
            }
        }
    }

    async fn look(&self) -> Result<()> {
        let (jobs, targets) = self.live.followed();
        for jobs in jobs.chunks(ASKED_MAX) {
            for (id, position) in self.log.ends(jobs).await? {
                self.live.has_advanced(&id, position);
            }
        }
        for target in targets {
            self.live.target_has_advanced(&target, self.log.last(&target, Position::MAX).await?);
        }
        Ok(())
    }
}
