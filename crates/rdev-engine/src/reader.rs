//! A reader's place in the log.

use std::sync::Arc;

use rdev_domain::{Entry, JobId, Position, Result, Seq, StreamId, Target};
use rdev_ports::EventLog;
use tokio::sync::watch;

use crate::tail::Tail;

/// Entries read at once, if they are small: the log bounds their bytes.
const PAGE_ENTRIES_MAX: u32 = 32;

/// What a reader comes to next.
#[derive(Debug)]
pub enum Next {
    /// Entries, at least one.
    Entries(Vec<Arc<Entry>>),
    /// Of a home's log: of what is stored between the reader's place and this position, retention has removed
    /// something. What is left of it follows.
    Pruned(Position),
    /// Of a command's log: the events up to this number were removed. Without one the command itself was, with
    /// all that came before its end, and nothing follows.
    Missing(Option<Seq>),
}

/// The log that is read.
pub enum Source {
    /// A command's.
    Command {
        /// Its id.
        id: JobId,
        /// Its stream.
        stream: StreamId,
        /// Its end.
        tail: Arc<Tail>,
        /// Whether the log must hold the end of the stream, which the reader has not come to.
        end_is_due: bool,
    },
    /// A home's.
    Target {
        /// The home.
        target: Target,
        /// Its end.
        tail: Arc<Tail>,
        /// Up to here the reader knows that something may be missing.
        told: Position,
    },
}

/// A reader's place in the log: subscribe, read, follow. What a subscriber gets always comes from the log,
/// so one that is slow falls behind and catches up.
pub struct LogReader {
    log: Arc<dyn EventLog>,
    source: Source,
    head: watch::Receiver<Position>,
    cursor: Position,
    /// Whether the log may hold entries that this process was never told of.
    unread: bool,
}

impl LogReader {
    /// Wires a reader.
    pub fn new(
        log: Arc<dyn EventLog>,
        source: Source,
        head: watch::Receiver<Position>,
        cursor: Position,
    ) -> Self {
        Self { log, source, head, cursor, unread: true }
    }

    /// The stream that is followed; `None` for a home.
    pub fn stream(&self) -> Option<&StreamId> {
        match &self.source {
            Source::Command { stream, .. } => Some(stream),
            Source::Target { .. } => None,
        }
    }

