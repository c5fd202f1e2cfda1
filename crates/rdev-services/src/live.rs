//! What this process knows of logs that grow: a bell for those who wait, for streams and for workers, and the
//! tails of the logs that somebody follows.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use rdev_domain::{CommandId, Entry, Home, Position};
use rdev_ports::{Alone, Growth, Signal, Signals};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::tail::{Budget, Tail};

/// The streams of this process; clones share them.
#[derive(Clone)]
pub struct Live {
    inner: Arc<Inner>,
}

struct Inner {
    commands: Mutex<HashMap<CommandId, Weak<CommandTail>>>,
    homes: Mutex<HashMap<Home, Weak<Tail>>>,
    budget: Arc<Budget>,
    work: Notify,
    renewal: Notify,
    signals: Arc<dyn Signals>,
}

impl Default for Live {
    fn default() -> Self {
        Self::beside(Arc::new(Alone))
    }
}

impl Live {
    /// Tells the other processes what it is told, by these signals.
    pub fn beside(signals: Arc<dyn Signals>) -> Self {
        let inner = Inner {
            commands: Mutex::default(),
            homes: Mutex::default(),
            budget: Arc::default(),
            work: Notify::new(),
            renewal: Notify::new(),
            signals,
        };
        Self { inner: Arc::new(inner) }
    }

    /// Tells those who wait that an entry was stored.
    pub(crate) fn publish(&self, entry: Entry) {
        let (home, position) = (entry.home.clone(), entry.position);
        if self.inner.signals.shared() {
            let (home, command) = (home.clone(), entry.command.clone());
            self.inner.signals.publish(Signal::Grown(vec![Growth { home, command, position }]));
        }
        if let Some(of) = self.existing(&entry.command) {
            of.tail.push(Arc::new(entry));
        }
        self.home_has_grown(&home, position);
    }

    /// Something can be claimed, by whoever comes first.
    pub(crate) fn work_came(&self) {
        self.inner.work.notify_one();
        self.inner.signals.publish(Signal::Work);
    }

    /// Something can be claimed, and this process is about to look anyway.
    pub(crate) fn work_for_others(&self) {
        self.inner.signals.publish(Signal::Work);
    }

    /// Somebody has asked for a command's end: whoever works on it is told.
    pub(crate) fn cancel(&self, id: &CommandId) {
        self.stop(id);
        self.inner.signals.publish(Signal::Cancel(id.clone()));
    }

    /// Another process has told something.
    pub(crate) fn heard(&self, signal: Signal) {
        match signal {
            Signal::Grown(grown) => grown.iter().for_each(|growth| {
                self.has_grown(&growth.command, growth.position);
                self.home_has_grown(&growth.home, growth.position);
            }),
            Signal::Work => self.inner.work.notify_one(),
            Signal::Cancel(id) => self.stop(&id),
            // What is followed is looked at by whoever has heard this.
            Signal::Anything => {
                self.inner.work.notify_one();
                self.inner.renewal.notify_one();
            }
        }
    }

    /// A command's log goes at least this far.
    pub(crate) fn has_grown(&self, id: &CommandId, position: Position) {
        if let Some(of) = self.existing(id) {
            of.tail.has_grown(position);
        }
    }

    /// A home's log goes at least this far.
    pub(crate) fn home_has_grown(&self, home: &Home, position: Position) {
        let tail = lock(&self.inner.homes).get(home).and_then(Weak::upgrade);
        if let Some(tail) = tail {
            tail.has_grown(position);
        }
    }

    /// The logs that somebody waits for.
    pub(crate) fn followed(&self) -> (Vec<CommandId>, Vec<Home>) {
        let commands = lock(&self.inner.commands);
        let followed = |of: &CommandTail| of.tail.is_followed();
        let commands = commands.iter().filter(|(_, of)| of.upgrade().is_some_and(|of| followed(&of)));
        let commands = commands.map(|(id, _)| id.clone()).collect();
        let homes = lock(&self.inner.homes);
        let homes = homes.iter().filter(|(_, tail)| tail.upgrade().is_some_and(|tail| tail.is_followed()));
        (commands, homes.map(|(home, _)| home.clone()).collect())
    }

    fn stop(&self, id: &CommandId) {
        if let Some(tail) = self.existing(id) {
            tail.stop.cancel();
        }
    }

    /// The end of a command's stream, made when nobody holds it yet.
    pub(crate) fn tail(&self, id: &CommandId) -> Arc<CommandTail> {
        held(&self.inner.commands, id, || CommandTail {
            tail: Tail::new(&self.inner.budget),
            stop: CancellationToken::new(),
        })
    }

    /// The end of a home's log, made when nobody holds it yet.
    pub(crate) fn home_tail(&self, home: &Home) -> Arc<Tail> {
        held(&self.inner.homes, home, || Tail::new(&self.inner.budget))
    }

    /// The end of a command's stream, if anybody holds it.
    pub(crate) fn existing(&self, id: &CommandId) -> Option<Arc<CommandTail>> {
        lock(&self.inner.commands).get(id).and_then(Weak::upgrade)
    }

    /// Forgets the end of a stream that goes on after it: whoever comes now reads the log.
    pub(crate) fn forget(&self, id: &CommandId) {
        lock(&self.inner.commands).remove(id);
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
    pub(crate) tail: Tail,
    /// Cancelled when somebody asks for the command's end.
    pub(crate) stop: CancellationToken,
}

/// A tail that somebody holds, made when nobody does.
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
