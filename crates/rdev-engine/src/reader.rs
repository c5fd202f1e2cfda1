//! Readers of the log: subscribe, read what is stored, follow what comes.

use std::sync::Arc;

use rdev_domain::{Entry, JobId, LogView, Position, Result, Seq, StreamId};
use rdev_ports::EventLog;
use tokio::sync::watch;

use crate::tail_cache::Tail;

/// Most entries of one read; the log bounds their bytes as well.
const PAGE_ENTRIES_MAX: u32 = 32;

/// Next answer to a reader.
#[derive(Debug)]
pub enum Next {
    /// Entries, at least one.
    Entries(Vec<Arc<Entry>>),
    /// Retention removed entries of a view between the cursor and this position; the remaining ones follow.
    Pruned(Position),
    /// Retention removed the events of a job up to this number. `None`: it removed the job itself and all of its events
    /// before the end, and nothing follows.
    Missing(Option<Seq>),
}

/// Log that a reader reads.
pub(crate) enum Source {
    /// Log of one job.
    Job {
        id: JobId,
        stream: StreamId,
        tail: Arc<Tail>,
        /// The log must hold an end of the stream that the reader has not reached.
        end_is_due: bool,
    },
    /// Entries of many jobs.
    View {
        view: LogView,
        tail: Arc<Tail>,
        /// Position up to which the reader knows that entries may be missing.
        announced: Position,
    },
}

/// Reader of a log with its cursor: reads what is stored, then follows. Every entry comes from the log, so a slow
/// reader falls behind and catches up.
pub struct LogReader {
    log: Arc<dyn EventLog>,
    source: Source,
    head: watch::Receiver<Position>,
    cursor: Position,
    /// The log may hold entries of which this process was never notified.
    unread: bool,
}

impl LogReader {
    /// Makes a reader that begins after `cursor`. `head` was taken before the log was asked for `cursor`.
    pub(crate) fn new(
        log: Arc<dyn EventLog>,
        source: Source,
        head: watch::Receiver<Position>,
        cursor: Position,
    ) -> Self {
        Self { log, source, head, cursor, unread: true }
    }

    /// Returns the stream that is followed; `None` for a view.
    pub fn stream(&self) -> Option<&StreamId> {
        match &self.source {
            Source::Job { stream, .. } => Some(stream),
            Source::View { .. } => None,
        }
    }

    /// Waits for the next answer. Dropping the future loses nothing.
    ///
    /// # Errors
    /// When the log cannot be read.
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

