//! Tail of one log: its newest entries, and how far the log reaches.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use rdev_domain::{Entry, Position, Result};
use tokio::sync::watch;

/// Output kept of one log, in bytes: 512 KiB.
const TAIL_BYTES_MAX: usize = 512 * 1024;
/// Entries kept of one log.
const TAIL_ENTRIES_MAX: usize = 64;
/// Output kept of all logs, in bytes: 64 MiB. Beyond it the tails of the logs that have not grown for longest are evicted.
const ALL_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Output kept after an eviction, in bytes, so that the next entry does not evict again.
const ALL_BYTES_LEFT: usize = ALL_BYTES_MAX / 8 * 7;

/// Tail of one log.
pub(crate) struct Tail {
    head: watch::Sender<Position>,
    ring: Arc<Mutex<Ring>>,
    budget: Arc<Budget>,
    /// Held by the one follower that reads the log for all of them.
    reading: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Ring {
    entries: VecDeque<Arc<Entry>>,
    bytes: usize,
    /// Every entry of the log after this position, up to `end`, is in `entries`. `None`: no such position is known.
    floor: Option<Position>,
    end: Position,
    /// The log was read up to here, and has nothing after `end`.
    read_to: Position,
}

impl Tail {
    pub(crate) fn new(budget: &Arc<Budget>) -> Self {
        let ring = Arc::<Mutex<Ring>>::default();
        budget.register(&ring);
        Self {
            head: watch::channel(Position::ZERO).0,
            ring,
            budget: budget.clone(),
            reading: tokio::sync::Mutex::default(),
        }
    }

    /// Returns a watch of the last position of the log that this process knows of. Its holder follows the log.
    pub(crate) fn head(&self) -> watch::Receiver<Position> {
        self.head.subscribe()
    }

    /// Tells whether somebody follows the log.
    pub(crate) fn is_followed(&self) -> bool {
        self.head.receiver_count() > 0
    }

    /// Notes that the log reaches at least to this position.
    pub(crate) fn advance(&self, position: Position) {
        self.head.send_if_modified(|known| {
            let grown = position > *known;
            *known = position.max(*known);
            grown
        });
    }

    /// Returns up to `limit` entries after `after`; none if the kept entries do not reach back that far.
    pub(crate) fn after(&self, after: Position, limit: usize) -> Vec<Arc<Entry>> {
        let ring = lock(&self.ring);
        if !ring.reaches(after) {
            return Vec::new();
        }
        let from = ring.entries.partition_point(|entry| entry.position <= after);
        ring.entries.range(from..).take(limit).cloned().collect()
    }

    /// Keeps the next entry of a log that this process alone writes: a new writer calls [`Tail::forget`] first. An
    /// entry is dropped while nobody follows the log.
    pub(crate) fn push(&self, entry: Arc<Entry>) {
        let position = entry.position;
        if self.is_followed() {
            // An earlier entry may come late, when the answer of its append was lost and the next writer has begun: the
            // entries that follow it are not known here.
            let is_late = position <= *self.head.borrow();
            let mut ring = lock(&self.ring);
            if ring.floor.is_none() && !is_late {
                (ring.floor, ring.end) = (Some(position.before()), position.before());
            }
            if ring.floor.is_some() && position > ring.end {
                self.budget.account(&mut ring, |ring| ring.push(entry));
            }
            drop(ring);
            self.budget.make_room();
        } else {
            self.forget();
        }
        self.advance(position);
    }

    /// Reads the entries after `cursor` from a log with many writers, once for all of its followers. `read` returns the
    /// entries after a position, and the last position at which retention has removed an entry. A caller that looks for
    /// entries up to `known` does not read again what another has read in vain. `None` when the caller is not where the
    /// other followers are, and has to read the log by itself.
    pub(crate) async fn read_on<F>(
        &self,
        (cursor, known): (Position, Option<Position>),
        limit: usize,
        read: impl Fn(Position) -> F,
    ) -> Result<Option<Vec<Arc<Entry>>>>
    where
        F: Future<Output = Result<(Vec<Entry>, Position)>>,
    {
        let _reading = self.reading.lock().await;
        loop {
            let end = {
                let ring = lock(&self.ring);
                if !ring.reaches(cursor) {
                    return Ok(None);
                }
                if ring.end <= cursor && known.is_some_and(|known| known <= ring.read_to) {
                    return Ok(Some(Vec::new()));
                }
                ring.end
            };
            // Another follower may have read the log while this one waited.
            if end > cursor {
                return Ok(Some(self.after(cursor, limit)));
            }
            let head = *self.head.borrow();
            let (entries, removed_to) = read(end).await?;
            let mut ring = lock(&self.ring);
            if entries.is_empty() && removed_to <= end {
                if ring.end == end {
                    ring.read_to = head;
                }
                return Ok(Some(Vec::new()));
            }
            if removed_to > end || ring.floor.is_none() || ring.end != end {
                self.budget.account(&mut ring, Ring::clear);
                return Ok(None);
            }
            self.budget.account(&mut ring, |ring| {
                entries.into_iter().map(Arc::new).for_each(|entry| ring.push(entry));
            });
            drop(ring);
            self.budget.make_room();
        }
    }

