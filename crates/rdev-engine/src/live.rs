//! What this process knows of logs that grow: a bell for those who wait, for streams and for workers, and the
//! tails of the logs that somebody follows.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use rdev_domain::{Entry, JobId, Position, Target};
use rdev_ports::{Appended, Signal, Signals, SingleProcess};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::tail::{Budget, Tail};

/// The streams of this process; clones share them.
#[derive(Clone)]
pub struct Live {
    inner: Arc<Inner>,
}

struct Inner {
    jobs: Mutex<HashMap<JobId, Weak<Tail>>>,
    stops: Mutex<HashMap<JobId, Weak<CancellationToken>>>,
    targets: Mutex<HashMap<Target, Weak<Tail>>>,
    budget: Arc<Budget>,
    work: Notify,
    renewal: Notify,
    signals: Arc<dyn Signals>,
}

impl Default for Live {
    fn default() -> Self {
        Self::beside(Arc::new(SingleProcess))
    }
}

impl Live {
    /// Tells the other processes what it is told, by these signals.
    pub fn beside(signals: Arc<dyn Signals>) -> Self {
        let inner = Inner {
            jobs: Mutex::default(),
            stops: Mutex::default(),
            targets: Mutex::default(),
            budget: Arc::default(),
            work: Notify::new(),
            renewal: Notify::new(),
            signals,
        };
        Self { inner: Arc::new(inner) }
    }

    /// Tells those who wait that an entry was stored.
    pub fn publish(&self, entry: Entry) {
        let (target, position) = (entry.target.clone(), entry.position);
        if self.inner.signals.shared() {
            let (target, job) = (target.clone(), entry.job.clone());
            self.inner.signals.publish(Signal::Appended(vec![Appended { target, job, position }]));
        }
        if let Some(tail) = self.existing(&entry.job) {
            if target == Target::Pool && entry.is_last() {
                // Somebody may ask for one more round, of any server: whether it is the last is for the log to say.
                tail.forget();
                tail.has_advanced(position);
            } else {
                tail.push(Arc::new(entry));
            }
        }
        self.target_has_advanced(&target, position);
    }

    /// Something can be claimed, by whoever comes first.
    pub fn work_came(&self) {
        self.inner.work.notify_one();
        self.inner.signals.publish(Signal::Work);
    }

    /// Something can be claimed, and this process is about to look anyway.
    pub fn work_for_others(&self) {
        self.inner.signals.publish(Signal::Work);
    }

    /// Somebody has asked for a command's end: whoever works on it is told.
    pub(crate) fn cancel(&self, id: &JobId) {
        self.stop(id);
        self.inner.signals.publish(Signal::Cancel(id.clone()));
    }

    /// Another process has told something.
    pub(crate) fn heard(&self, signal: Signal) {
        match signal {
            Signal::Appended(grown) => grown.iter().for_each(|growth| {
                self.has_advanced(&growth.job, growth.position);
                self.target_has_advanced(&growth.target, growth.position);
            }),
            Signal::Work => self.inner.work.notify_one(),
            Signal::Cancel(id) => self.stop(&id),
            // What is followed is looked at by whoever has heard this.
            Signal::Resync => {
                self.inner.work.notify_one();
                self.inner.renewal.notify_one();
            }
        }
    }

    /// A command's log goes at least this far.
    pub(crate) fn has_advanced(&self, id: &JobId, position: Position) {
        if let Some(tail) = self.existing(id) {
            tail.has_advanced(position);
        }
    }

    /// A home's log goes at least this far.
    pub(crate) fn target_has_advanced(&self, target: &Target, position: Position) {
        let tail = lock(&self.inner.targets).get(target).and_then(Weak::upgrade);
        if let Some(tail) = tail {
            tail.has_advanced(position);
        }
    }

    /// The logs that somebody waits for.
    pub(crate) fn followed(&self) -> (Vec<JobId>, Vec<Target>) {
        let jobs = lock(&self.inner.jobs);
        let followed = |tail: &Weak<Tail>| tail.upgrade().is_some_and(|tail| tail.is_followed());
        let jobs = jobs.iter().filter(|(_, tail)| followed(tail));
        let jobs = jobs.map(|(id, _)| id.clone()).collect();
        let targets = lock(&self.inner.targets);
        let targets = targets.iter().filter(|(_, tail)| followed(tail));
        (jobs, targets.map(|(target, _)| target.clone()).collect())
    }

    /// Tells whoever works on a command in this process that somebody has asked for its end.
    pub(crate) fn stop(&self, id: &JobId) {
        let stop = lock(&self.inner.stops).get(id).and_then(Weak::upgrade);
        if let Some(stop) = stop {
            stop.cancel();
        }
    }

    /// The end of a command's stream, made when nobody holds it yet.
    pub fn tail(&self, id: &JobId) -> Arc<Tail> {
        held(&self.inner.jobs, id, || Tail::new(&self.inner.budget))
    }

    /// State of a command, which whoever works on it holds meanwhile.
    pub(crate) fn work_on(&self, id: &JobId) -> CommandTail {
        CommandTail { tail: self.tail(id), stop: held(&self.inner.stops, id, CancellationToken::new) }
    }

    /// The end of a home's log, made when nobody holds it yet.
    pub fn target_tail(&self, target: &Target) -> Arc<Tail> {
        held(&self.inner.targets, target, || Tail::new(&self.inner.budget))
    }

    /// The end of a command's stream, if anybody holds it.
    pub(crate) fn existing(&self, id: &JobId) -> Option<Arc<Tail>> {
        lock(&self.inner.jobs).get(id).and_then(Weak::upgrade)
    }

    /// Rung when there is something to claim.
    pub(crate) fn work(&self) -> &Notify {
        &self.inner.work
    }

    /// Rung when a wish to cancel may have gone unheard: the renewal of leases tells.
    pub(crate) fn renewal(&self) -> &Notify {
        &self.inner.renewal
    }
}

/// The end of a command's stream, and the wish for the command's end.
pub(crate) struct CommandTail {
    pub(crate) tail: Arc<Tail>,
    /// Cancelled when somebody asks for the command's end. Readers do not hold it: what was asked of one round of a
    /// task is not for the next.
    pub(crate) stop: Arc<CancellationToken>,
}

/// The state that somebody holds, made when nobody does.
fn held<K: Clone + Eq + Hash, T>(
    tails: &Mutex<HashMap<K, Weak<T>>>,
    of: &K,
    make: impl FnOnce() -> T,
) -> Arc<T> {
    let mut tails = lock(tails);
    if let Some(tail) = tails.get(of).and_then(Weak::upgrade) {
        return tail;
    }
    if tails.len() == tails.capacity() {
        tails.retain(|_, tail| tail.strong_count() > 0);
    }
    let tail = Arc::new(make());
    tails.insert(of.clone(), Arc::downgrade(&tail));
    tail
}

/// No code panics while it holds one of these locks, and all leave the data whole at every step.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use rdev_ports::testing::id;

    use super::*;

    #[test]
    fn a_wish_for_the_end_is_not_for_the_next_run_whoever_reads_along() {
        let (live, job) = (Live::default(), id(&format!("cmd-{}", "0".repeat(32))));
        let reader = live.tail(&job);
        let first = live.work_on(&job);
        live.cancel(&job);
        assert!(first.stop.is_cancelled());
        drop(first);
        let next = live.work_on(&job);
        assert!(!next.stop.is_cancelled());
        assert!(Arc::ptr_eq(&reader, &next.tail));
    }
}
