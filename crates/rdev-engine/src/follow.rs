//! Followers of the log: each reads the entries of all jobs in order, from a stored cursor on.

mod reports;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use rdev_domain::{Error, Position, Result};
use rdev_ports::{
    Clock, FollowedEntry, Follower, FollowerGap, LogFollower, PeriodicLease, PeriodicLeases, Rest,
};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use self::reports::{Failures, UnsettledWait};
use crate::TailCache;
use crate::run::retry::Backoff;

/// Lease of a follower: longest time without a follower after the death of the process that was it, but for
/// [`LEASE_CHECK`].
const LEASE: Duration = Duration::from_secs(10);
/// Age at which a lease is extended.
const LEASE_EXTENDED_AFTER: Duration = Duration::from_secs(3);
/// Pause between two attempts to acquire the lease that another process holds.
const LEASE_CHECK: Duration = Duration::from_millis(2500);
/// Longest handling of a batch.
const HANDLE_TIMEOUT: Duration = Duration::from_secs(5);
/// Maximum number of entries of a batch.
const BATCH_MAX: u32 = 512;
/// Pause after a batch: entries that are stored closely one after the other are read together.
const GATHER: Duration = Duration::from_millis(100);
/// Pause between two batches of which the first was full.
const PAUSE_MIN: Duration = Duration::from_millis(1);
/// Longest pause between two reads: an announcement may be lost.
const POLL: Duration = Duration::from_secs(1);

/// Work of a follower on the entries.
#[async_trait]
pub trait LogHandler: Send + Sync {
    /// Returns the follower, whose name is that of a lease as well.
    fn follower(&self) -> Follower;

    /// Handles entries, within 5 s. The cursor is stored afterwards: after a failure, and after the death of the process,
    /// the same entries come again.
    async fn handle(&self, entries: &[FollowedEntry]) -> Result<()>;

    /// Notes that retention has removed entries that were not handled. Like entries, a gap comes again after the death of
    /// the process, unless the cursor had passed it.
    fn missed(&self, gap: FollowerGap);
}

/// Follows the log with each handler, in one process at a time of those that share the store.
pub struct Followers {
    log: Arc<dyn LogFollower>,
    leases: Arc<dyn PeriodicLeases>,
    clock: Arc<dyn Clock>,
    tails: TailCache,
    handlers: Vec<Arc<dyn LogHandler>>,
}

impl Followers {
    /// Wires the service.
    pub fn new(
        log: Arc<dyn LogFollower>,
        leases: Arc<dyn PeriodicLeases>,
        clock: Arc<dyn Clock>,
        tails: TailCache,
        handlers: Vec<Arc<dyn LogHandler>>,
    ) -> Self {
        Self { log, leases, clock, tails, handlers }
    }

    /// Follows until `shutdown`. No handler waits for another.
    pub async fn run(self, shutdown: CancellationToken) {
        let mut running = JoinSet::new();
        for handler in &self.handlers {
            let following = self.following(handler.clone());
            running.spawn(shutdown.clone().run_until_cancelled_owned(following.repeat()));
        }
        if self.handlers.is_empty() {
            shutdown.cancelled().await;
        }
        running.join_all().await;
    }

    fn following(&self, handler: Arc<dyn LogHandler>) -> Following {
        Following {
            follower: handler.follower(),
            log: self.log.clone(),
            leases: self.leases.clone(),
            clock: self.clock.clone(),
            is_shared: self.tails.is_shared(),
            announcements: self.tails.announcements(),
            handler,
            lease: None,
            cursor: None,
            told: None,
            failures: Failures::default(),
            unsettled: UnsettledWait::default(),
        }
    }
}

/// One follower in this process.
struct Following {
    follower: Follower,
    log: Arc<dyn LogFollower>,
    leases: Arc<dyn PeriodicLeases>,
    clock: Arc<dyn Clock>,
    /// False in a process that is the only user of its store, and needs no lease.
    is_shared: bool,
    announcements: watch::Receiver<()>,
    handler: Arc<dyn LogHandler>,
    lease: Option<PeriodicLease>,
    /// The stored cursor, as far as it is known.
    cursor: Option<Position>,
    told: Option<ToldGap>,
    failures: Failures,
    unsettled: UnsettledWait,
}

/// Gap that was told last.
#[derive(Clone, Copy)]
struct ToldGap {
    /// Position of the cursor at that time.
    at: Position,
    to: Position,
}

