//! Notifications between the parts of this process, and to the other processes: new work, requested cancellations,
//! leases to renew.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rdev_domain::{JobId, ProjectId, Target};
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
    /// Number of announced cancellations that nobody here was waiting for.
    unheard: AtomicU64,
    /// Projects whose commands have just been accepted by this process, up to [`PROJECTS_MAX`].
    projects: Mutex<Vec<ProjectId>>,
    work: Notify,
    renewal: Notify,
    signals: Arc<dyn Signals>,
}

/// Maximum number of projects that are remembered until the worker asks.
const PROJECTS_MAX: usize = 64;

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
        let inner = Inner {
            cancellations: WeakMap::default(),
            unheard: AtomicU64::new(0),
            projects: Mutex::default(),
            work,
            renewal,
            signals,
        };
        Self { inner: Arc::new(inner) }
    }

    /// Announces work that any worker may claim.
    pub fn notify_work(&self) {
        self.notify_work_here();
        self.notify_work_elsewhere();
    }

    /// Announces a new job, which any worker may claim. The one of this process learns whose it is.
    pub(crate) fn notify_job(&self, target: &Target) {
        if let Target::Project(project) = target {
            let mut projects = self.inner.projects.lock().unwrap_or_else(PoisonError::into_inner);
            if projects.len() < PROJECTS_MAX && !projects.contains(project) {
                projects.push(project.clone());
            }
        }
        self.notify_work();
    }

    /// Returns the projects whose commands this process has accepted since the last call, or most of them.
    pub(crate) fn take_projects(&self) -> Vec<ProjectId> {
        std::mem::take(&mut *self.inner.projects.lock().unwrap_or_else(PoisonError::into_inner))
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
        match self.inner.cancellations.get(id) {
            Some(token) => token.cancel(),
            None => {
                self.inner.unheard.fetch_add(1, Ordering::SeqCst);
            }
        }
    }

    /// Returns the number of announced cancellations that nobody in this process was waiting for.
    pub(crate) fn unheard(&self) -> u64 {
        self.inner.unheard.load(Ordering::SeqCst)
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

    #[test]
    fn a_cancellation_that_nobody_waits_for_is_counted() {
        let (wakeups, job) = (Wakeups::default(), id(&format!("cmd-{}", "0".repeat(32))));
        wakeups.cancel(&job);
        assert_eq!(wakeups.unheard(), 1);
        let _held = wakeups.cancellation(&job);
        wakeups.cancel(&job);
        assert_eq!(wakeups.unheard(), 1);
    }
}