    /// Returns what is stored already; `None` at the end of the log.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub async fn ready(&mut self) -> Result<Option<Next>> {
        let known = *self.head.borrow_and_update();
        let (Source::Job { tail, .. } | Source::View { tail, .. }) = &self.source;
        let kept = tail.after(self.cursor, PAGE_ENTRIES_MAX as usize);
        if !kept.is_empty() {
            return Ok(Some(self.advance_to(kept)));
        }
        if !self.unread && known <= self.cursor {
            return Ok(None);
        }
        match &self.source {
            Source::Job { id, end_is_due, .. } => {
                let (id, end_is_due) = (id.clone(), *end_is_due);
                self.ready_of_job(&id, end_is_due, known).await
            }
            Source::View { view, tail, announced } => {
                let (view, tail, announced) = (view.clone(), tail.clone(), *announced);
                self.ready_of_view((&view, &tail), announced, known).await
            }
        }
    }

    async fn ready_of_job(&mut self, id: &JobId, end_is_due: bool, known: Position) -> Result<Option<Next>> {
        let entries = self.log.read_job(id, self.cursor, PAGE_ENTRIES_MAX).await?;
        if entries.is_empty() && (end_is_due || known > self.cursor) {
            return self.explain_empty_read(id, known).await.map(Some);
        }
        self.unread = !entries.is_empty();
        Ok(self.unread.then(|| self.advance_to(shared(entries))))
    }

    /// Reads the log once for all followers that are at its end; a follower that is behind reads alone.
    async fn ready_of_view(
        &mut self,
        (view, tail): (&LogView, &Tail),
        announced: Position,
        known: Position,
    ) -> Result<Option<Next>> {
        let log = &self.log;
        let read = async |after: Position| {
            let entries = log.read_view(view, after, PAGE_ENTRIES_MAX).await?;
            // Asked after the read, so that nothing is removed in between unnoticed.
            Ok((entries, log.pruned(view).await?))
        };
        let looked_for = (self.cursor, (!self.unread).then_some(known));
        if let Some(entries) = tail.read_on(looked_for, PAGE_ENTRIES_MAX as usize, &read).await? {
            // The head announces whatever was appended since.
            self.unread = false;
            return Ok((!entries.is_empty()).then(|| self.advance_to(entries)));
        }
        let (entries, pruned) = read(self.cursor).await?;
        if pruned > self.cursor.max(announced) {
            if let Source::View { announced, .. } = &mut self.source {
                *announced = pruned;
            }
            return Ok(Some(Next::Pruned(pruned)));
        }
        self.unread = !entries.is_empty();
        if !self.unread {
            tail.begin(self.cursor);
        }
        Ok(self.unread.then(|| self.advance_to(shared(entries))))
    }

    /// Explains why a read found nothing though the log reached beyond the cursor. Changes nothing before the last
    /// wait, in which the future may be dropped.
    async fn explain_empty_read(&mut self, id: &JobId, known: Position) -> Result<Next> {
        let last = self.log.last_seq(id).await?;
        // Entries stored since the first read are found now; of those up to `last`, whatever is not found was removed.
        let entries = self.log.read_job(id, self.cursor, PAGE_ENTRIES_MAX).await?;
        self.unread = !entries.is_empty();
        if self.unread {
            return Ok(self.advance_to(shared(entries)));
        }
        self.cursor = known.max(self.cursor);
        Ok(Next::Missing(last))
    }

    fn advance_to(&mut self, entries: Vec<Arc<Entry>>) -> Next {
        if let Some(last) = entries.last() {
            self.cursor = last.position;
            if let Source::Job { end_is_due, .. } = &mut self.source {
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
    use futures_util::future::{join_all, pending};
    use rdev_domain::{Chunk, Ending, Job, Outcome, Timestamp};
    use rdev_ports::testing::{START, chunk, id, job, log_of, slots};
    use rdev_ports::{Fence, PruneRule, Retention, TaskLeases, TaskQueue};
    use rdev_sql::SqlStore;
    use rdev_sql::testing::sqlite;
    use tokio::sync::watch;

    use super::*;
    use crate::TailCache;

    const ALL_OUTPUT: PruneRule = PruneRule::Output { bytes_max: 0 };
    const ENDED: PruneRule = PruneRule::Ended { before: Timestamp::from_micros(i64::MAX), now: START };

    async fn running(store: &SqlStore) -> (Job, Fence) {
        store.enqueue(&job("demo", 1), None).await.unwrap();
        let claim = store.claim(&id("w"), slots(1), START, START).await.unwrap().remove(0);
        store.start(&claim.fence, "pod-1", None, START).await.unwrap();
        (claim.job, claim.fence)
    }

    /// Reads its first two entries, the statuses.
    async fn begun(store: &SqlStore, source: Source) -> LogReader {
        let (Source::Job { tail, .. } | Source::View { tail, .. }) = &source;
        let head = tail.head();
        let mut reader = LogReader::new(Arc::new(store.clone()), source, head, Position::ZERO);
        assert_eq!(seqs(reader.ready().await.unwrap()), [0, 0]);
        reader
    }

    fn of_job(tails: &TailCache, job: &Job, end_is_due: bool) -> Source {
        let (id, stream) = (job.id.clone(), job.stream.clone());
        Source::Job { tail: tails.job(&id), id, stream, end_is_due }
    }

    fn seqs(next: Option<Next>) -> Vec<u64> {
        let Some(Next::Entries(entries)) = next else { panic!("{next:?}") };
        entries.iter().map(|entry| entry.last_seq.0).collect()
    }

    /// Follows a rule to its end. What was stored last is counted from the second look on.
    async fn prune(store: &SqlStore, rule: PruneRule) {
        for _ in 0..3 {
            while store.prune(rule).await.unwrap().more {}
        }
    }

    #[tokio::test]
    async fn a_reader_is_told_once_of_what_is_gone_and_then_of_what_comes() {
        let ((store, _dir), tails) = (sqlite().await, TailCache::default());
        let (job, fence) = running(&store).await;
        let mut reader = begun(&store, of_job(&tails, &job, false)).await;
        assert!(reader.ready().await.unwrap().is_none());
        let stored = store.append(&fence, vec![chunk(1, 3)], START).await.unwrap();
        tails.advance_job(&job.id, stored[0].position);
        prune(&store, ALL_OUTPUT).await;
        assert!(matches!(reader.next().await.unwrap(), Next::Missing(Some(Seq(3)))));
        assert!(reader.ready().await.unwrap().is_none());
        let stored = store.append(&fence, vec![chunk(4, 4)], START).await.unwrap();
        tails.advance_job(&job.id, stored[0].position);
        assert_eq!(seqs(reader.ready().await.unwrap()), [4]);
    }

    #[tokio::test]
    async fn a_reader_of_a_command_that_is_gone_is_told_once() {
        let ((store, _dir), tails) = (sqlite().await, TailCache::default());
        let (job, fence) = running(&store).await;
        let mut reader = begun(&store, of_job(&tails, &job, true)).await;
        let outcome = Outcome::without_process(Ending::Cancelled, "");
        store.finish(&fence, Seq(1), outcome, START).await.unwrap();
        prune(&store, ENDED).await;
        assert!(matches!(reader.ready().await.unwrap(), Some(Next::Missing(None))));
        assert!(reader.ready().await.unwrap().is_none());
    }

    /// Between any two answers of the log a sign of life may be due, and the future is dropped.
    #[tokio::test]
    async fn a_reader_that_is_interrupted_anywhere_is_told() {
        for answers in 0..6 {
            let ((store, _dir), tails) = (sqlite().await, TailCache::default());
            let (job, fence) = running(&store).await;
            let mut reader = begun(&store, of_job(&tails, &job, true)).await;
            let outcome = Outcome::without_process(Ending::Cancelled, "");
            store.finish(&fence, Seq(1), outcome, START).await.unwrap();
            prune(&store, ENDED).await;
            let log = Far::of(store, answers);
            reader.log = log.clone();
            let told = tokio::select! {
                biased;
                told = reader.ready() => Some(told),
                () = log.is_silent() => None,
            };
            log.answers.store(usize::MAX, Ordering::SeqCst);
            let told = match told {
                Some(told) => told,
                None => reader.ready().await,
            };
            assert!(matches!(told.unwrap(), Some(Next::Missing(None))), "after {answers} answers");
        }
    }

    /// A log that gives so many answers, and then is silent.
    struct Far {
        store: SqlStore,
        answers: AtomicUsize,
        /// Number of calls.
        calls: watch::Sender<usize>,
        /// How often a view was read.
        reads: AtomicUsize,
    }

    impl Far {
        fn of(store: SqlStore, answers: usize) -> Arc<Self> {
            let (answers, reads) = (AtomicUsize::new(answers), AtomicUsize::new(0));
            Arc::new(Self { store, answers, calls: watch::Sender::new(0), reads })
        }

        async fn answer<T>(&self, answer: impl Future<Output = Result<T>>) -> Result<T> {
            self.calls.send_modify(|calls| *calls += 1);
            if *self.calls.borrow() > self.answers.load(Ordering::SeqCst) {
                return pending().await;
            }
            answer.await
        }

        /// Waits for a call that gets no answer.
        async fn is_silent(&self) {
            let mut calls = self.calls.subscribe();
            let silent = calls.wait_for(|calls| *calls > self.answers.load(Ordering::SeqCst));
            silent.await.expect("the sender is here");
        }
    }

    #[async_trait]
    impl EventLog for Far {
        async fn append(&self, fence: &Fence, chunks: Vec<Chunk>, now: Timestamp) -> Result<Vec<Entry>> {
            self.answer(self.store.append(fence, chunks, now)).await
        }

        async fn flush(&self) -> Result<()> {
            self.answer(self.store.flush()).await
        }

        async fn read_job(&self, id: &JobId, after: Position, limit: u32) -> Result<Vec<Entry>> {
            self.answer(self.store.read_job(id, after, limit)).await
        }

        async fn read_view(&self, view: &LogView, after: Position, limit: u32) -> Result<Vec<Entry>> {
            self.reads.fetch_add(1, Ordering::SeqCst);
            self.answer(self.store.read_view(view, after, limit)).await
        }

        async fn position_of(&self, id: &JobId, seq: Seq) -> Result<Position> {
            self.answer(self.store.position_of(id, seq)).await
        }

        async fn ends(&self, ids: &[JobId]) -> Result<Vec<(JobId, Position)>> {
            self.answer(self.store.ends(ids)).await
        }

        async fn last(&self, view: &LogView, to: Position) -> Result<Position> {
            self.answer(self.store.last(view, to)).await
        }

        async fn last_before(&self, view: &LogView, at: Timestamp) -> Result<Position> {
            self.answer(self.store.last_before(view, at)).await
        }

        async fn seq_before(&self, id: &JobId, at: Timestamp) -> Result<Option<Seq>> {
            self.answer(self.store.seq_before(id, at)).await
        }

        async fn pruned(&self, view: &LogView) -> Result<Position> {
            self.answer(self.store.pruned(view)).await
        }

        async fn last_seq(&self, id: &JobId) -> Result<Option<Seq>> {
            self.answer(self.store.last_seq(id)).await
        }
    }

    #[tokio::test]
    async fn a_reader_of_a_view_is_told_before_it_goes_on() {
        let ((store, _dir), tails) = (sqlite().await, TailCache::default());
        let (_, fence) = running(&store).await;
        let view = log_of("demo");
        let of_view = Source::View { tail: tails.view(&view), view, announced: Position::ZERO };
        let mut reader = begun(&store, of_view).await;
        let stored = store.append(&fence, vec![chunk(1, 3)], START).await.unwrap();
        prune(&store, ALL_OUTPUT).await;
        store.append(&fence, vec![chunk(4, 4)], START).await.unwrap();
        let told = reader.ready().await.unwrap();
        assert!(matches!(told, Some(Next::Pruned(to)) if to == stored[0].position), "{told:?}");
        assert_eq!(seqs(reader.ready().await.unwrap()), [4]);
        // What it has seen may go.
        prune(&store, ALL_OUTPUT).await;
        tails.advance_view(&log_of("demo"), Position(stored[0].position.0 + 100));
        assert!(reader.ready().await.unwrap().is_none());
    }

    #[tokio::test]
    async fn of_many_readers_of_a_view_one_reads_for_all() {
        for view in [log_of("demo"), LogView { project: None, output: true }] {
            one_reads_for_all(view).await;
        }
    }

    async fn one_reads_for_all(view: LogView) {
        const READERS: usize = 100;
        let ((store, _dir), tails) = (sqlite().await, TailCache::default());
        let (_, fence) = running(&store).await;
        let log = Far::of(store.clone(), usize::MAX);
        let mut readers = Vec::new();
        for _ in 0..READERS {
            let tail = tails.view(&view);
            let head = tail.head();
            let source = Source::View { view: view.clone(), tail, announced: Position::ZERO };
            readers.push(LogReader::new(log.clone(), source, head, Position::ZERO));
        }
        for reader in &mut readers {
            while reader.ready().await.unwrap().is_some() {}
        }
        log.reads.store(0, Ordering::SeqCst);
        for first in 1..=10 {
            let stored = store.append(&fence, vec![chunk(first, first)], START).await.unwrap();
            tails.publish(stored[0].clone());
            for next in join_all(readers.iter_mut().map(LogReader::next)).await {
                assert_eq!(seqs(Some(next.unwrap())), [first]);
            }
            assert!(readers[0].ready().await.unwrap().is_none());
        }
        assert_eq!(log.reads.load(Ordering::SeqCst), 10);
    }
}