/// Pause after a step.
#[derive(Debug, PartialEq, Eq)]
enum Pause {
    /// The next batch.
    None,
    /// A short pause: positions will be settled.
    Gather,
    /// An announcement of entries.
    Announcement,
    /// Another process is the follower.
    Lease,
}

impl Following {
    async fn repeat(mut self) {
        let mut backoff = Backoff::default();
        loop {
            // What is announced after this is read by the next step.
            self.announcements.mark_unchanged();
            match self.step().await {
                Ok(pause) => {
                    backoff = Backoff::default();
                    if pause != Pause::Lease {
                        self.failures.end();
                    }
                    self.wait(pause).await;
                }
                Err(error) => {
                    self.failures.report(self.follower, &error);
                    self.cursor = None;
                    if !matches!(error, Error::Unavailable { .. }) {
                        // Another process may be able to: the lease expires.
                        self.lease = None;
                    }
                    backoff.wait().await;
                }
            }
        }
    }

    async fn wait(&mut self, pause: Pause) {
        match pause {
            Pause::None => sleep(PAUSE_MIN).await,
            Pause::Gather => sleep(GATHER).await,
            Pause::Announcement => {
                // A timeout, and an end of the announcements, lead to the next read as well.
                drop(timeout(POLL, self.announcements.changed()).await);
                sleep(GATHER).await;
            }
            Pause::Lease => sleep(LEASE_CHECK).await,
        }
    }

    /// Reads and handles one batch, if this process is the follower.
    async fn step(&mut self) -> Result<Pause> {
        if !self.holds_lease().await? {
            self.cursor = None;
            return Ok(Pause::Lease);
        }
        let cursor = match self.cursor {
            Some(cursor) => cursor,
            None => self.log.open(self.follower, self.clock.now()).await?,
        };
        self.cursor = Some(cursor);
        let batch = self.log.read(self.follower, cursor, BATCH_MAX).await?;
        self.unsettled.look(self.follower, &batch);
        if let Some(gap) = batch.gap {
            self.tell(gap);
        }
        if !batch.entries.is_empty() {
            let handling = timeout(HANDLE_TIMEOUT, self.handler.handle(&batch.entries)).await;
            let no_end = |_| Err(Error::Internal(anyhow::anyhow!("no end in {HANDLE_TIMEOUT:?}")));
            if let Err(error) = handling.unwrap_or_else(no_end) {
                // Another process may reach what this one does not: the lease expires.
                self.lease = None;
                return Err(error);
            }
        }
        // Output alone moves no cursor: reading skips it.
        if !batch.entries.is_empty() || batch.gap.is_some() {
            if !self.advance(cursor, batch.next).await? {
                // Another process has become the follower.
                (self.lease, self.cursor) = (None, None);
                return Ok(Pause::Lease);
            }
            self.cursor = Some(batch.next);
        }
        Ok(match batch.rest {
            Rest::More => Pause::None,
            Rest::Unsettled => Pause::Gather,
            Rest::Nothing => Pause::Announcement,
        })
    }

    /// Acquires the lease, or extends it in time.
    async fn holds_lease(&mut self) -> Result<bool> {
        if !self.is_shared {
            return Ok(true);
        }
        let now = self.clock.now();
        self.lease = match self.lease.take() {
            Some(lease) if now.since(lease.at) < LEASE_EXTENDED_AFTER => Some(lease),
            Some(lease) => self.leases.extend(lease, now).await?,
            None => self.leases.try_acquire(self.follower.as_str(), LEASE, now).await?,
        };
        Ok(self.lease.is_some())
    }

    /// Stores the cursor after entries that were handled. A store that does not answer is asked again: the entries would
    /// be handled twice.
    async fn advance(&mut self, from: Position, to: Position) -> Result<bool> {
        let mut backoff = Backoff::default();
        loop {
            match self.log.advance(self.follower, from, to, self.clock.now()).await {
                Err(error @ Error::Unavailable { .. }) => self.failures.report(self.follower, &error),
                done => return done,
            }
            backoff.wait().await;
        }
    }

