//! What this process knows of streams that grow: a wake-up for those who wait, and the newest entries,
//! so that a thousand subscribers of one stream do not read the same row a thousand times.
//!
//! It is a cache and a bell. Nothing depends on it: whoever finds nothing here reads the log.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use rdev_domain::{CommandId, Entry, Home, Position};
use rdev_ports::{Alone, Growth, Signal, Signals};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

/// Newest entries kept of one stream, in bytes of output.
const TAIL_BYTES_MAX: usize = 512 * 1024;
/// Newest entries kept of one stream.
const TAIL_ENTRIES_MAX: usize = 64;

/// The streams of this process; clones share them.
#[derive(Clone)]
pub struct Live {
    inner: Arc<Inner>,
}

struct Inner {
    commands: Mutex<HashMap<CommandId, Weak<Tail>>>,
    homes: Mutex<HashMap<Home, watch::Sender<Position>>>,
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
        if let Some(tail) = self.existing(&entry.command) {
            tail.push(Arc::new(entry));
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
        if let Some(tail) = self.existing(id) {
            advance(&tail.head, position);
        }
    }

    /// A home's log goes at least this far.
    pub(crate) fn home_has_grown(&self, home: &Home, position: Position) {
        if let Some(head) = lock(&self.inner.homes).get(home) {
            advance(head, position);
        }
    }

    /// The logs that somebody waits for.
    pub(crate) fn followed(&self) -> (Vec<CommandId>, Vec<Home>) {
        let waited_for =
            |tail: &Weak<Tail>| tail.upgrade().is_some_and(|tail| tail.head.receiver_count() > 0);
        let commands = lock(&self.inner.commands);
        let commands =
            commands.iter().filter(|(_, tail)| waited_for(tail)).map(|(id, _)| id.clone()).collect();
        let homes = lock(&self.inner.homes);
        let homes = homes.iter().filter(|(_, head)| head.receiver_count() > 0).map(|(id, _)| id.clone());
        (commands, homes.collect())
    }

    fn stop(&self, id: &CommandId) {
        if let Some(tail) = self.existing(id) {
            tail.stop.cancel();
        }
    }

    /// The end of a command's stream, made when nobody holds it yet.
    pub(crate) fn tail(&self, id: &CommandId) -> Arc<Tail> {
        let mut commands = lock(&self.inner.commands);
        if let Some(tail) = commands.get(id).and_then(Weak::upgrade) {
            return tail;
        }
        if commands.len() == commands.capacity() {
            commands.retain(|_, tail| tail.strong_count() > 0);
        }
        let tail = Arc::new(Tail::default());
        commands.insert(id.clone(), Arc::downgrade(&tail));
        tail
    }

    /// The end of a command's stream, if anybody holds it.
    pub(crate) fn existing(&self, id: &CommandId) -> Option<Arc<Tail>> {
        lock(&self.inner.commands).get(id).and_then(Weak::upgrade)
    }

    /// Forgets the end of a stream that goes on after it: whoever comes now reads the log.
    pub(crate) fn forget(&self, id: &CommandId) {
        lock(&self.inner.commands).remove(id);
    }

    /// Position of the last entry of a home that this process knows of.
    pub(crate) fn home_head(&self, home: &Home) -> watch::Receiver<Position> {
        let mut homes = lock(&self.inner.homes);
        homes.entry(home.clone()).or_insert_with(|| watch::channel(Position::ZERO).0).subscribe()
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

/// The end of one command's stream.
pub(crate) struct Tail {
    head: watch::Sender<Position>,
    ring: Mutex<Ring>,
    /// Cancelled when somebody asks for the command's end.
    pub(crate) stop: CancellationToken,
}

#[derive(Default)]
struct Ring {
    entries: VecDeque<Arc<Entry>>,
    bytes: usize,
    /// Every entry of the stream after this position, as far as this process knows, is in `entries`.
    floor: Option<Position>,
}

impl Default for Tail {
    fn default() -> Self {
        Self {
            head: watch::channel(Position::ZERO).0,
            ring: Mutex::default(),
            stop: CancellationToken::new(),
        }
    }
}

impl Tail {
    pub(crate) fn head(&self) -> watch::Receiver<Position> {
        self.head.subscribe()
    }

    /// The entries after `after`, if the newest ones kept here reach back that far.
    pub(crate) fn after(&self, after: Position, limit: usize) -> Vec<Arc<Entry>> {
        let ring = lock(&self.ring);
        if ring.floor.is_none_or(|floor| after < floor) {
            return Vec::new();
        }
        let from = ring.entries.partition_point(|entry| entry.position <= after);
        ring.entries.range(from..).take(limit).cloned().collect()
    }

    /// Another process may have written since the newest entry that is kept here.
    pub(crate) fn forget(&self) {
        *lock(&self.ring) = Ring::default();
    }

    fn push(&self, entry: Arc<Entry>) {
        let position = entry.position;
        let mut ring = lock(&self.ring);
        // A command has one writer at a time, and a new one forgets first what it finds here: nothing of the
        // stream lies between two entries pushed here.
        ring.floor.get_or_insert(Position(position.0 - 1));
        ring.bytes += entry.output_bytes();
        ring.entries.push_back(entry);
        while ring.bytes > TAIL_BYTES_MAX || ring.entries.len() > TAIL_ENTRIES_MAX {
            let Some(oldest) = ring.entries.pop_front() else {
                break;
            };
            ring.bytes -= oldest.output_bytes();
            ring.floor = Some(oldest.position);
        }
        drop(ring);
        advance(&self.head, position);
    }
}

fn advance(head: &watch::Sender<Position>, position: Position) {
    head.send_if_modified(|known| {
        let grown = position > *known;
        *known = position.max(*known);
        grown
    });
}

/// No code panics while it holds one of these locks, and all leave the data whole at every step.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