    /// Begins to keep entries after `end`, the end of the log that a follower has reached.
    pub(crate) fn begin(&self, end: Position) {
        let mut ring = lock(&self.ring);
        if ring.floor.is_none() {
            (ring.floor, ring.end) = (Some(end), end);
        }
    }

    /// Drops the kept entries: another process may have written since the newest of them.
    pub(crate) fn forget(&self) {
        self.budget.account(&mut lock(&self.ring), Ring::clear);
    }
}

impl Drop for Tail {
    fn drop(&mut self) {
        self.forget();
    }
}

impl Ring {
    /// Tells whether the entries after this position are kept, up to `end`.
    fn reaches(&self, after: Position) -> bool {
        self.floor.is_some_and(|floor| floor <= after)
    }

    fn push(&mut self, entry: Arc<Entry>) {
        self.end = entry.position;
        self.bytes += entry.output_bytes();
        self.entries.push_back(entry);
        while self.bytes > TAIL_BYTES_MAX || self.entries.len() > TAIL_ENTRIES_MAX {
            let Some(oldest) = self.entries.pop_front() else {
                break;
            };
            self.bytes -= oldest.output_bytes();
            self.floor = Some(oldest.position);
        }
    }

    fn clear(&mut self) {
        *self = Self::default();
    }
}

/// Memory of all tails of a process.
#[derive(Default)]
pub(crate) struct Budget {
    bytes: AtomicUsize,
    rings: Mutex<Vec<Weak<Mutex<Ring>>>>,
}

impl Budget {
    fn register(&self, ring: &Arc<Mutex<Ring>>) {
        let mut rings = lock(&self.rings);
        if rings.len() == rings.capacity() {
            rings.retain(|ring| ring.strong_count() > 0);
        }
        rings.push(Arc::downgrade(ring));
    }

    /// Changes a ring, and counts the bytes that the change has added or removed.
    fn account(&self, ring: &mut Ring, change: impl FnOnce(&mut Ring)) {
        let before = ring.bytes;
        change(ring);
        if ring.bytes >= before {
            self.bytes.fetch_add(ring.bytes - before, Ordering::Relaxed);
        } else {
            self.bytes.fetch_sub(before - ring.bytes, Ordering::Relaxed);
        }
    }

    /// Evicts the tails of the logs that have not grown for longest, once the budget is exceeded.
    fn make_room(&self) {
        if self.bytes.load(Ordering::Relaxed) <= ALL_BYTES_MAX {
            return;
        }
        let rings: Vec<_> = lock(&self.rings).iter().filter_map(Weak::upgrade).collect();
        let mut by_age: Vec<_> = rings.iter().map(|ring| (lock(ring).end, ring)).collect();
        by_age.sort_by_key(|(end, _)| *end);
        for (_, ring) in by_age {
            if self.bytes.load(Ordering::Relaxed) <= ALL_BYTES_LEFT {
                return;
            }
            self.account(&mut lock(ring), Ring::clear);
        }
    }
}

/// No code panics while it holds one of these locks, and all leave the data whole at every step.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use rdev_domain::{Chunk, EntryBody};
    use rdev_ports::testing::{START, chunk, job};

    use super::*;

    fn entry(position: u64, bytes: usize) -> Arc<Entry> {
        let of = job("demo", 1);
        let Chunk { first_seq, last_seq, .. } = chunk(position, position);
        Arc::new(Entry {
            position: Position(position),
            kind: of.spec.kind(),
            project: of.spec.project().cloned(),
            job: of.id,
            stream: of.stream,
            first_seq,
            last_seq,
            at: START,
            body: EntryBody::Output(vec![b'x'; bytes].into()),
        })
    }

    fn positions(entries: &[Arc<Entry>]) -> Vec<u64> {
        entries.iter().map(|entry| entry.position.0).collect()
    }

    fn kept(tail: &Tail, after: u64) -> Vec<u64> {
        positions(&tail.after(Position(after), usize::MAX))
    }