    /// Tells a gap once, also when it grows while the cursor stays.
    fn tell(&mut self, gap: FollowerGap) {
        let is_known = |told: ToldGap| told.to >= gap.to || told.at == gap.after;
        if !self.told.is_some_and(is_known) {
            tracing::error!(
                follower = self.follower.as_str(),
                after = gap.after.0,
                to = gap.to.0,
                "retention has removed entries of the log that the follower has not read"
            );
            self.handler.missed(gap);
        }
        self.told = Some(ToldGap { at: gap.after, to: gap.to });
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use futures_util::StreamExt;
    use futures_util::stream::{self, BoxStream};
    use rdev_domain::{Ending, JobId, JobStatus, Outcome, Seq, Timestamp};
    use rdev_ports::testing::{FakeClock, START, chunk, id, job, slots};
    use rdev_ports::{
        Enqueued, EventLog, FOLLOWER_PATIENCE, PruneRule, Retention, Signal, Signals, TaskLeases, TaskQueue,
        Unread,
    };
    use rdev_sql::SqlStore;
    use rdev_sql::testing::sqlite;
    use tokio::sync::mpsc;

    use super::*;

    const FOLLOWER: Follower = Follower::new("test");

    /// Sends on what it handles, and fails as often as it is told to.
    struct Recorder {
        handled: mpsc::UnboundedSender<JobId>,
        failures: Mutex<u32>,
        gaps: Mutex<Vec<FollowerGap>>,
    }

    #[async_trait]
    impl LogHandler for Recorder {
        fn follower(&self) -> Follower {
            FOLLOWER
        }

        async fn handle(&self, entries: &[FollowedEntry]) -> Result<()> {
            let mut failures = self.failures.lock().unwrap();
            if *failures > 0 {
                *failures -= 1;
                return Err(Error::unavailable("receiver", anyhow::anyhow!("it is away")));
            }
            entries.iter().for_each(|told| self.handled.send(told.entry.job.clone()).unwrap());
            Ok(())
        }

        fn missed(&self, gap: FollowerGap) {
            self.gaps.lock().unwrap().push(gap);
        }
    }

    /// Signals of a store that others share, and that arrive nowhere.
    struct Lost;

    impl Signals for Lost {
        fn publish(&self, _signal: Signal) {}

        fn subscribe(&self) -> BoxStream<'static, Signal> {
            stream::pending().boxed()
        }

        fn shared(&self) -> bool {
            true
        }
    }

    /// A process on a store.
    struct Process {
        store: SqlStore,
        clock: Arc<FakeClock>,
        tails: TailCache,
        recorder: Arc<Recorder>,
        handled: mpsc::UnboundedReceiver<JobId>,
    }

    impl Process {
        fn on(store: &SqlStore, clock: &Arc<FakeClock>, tails: TailCache) -> Self {
            let (sender, handled) = mpsc::unbounded_channel();
            let recorder = Recorder { handled: sender, failures: Mutex::default(), gaps: Mutex::default() };
            Self { store: store.clone(), clock: clock.clone(), tails, recorder: Arc::new(recorder), handled }
        }

        fn followers(&self) -> Followers {
            let store = Arc::new(self.store.clone());
            let handlers: Vec<Arc<dyn LogHandler>> = vec![self.recorder.clone()];
            Followers::new(store.clone(), store, self.clock.clone(), self.tails.clone(), handlers)
        }

        fn following(&self) -> Following {
            self.followers().following(self.recorder.clone())
        }

        /// Stores the `n`th job, and announces it.
        async fn accept(&self, n: u64) -> JobId {
            let job = job("demo", n);
            match self.store.enqueue(&job, None).await.unwrap() {
                Enqueued::New(entry) => self.tails.publish(entry),
                Enqueued::Existing(_) => panic!("it is new"),
            }
            job.id
        }

        async fn next(&mut self) -> JobId {
            timeout(Duration::from_secs(30), self.handled.recv()).await.unwrap().unwrap()
        }
    }

    #[tokio::test]
    async fn every_entry_is_handled_once_and_after_a_failure_again() {
        let ((store, _dir), clock) = (sqlite().await, Arc::new(FakeClock::default()));
        let mut process = Process::on(&store, &clock, TailCache::default());
        // The follower begins here.
        store.open(FOLLOWER, START).await.unwrap();
        *process.recorder.failures.lock().unwrap() = 2;
        let stop = CancellationToken::new();
        let running = tokio::spawn(process.followers().run(stop.clone()));
        for n in 1..=5 {
            let accepted = process.accept(n).await;
            assert_eq!(process.next().await, accepted);
        }
        let are_stored = async {
            while store.unread(FOLLOWER).await.unwrap() != Unread::Nothing {
                tokio::task::yield_now().await;
            }
        };
        timeout(Duration::from_secs(30), are_stored).await.unwrap();
        stop.cancel();
        running.await.unwrap();
        // The next process goes on where this one was.
        let mut next = Process::on(&store, &clock, TailCache::default());
        let accepted = next.accept(6).await;
        next.following().step().await.unwrap();
        assert_eq!(next.next().await, accepted);
        assert!(process.handled.try_recv().is_err() && next.handled.try_recv().is_err());
    }

