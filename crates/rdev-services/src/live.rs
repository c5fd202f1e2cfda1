//! What this process knows of streams that grow: a wake-up for those who wait, and the newest entries,
//! so that a thousand subscribers of one stream do not read the same row a thousand times.
//!
//! It is a cache and a bell. Nothing depends on it: whoever finds nothing here reads the log.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use rdev_domain::{CommandId, Entry, Home, Position};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

/// Newest entries kept of one stream, in bytes of output.
const TAIL_BYTES_MAX: usize = 512 * 1024;
/// Newest entries kept of one stream.
const TAIL_ENTRIES_MAX: usize = 64;

/// The streams of this process; clones share them.
#[derive(Clone, Default)]
pub struct Live {
    inner: Arc<Inner>,
}

#[derive(Default)]
struct Inner {
    commands: Mutex<HashMap<CommandId, Weak<Tail>>>,
    homes: Mutex<HashMap<Home, watch::Sender<Position>>>,
    work: Notify,
}

impl Live {
    /// Tells those who wait that an entry was stored.
    pub(crate) fn publish(&self, entry: Entry) {
        let (home, position) = (entry.home.clone(), entry.position);
        if let Some(tail) = self.existing(&entry.command) {
            tail.push(Arc::new(entry));
        }
        if let Some(head) = lock(&self.inner.homes).get(&home) {
            advance(head, position);
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

    fn push(&self, entry: Arc<Entry>) {
        let position = entry.position;
        let mut ring = lock(&self.ring);
        // A command has one writer at a time, so nothing of its stream lies between two entries pushed here.
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