    /// What comes next; waits for it. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Result<Next> {
        loop {
            if let Some(next) = self.ready().await? {
                return Ok(next);
            }
            // The sender lives as long as `source`, or as the process: an error means that nothing follows.
            if self.head.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// What is stored already; `None` at the end of the log.
    pub async fn ready(&mut self) -> Result<Option<Next>> {
        let known = *self.head.borrow_and_update();
        let (Source::Command { tail, .. } | Source::Target { tail, .. }) = &self.source;
        let kept = tail.after(self.cursor, PAGE_ENTRIES_MAX as usize);
        if !kept.is_empty() {
            return Ok(Some(self.come_to(kept)));
        }
        if !self.unread && known <= self.cursor {
            return Ok(None);
        }
        match &self.source {
            Source::Command { id, end_is_due, .. } => {
                let (id, end_is_due) = (id.clone(), *end_is_due);
                self.ready_of_command(&id, end_is_due, known).await
            }
            Source::Target { target, tail, told } => {
                let (target, tail, told) = (target.clone(), tail.clone(), *told);
                self.ready_of_home(&target, &tail, told).await
            }
        }
    }

    async fn ready_of_command(
        &mut self,
        id: &JobId,
        end_is_due: bool,
        known: Position,
    ) -> Result<Option<Next>> {
        let entries = self.log.read_job(id, self.cursor, PAGE_ENTRIES_MAX).await?;
        if entries.is_empty() && (end_is_due || known > self.cursor) {
            return self.gone(id, known).await.map(Some);
        }
        self.unread = !entries.is_empty();
        Ok(self.unread.then(|| self.come_to(shared(entries))))
    }

    /// One of those who follow a home reads on for all of them; whoever is behind reads alone.
    async fn ready_of_home(&mut self, target: &Target, tail: &Tail, told: Position) -> Result<Option<Next>> {
        let log = &self.log;
        let read = async |after: Position| {
            let entries = log.read_target(target, after, PAGE_ENTRIES_MAX).await?;
            // Asked after the read, so that nothing is removed in between unnoticed.
            Ok((entries, log.pruned(target).await?))
        };
        if let Some(entries) = tail.read_on(self.cursor, PAGE_ENTRIES_MAX as usize, &read).await? {
            // Of what came since then the bell tells.
            self.unread = false;
            return Ok((!entries.is_empty()).then(|| self.come_to(entries)));
        }
        let (entries, pruned) = read(self.cursor).await?;
        if pruned > self.cursor.max(told) {
            if let Source::Target { told, .. } = &mut self.source {
                *told = pruned;
            }
            return Ok(Some(Next::Pruned(pruned)));
        }
        self.unread = !entries.is_empty();
        if !self.unread {
            tail.begin(self.cursor);
        }
        Ok(self.unread.then(|| self.come_to(shared(entries))))
    }

    /// There was something after the reader's place, and a read has found nothing. Nothing is changed before the
    /// last wait, in which the future may be dropped.
    async fn gone(&mut self, id: &JobId, known: Position) -> Result<Next> {
        let last = self.log.last_seq(id).await?;
        // What was stored since the read is not gone; up to `last`, what is not found now is.
        let entries = self.log.read_job(id, self.cursor, PAGE_ENTRIES_MAX).await?;
        self.unread = !entries.is_empty();
        if self.unread {
            return Ok(self.come_to(shared(entries)));
        }
        self.cursor = known.max(self.cursor);
        Ok(Next::Missing(last))
    }

    fn come_to(&mut self, entries: Vec<Arc<Entry>>) -> Next {
        if let Some(last) = entries.last() {
            self.cursor = last.position;
            if let Source::Command { end_is_due, .. } = &mut self.source {
                *end_is_due &= !last.is_last();
            }
        }
        Next::Entries(entries)
    }
}

fn shared(entries: Vec<Entry>) -> Vec<Arc<Entry>> {
    entries.into_iter().map(Arc::new).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use async_trait::async_trait;
    use futures_util::future::{join_all, poll_immediate};
    use rdev_domain::{Chunk, Ending, Job, Outcome, Timestamp};
    use rdev_ports::testing::{MemoryStore, START, chunk, id, job, new_job, slots};
    use rdev_ports::{Fence, PruneRule, Retention, TaskQueue};
    use tokio::task::yield_now;

    use super::*;
    use crate::Live;

    const ALL_OUTPUT: PruneRule = PruneRule::Output { bytes_max: 0 };
    const ENDED: PruneRule = PruneRule::Ended { before: Timestamp::from_micros(i64::MAX), now: START };

    async fn running(store: &MemoryStore) -> (Job, Fence) {
        store.enqueue(new_job(job("demo", 1))).await.unwrap();
        let claim = store.claim(&id("w"), slots(1), START, START).await.unwrap().remove(0);
        store.start(&claim.fence, "pod-1", None, START).await.unwrap();
        (claim.job, claim.fence)
    }

    /// Reads its first two entries, the statuses.
    async fn begun(store: &MemoryStore, source: Source) -> LogReader {
        let (Source::Command { tail, .. } | Source::Target { tail, .. }) = &source;
        let head = tail.head();
        let mut reader = LogReader::new(Arc::new(store.clone()), source, head, Position::ZERO);
        assert_eq!(seqs(reader.ready().await.unwrap()), [0, 0]);
        reader
    }

    fn of_command(live: &Live, job: &Job, end_is_due: bool) -> Source {
        let (id, stream) = (job.id.clone(), job.stream.clone());
        Source::Command { tail: live.tail(&id), id, stream, end_is_due }
    }

    fn seqs(next: Option<Next>) -> Vec<u64> {
        let Some(Next::Entries(entries)) = next else { panic!("{next:?}") };
        entries.iter().map(|entry| entry.last_seq.0).collect()
    }

    async fn prune(store: &MemoryStore, rule: PruneRule) {
        while store.prune(rule).await.unwrap().more {}
    }

    #[tokio::test]
    async fn a_reader_is_told_once_of_what_is_gone_and_then_of_what_comes() {
        let (store, live) = (MemoryStore::default(), Live::default());
        let (job, fence) = running(&store).await;
        let mut reader = begun(&store, of_command(&live, &job, false)).await;
        assert!(reader.ready().await.unwrap().is_none());
        let stored = store.append(&fence, vec![chunk(1, 3)], START).await.unwrap();
        live.has_advanced(&job.id, stored[0].position);
        prune(&store, ALL_OUTPUT).await;
        assert!(matches!(reader.next().await.unwrap(), Next::Missing(Some(Seq(3)))));
        assert!(reader.ready().await.unwrap().is_none());
        let stored = store.append(&fence, vec![chunk(4, 4)], START).await.unwrap();
        live.has_advanced(&job.id, stored[0].position);
        assert_eq!(seqs(reader.ready().await.unwrap()), [4]);
    }

    #[tokio::test]
    async fn a_reader_of_a_command_that_is_gone_is_told_once() {
        let (store, live) = (MemoryStore::default(), Live::default());
        let (job, fence) = running(&store).await;
        let mut reader = begun(&store, of_command(&live, &job, true)).await;
        let outcome = Outcome::without_process(Ending::Cancelled, "");
        store.finish(&fence, Seq(1), outcome, START).await.unwrap();
        prune(&store, ENDED).await;
        assert!(matches!(reader.ready().await.unwrap(), Some(Next::Missing(None))));
        assert!(reader.ready().await.unwrap().is_none());
    }

    /// Between any two waits a sign of life may be due, and the future is dropped.
    #[tokio::test]
    async fn a_reader_that_is_interrupted_anywhere_is_told() {
        for waits in 0..6 {
            let (store, live) = (MemoryStore::default(), Live::default());
            let (job, fence) = running(&store).await;
            let mut reader = begun(&store, of_command(&live, &job, true)).await;
            let outcome = Outcome::without_process(Ending::Cancelled, "");
            store.finish(&fence, Seq(1), outcome, START).await.unwrap();
            prune(&store, ENDED).await;
            reader.log = Far::of(store);
            let mut interrupted = Box::pin(reader.ready());
            let mut told = None;
            for _ in 0..waits {
                if told.is_none() {
                    told = poll_immediate(&mut interrupted).await;
                }
            }
            drop(interrupted);
            let told = match told {
                Some(told) => told,
                None => reader.ready().await,
            };
            assert!(matches!(told.unwrap(), Some(Next::Missing(None))), "after {waits} waits");
        }
    }

    /// A log whose every answer is waited for.
    struct Far {
        store: MemoryStore,
        /// How often a home's log was read.
        reads: AtomicUsize,
    }

    impl Far {
        fn of(store: MemoryStore) -> Arc<Self> {
            Arc::new(Self { store, reads: AtomicUsize::new(0) })
        }
    }

    #[async_trait]
    impl EventLog for Far {
        async fn append(&self, fence: &Fence, chunks: Vec<Chunk>, now: Timestamp) -> Result<Vec<Entry>> {
            yield_now().await;
            self.store.append(fence, chunks, now).await
        }

        async fn flush(&self) -> Result<()> {
            self.store.flush().await
        }

        async fn read_job(&self, id: &JobId, after: Position, limit: u32) -> Result<Vec<Entry>> {
            yield_now().await;
            self.store.read_job(id, after, limit).await
        }

        async fn read_target(&self, target: &Target, after: Position, limit: u32) -> Result<Vec<Entry>> {
            self.reads.fetch_add(1, Ordering::SeqCst);
            yield_now().await;
            self.store.read_target(target, after, limit).await
        }

        async fn position_of(&self, id: &JobId, seq: Seq) -> Result<Position> {
            yield_now().await;
            self.store.position_of(id, seq).await
        }

        async fn ends(&self, ids: &[JobId]) -> Result<Vec<(JobId, Position)>> {
            yield_now().await;
            self.store.ends(ids).await
        }

        async fn last(&self, target: &Target, to: Position) -> Result<Position> {
            yield_now().await;
            self.store.last(target, to).await
        }

        async fn pruned(&self, target: &Target) -> Result<Position> {
            yield_now().await;
            self.store.pruned(target).await
        }

        async fn last_seq(&self, id: &JobId) -> Result<Option<Seq>> {
            yield_now().await;
            self.store.last_seq(id).await
        }
    }

    #[tokio::test]
    async fn a_reader_of_a_home_is_told_before_it_goes_on() {
        let (store, live) = (MemoryStore::default(), Live::default());
        let (job, fence) = running(&store).await;
        let tail = live.target_tail(&job.target());
        let target = Source::Target { target: job.target(), tail, told: Position::ZERO };
        let mut reader = begun(&store, target).await;
        let stored = store.append(&fence, vec![chunk(1, 3)], START).await.unwrap();
        prune(&store, ALL_OUTPUT).await;
        store.append(&fence, vec![chunk(4, 4)], START).await.unwrap();
        let told = reader.ready().await.unwrap();
        assert!(matches!(told, Some(Next::Pruned(to)) if to == stored[0].position), "{told:?}");
        assert_eq!(seqs(reader.ready().await.unwrap()), [4]);
        // What it has seen may go.
        prune(&store, ALL_OUTPUT).await;
        live.target_has_advanced(&job.target(), Position(100));
        assert!(reader.ready().await.unwrap().is_none());
    }

    #[tokio::test]
    async fn of_many_readers_of_a_home_one_reads_for_all() {
        const READERS: usize = 100;
        let (store, live) = (MemoryStore::default(), Live::default());
        let (job, fence) = running(&store).await;
        let log = Far::of(store.clone());
        let mut readers = Vec::new();
        for _ in 0..READERS {
            let tail = live.target_tail(&job.target());
            let head = tail.head();
            let source = Source::Target { target: job.target(), tail, told: Position::ZERO };
            readers.push(LogReader::new(log.clone(), source, head, Position::ZERO));
        }
        for reader in &mut readers {
            while reader.ready().await.unwrap().is_some() {}
        }
        log.reads.store(0, Ordering::SeqCst);
        for first in 1..=10 {
            let stored = store.append(&fence, vec![chunk(first, first)], START).await.unwrap();
            live.publish(stored[0].clone());
            for next in join_all(readers.iter_mut().map(LogReader::next)).await {
                assert_eq!(seqs(Some(next.unwrap())), [first]);
            }
            assert!(readers[0].ready().await.unwrap().is_none());
        }
        assert_eq!(log.reads.load(Ordering::SeqCst), 10);
    }
}