    #[tokio::test]
    async fn of_two_processes_one_follows_and_the_other_goes_on_after_it() {
        let ((store, _dir), clock) = (sqlite().await, Arc::new(FakeClock::default()));
        let [mut one, mut two] =
            [(); 2].map(|()| Process::on(&store, &clock, TailCache::new(Arc::new(Lost))));
        let (mut first, mut second) = (one.following(), two.following());
        assert_eq!(first.step().await.unwrap(), Pause::Announcement);
        let accepted = one.accept(1).await;
        assert_eq!(second.step().await.unwrap(), Pause::Lease);
        assert_eq!(first.step().await.unwrap(), Pause::Announcement);
        assert_eq!(one.next().await, accepted);
        // A process that follows keeps the lease.
        for _ in 0..4 {
            clock.advance(LEASE_EXTENDED_AFTER);
            first.step().await.unwrap();
            assert_eq!(second.step().await.unwrap(), Pause::Lease);
        }
        clock.advance(LEASE);
        let accepted = one.accept(2).await;
        assert_eq!(second.step().await.unwrap(), Pause::Announcement);
        assert_eq!(two.next().await, accepted);
        // A process that was silent for too long learns it.
        let accepted = one.accept(3).await;
        assert_eq!(first.step().await.unwrap(), Pause::Lease);
        second.step().await.unwrap();
        assert_eq!(two.next().await, accepted);
        assert!(one.handled.try_recv().is_err() && two.handled.try_recv().is_err());
    }

    #[tokio::test]
    async fn a_process_that_cannot_handle_entries_leaves_them_to_another() {
        let ((store, _dir), clock) = (sqlite().await, Arc::new(FakeClock::default()));
        let [one, mut two] = [(); 2].map(|()| Process::on(&store, &clock, TailCache::new(Arc::new(Lost))));
        let (mut first, mut second) = (one.following(), two.following());
        first.step().await.unwrap();
        let accepted = one.accept(1).await;
        *one.recorder.failures.lock().unwrap() = 1;
        first.step().await.unwrap_err();
        clock.advance(LEASE_EXTENDED_AFTER);
        // The lease is not extended any more.
        assert_eq!(first.step().await.unwrap(), Pause::Lease);
        clock.advance(LEASE);
        assert_eq!(second.step().await.unwrap(), Pause::Announcement);
        assert_eq!(two.next().await, accepted);
    }

    /// Ends the oldest job at this time.
    async fn end(store: &SqlStore, now: Timestamp) {
        let mut claims = store.claim(&id("worker-1"), slots(1), now, now).await.unwrap();
        let fence = claims.pop().unwrap().fence;
        store.start(&fence, "pod-1", None, now).await.unwrap();
        store.append(&fence, vec![chunk(1, 1)], now).await.unwrap();
        let outcome = Outcome::without_process(Ending::Completed, JobStatus::Completed.as_str());
        store.finish(&fence, Seq(2), outcome, now).await.unwrap();
    }

    #[tokio::test]
    async fn a_gap_is_told_once() {
        let ((store, _dir), clock) = (sqlite().await, Arc::new(FakeClock::default()));
        let mut process = Process::on(&store, &clock, TailCache::default());
        store.open(FOLLOWER, START).await.unwrap();
        process.accept(1).await;
        end(&store, START).await;
        process.accept(2).await;
        end(&store, START + Duration::from_secs(10)).await;
        let kept = process.accept(3).await;
        let mut following = process.following();
        *process.recorder.failures.lock().unwrap() = 2;
        for seconds in [5, 15] {
            let before = START + FOLLOWER_PATIENCE + Duration::from_secs(seconds);
            store.prune(PruneRule::Ended { before, now: before }).await.unwrap();
            // The receiver is away: the cursor stays, and the gap grows.
            following.step().await.unwrap_err();
            assert_eq!(process.recorder.gaps.lock().unwrap().len(), 1);
        }
        following.step().await.unwrap();
        assert_eq!(process.next().await, kept);
        following.step().await.unwrap();
        assert_eq!(process.recorder.gaps.lock().unwrap().len(), 1);
    }
}
