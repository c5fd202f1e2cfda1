//! Cache of the newest entries of the logs that somebody follows, so that a thousand subscribers of one log do not
//! read the same row a thousand times.
//!
//! It is a cache and a bell: a subscriber that finds nothing here reads the log.

mod tail;

use std::sync::Arc;

use rdev_domain::{Entry, EntryBody, JobId, Position, Target};
use rdev_ports::{Appended, Signal, Signals, SingleProcess};
use tokio::sync::watch;

use crate::weak_map::WeakMap;

use tail::Budget;
pub(crate) use tail::Tail;

/// Tails of the logs that this process writes or follows; clones share them.
#[derive(Clone)]
pub struct TailCache {
    inner: Arc<Inner>,
}

struct Inner {
    jobs: WeakMap<JobId, Tail>,
    targets: WeakMap<Target, Tail>,
    budget: Arc<Budget>,
    signals: Arc<dyn Signals>,
    /// Announces entries to followers.
    announcements: watch::Sender<()>,
}

/// Cache of a process that is the only user of its store.
impl Default for TailCache {
    fn default() -> Self {
        Self::new(Arc::new(SingleProcess))
    }
}

impl TailCache {
    /// Makes an empty cache that announces new entries to the other processes by these signals.
    pub fn new(signals: Arc<dyn Signals>) -> Self {
        let inner = Inner {
            jobs: WeakMap::default(),
            targets: WeakMap::default(),
            budget: Arc::default(),
            signals,
            announcements: watch::Sender::new(()),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Announces a stored entry to the subscribers of its logs, in this process and in the others.
    pub(crate) fn publish(&self, entry: Entry) {
        let (target, position) = (entry.target.clone(), entry.position);
        if self.inner.signals.shared() {
            let (target, job) = (target.clone(), entry.job.clone());
            self.inner.signals.publish(Signal::Appended(vec![Appended { target, job, position }]));
        }
        if !matches!(entry.body, EntryBody::Output(_)) {
            self.inner.announcements.send_replace(());
        }
        if let Some(tail) = self.inner.jobs.get(&entry.job) {
            if !matches!(target, Target::Project(_)) && entry.is_last() {
                // Any server may reopen a task or an operation: the log alone knows whether this entry is the last one.
                tail.forget();
                tail.advance(position);
            } else {
                tail.push(Arc::new(entry));
            }
        }
        self.advance_target(&target, position);
    }

    /// Notes what other processes have appended.
    pub(crate) fn apply(&self, appended: &[Appended]) {
        for Appended { target, job, position } in appended {
            self.advance_job(job, *position);
            self.advance_target(target, *position);
        }
        self.inner.announcements.send_replace(());
    }

    /// Returns a receiver that changes when entries of any job were stored that are no output, and when other processes
    /// have stored any.
    pub(crate) fn announcements(&self) -> watch::Receiver<()> {
        self.inner.announcements.subscribe()
    }

    /// Tells whether other processes may share the store.
    pub(crate) fn is_shared(&self) -> bool {
        self.inner.signals.shared()
    }

    /// Notes that a job's log reaches at least to this position.
    pub(crate) fn advance_job(&self, id: &JobId, position: Position) {
        if let Some(tail) = self.inner.jobs.get(id) {
            tail.advance(position);
        }
    }

    /// Notes that a target's log reaches at least to this position.
    pub(crate) fn advance_target(&self, target: &Target, position: Position) {
        if let Some(tail) = self.inner.targets.get(target) {
            tail.advance(position);
        }
    }

    /// Returns the jobs and the targets whose logs somebody follows.
    pub(crate) fn followed(&self) -> (Vec<JobId>, Vec<Target>) {
        (self.inner.jobs.keys_where(Tail::is_followed), self.inner.targets.keys_where(Tail::is_followed))
    }

    /// Returns the tail of a job's log, made if nobody holds it yet.
    pub(crate) fn job(&self, id: &JobId) -> Arc<Tail> {
        self.inner.jobs.get_or_insert_with(id, || Tail::new(&self.inner.budget))
    }

    /// Returns the tail of a target's log, made if nobody holds it yet.
    pub(crate) fn target(&self, target: &Target) -> Arc<Tail> {
        self.inner.targets.get_or_insert_with(target, || Tail::new(&self.inner.budget))
    }
}
