//! Notifications between the parts of this process, and to the other processes: new work, requested cancellations,
//! leases to renew.

use std::sync::Arc;

use rdev_domain::JobId;
use rdev_ports::{Signal, Signals, SingleProcess};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::weak_map::WeakMap;

/// Notifications of this process; clones share them. A notification may be lost: whoever waits for one polls as well.
#[derive(Clone)]
pub struct Wakeups {
    inner: Arc<Inner>,
}

struct Inner {
    cancellations: WeakMap<JobId, CancellationToken>,
    work: Notify,
    renewal: Notify,
    signals: Arc<dyn Signals>,
}

/// Wakeups of a process that is the only user of its store.
impl Default for Wakeups {
    fn default() -> Self {
        Self::new(Arc::new(SingleProcess))
    }
}

impl Wakeups {
    /// Makes wakeups that reach the other processes by these signals.
    pub fn new(signals: Arc<dyn Signals>) -> Self {
        let (work, renewal) = (Notify::new(), Notify::new());
        Self { inner: Arc::new(Inner { cancellations: WeakMap::default(), work, renewal, signals }) }
    }

    /// Announces work that any worker may claim.
    pub fn notify_work(&self) {
        self.notify_work_here();
        self.notify_work_elsewhere();
    }

    /// Announces work to the worker of this process alone, as another process has announced it to all.
    pub(crate) fn notify_work_here(&self) {
        self.inner.work.notify_one();
    }

    /// Announces work to the other processes alone: the worker of this one is about to claim anyway.
    pub(crate) fn notify_work_elsewhere(&self) {
        self.inner.signals.publish(Signal::Work);
    }

    /// Waits until work is announced.
    pub(crate) async fn work(&self) {
        self.inner.work.notified().await;
    }

    /// Announces the requested cancellation of a job to whoever runs the job.
    pub(crate) fn cancel(&self, id: &JobId) {
        self.cancel_here(id);
        self.inner.signals.publish(Signal::Cancel(id.clone()));
    }

    /// Announces the requested cancellation of a job to the worker of this process alone.
    pub(crate) fn cancel_here(&self, id: &JobId) {
        if let Some(token) = self.inner.cancellations.get(id) {
            token.cancel();
        }
    }

    /// Returns the token that is cancelled when the cancellation of a job is announced. Whoever runs the job holds the
    /// token, and nobody else does: a cancellation of one round of a task is not for the next round.
    pub(crate) fn cancellation(&self, id: &JobId) -> Arc<CancellationToken> {
        self.inner.cancellations.get_or_insert_with(id, CancellationToken::new)
    }

    /// Has leases renewed at once: a renewal also finds cancellations whose announcement was lost.
    pub(crate) fn notify_renewal(&self) {
        self.inner.renewal.notify_one();
    }

    /// Waits until leases are to be renewed at once.
    pub(crate) async fn renewal(&self) {
        self.inner.renewal.notified().await;
    }
}

#[cfg(test)]
mod tests {
    use rdev_ports::testing::id;

    use super::*;

    #[test]
    fn a_cancellation_is_not_for_the_next_run() {
        let (wakeups, job) = (Wakeups::default(), id(&format!("cmd-{}", "0".repeat(32))));
        let first = wakeups.cancellation(&job);
        wakeups.cancel(&job);
        assert!(first.is_cancelled());
        drop(first);
        assert!(!wakeups.cancellation(&job).is_cancelled());
    }
}