    #[test]
    fn nothing_is_kept_while_nobody_follows() {
        let budget = Arc::<Budget>::default();
        let tail = Tail::new(&budget);
        tail.push(entry(5, 1000));
        assert_eq!((kept(&tail, 0), budget.bytes.load(Ordering::Relaxed)), (vec![], 0));
        let follower = tail.head();
        tail.push(entry(6, 1000));
        tail.push(entry(9, 1000));
        assert_eq!((kept(&tail, 5), kept(&tail, 6), kept(&tail, 4)), (vec![6, 9], vec![9], vec![]));
        drop(follower);
        tail.push(entry(10, 1000));
        assert_eq!((kept(&tail, 6), budget.bytes.load(Ordering::Relaxed)), (vec![], 0));
    }

    #[test]
    fn all_tails_together_stay_within_the_budget_and_the_stillest_lose_theirs() {
        let budget = Arc::<Budget>::default();
        let tails: Vec<Tail> = (0..200).map(|_| Tail::new(&budget)).collect();
        let _followers: Vec<_> = tails.iter().map(Tail::head).collect();
        for round in 0..2 {
            for (nth, tail) in tails.iter().enumerate() {
                let position = (round * tails.len() + nth + 1) as u64;
                tail.push(entry(position, TAIL_BYTES_MAX / 2));
                assert!(budget.bytes.load(Ordering::Relaxed) <= ALL_BYTES_MAX);
                assert_eq!(kept(tail, position - 1), [position]);
            }
        }
        assert!(kept(&tails[0], 200).is_empty(), "the stillest");
        let held: usize = tails.iter().map(|tail| lock(&tail.ring).bytes).sum();
        assert_eq!(held, budget.bytes.load(Ordering::Relaxed));
        drop(tails);
        assert_eq!(budget.bytes.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn what_comes_after_a_later_one_is_left_to_the_log() {
        let tail = Tail::new(&Arc::default());
        let _follower = tail.head();
        tail.push(entry(7, 10));
        tail.push(entry(5, 10));
        assert_eq!((kept(&tail, 6), kept(&tail, 4)), (vec![7], vec![]));
    }

    #[test]
    fn nothing_is_passed_over_after_one_that_comes_late() {
        let tail = Tail::new(&Arc::default());
        tail.push(entry(7, 10));
        let _follower = tail.head();
        tail.push(entry(5, 10));
        tail.push(entry(8, 10));
        assert_eq!((kept(&tail, 5), kept(&tail, 7)), (vec![], vec![8]));
    }

    #[tokio::test]
    async fn one_reads_on_for_all_who_are_where_it_is() {
        let tail = Tail::new(&Arc::default());
        let _follower = tail.head();
        let some =
            |from: Position| async move { Ok((vec![(*entry(from.0 + 2, 10)).clone()], Position::ZERO)) };
        let never = |_: Position| async { panic!("it was read before") };
        assert!(
            tail.read_on((Position(3), None), 9, never).await.unwrap().is_none(),
            "nobody was at the end yet"
        );
        tail.begin(Position(3));
        let read = tail.read_on((Position(3), None), 9, some).await.unwrap().unwrap();
        assert_eq!(positions(&read), [5]);
        let read = tail.read_on((Position(3), None), 9, never).await.unwrap().unwrap();
        assert_eq!(positions(&read), [5]);
        assert!(tail.read_on((Position(2), None), 9, never).await.unwrap().is_none(), "it is behind");
    }

    /// Other processes do not say whether what they have stored is in the view.
    #[tokio::test]
    async fn what_one_has_read_in_vain_nobody_reads_again() {
        let tail = Tail::new(&Arc::default());
        let _follower = tail.head();
        tail.begin(Position(3));
        tail.advance(Position(7));
        let nothing = |_: Position| async { Ok((Vec::new(), Position::ZERO)) };
        let never = |_: Position| async { panic!("it was read before") };
        let known = |known| (Position(3), Some(Position(known)));
        assert_eq!(tail.read_on(known(7), 9, nothing).await.unwrap().unwrap().len(), 0);
        assert_eq!(tail.read_on(known(7), 9, never).await.unwrap().unwrap().len(), 0);
        let later = |_: Position| async { Ok((vec![(*entry(8, 10)).clone()], Position::ZERO)) };
        assert_eq!(positions(&tail.read_on(known(8), 9, later).await.unwrap().unwrap()), [8]);
        // Who has never read the log reads it.
        let begins = (Position(8), None);
        assert_eq!(tail.read_on(begins, 9, nothing).await.unwrap().unwrap().len(), 0);
    }

    #[tokio::test]
    async fn after_something_was_removed_everybody_reads_alone() {
        let tail = Tail::new(&Arc::default());
        let _follower = tail.head();
        tail.begin(Position(3));
        let removed = |_| async { Ok((vec![(*entry(9, 10)).clone()], Position(7))) };
        assert!(tail.read_on((Position(3), None), 9, removed).await.unwrap().is_none());
        assert!(kept(&tail, 3).is_empty());
    }
}
