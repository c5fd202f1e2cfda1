//! Subscriptions: where in a log a subscriber begins to read.

use std::sync::Arc;

use rdev_domain::{Job, LogView, Position, Result, Seq, Timestamp};
use rdev_ports::EventLog;

use crate::TailCache;
use crate::reader::{LogReader, Source};

/// Opens readers of the log.
#[derive(Clone)]
pub struct LogReaders {
    log: Arc<dyn EventLog>,
    tails: TailCache,
}

/// Answer to a subscriber of one job's events.
pub enum Subscription {
    /// The stream has ended, and the subscriber has all of its events.
    Complete,
    /// Events follow, or may follow.
    Open {
        /// Reader of the events.
        reader: LogReader,
        /// The event after which the subscriber begins; `None` for the start of the stream.
        after: Option<Seq>,
        /// True where the subscriber does not know `after`: it has named no event.
        after_is_new: bool,
    },
}

/// Beginning of a subscriber in a job's stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobBegin {
    /// The first event that is stored.
    Start,
    /// The next event that will be stored.
    Latest,
    /// The event after this one.
    After(Seq),
    /// The first event that was stored at this time, or later.
    Since(Timestamp),
}

/// Beginning of a reader in a view of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Begin {
    /// The first entry that is stored.
    Start,
    /// The next entry that will be stored.
    Latest,
    /// The first entry that was stored at this time, or later.
    Since(Timestamp),
    /// The rest of this entry, of which the reader has a part.
    Within(Position),
    /// This position, before which the reader has everything.
    From(Position),
}

/// Reader of a view of the log.
pub struct ViewReader {
    /// The reader.
    pub reader: LogReader,
    /// Position after which the reader begins; `None` for the start of the log.
    pub begun: Option<Position>,
    /// True when the log has never had the requested position: the reader begins after the last position before it
    /// that the log has had.
    pub unknown: bool,
}

impl LogReaders {
    /// Wires the readers.
    pub fn new(log: Arc<dyn EventLog>, tails: TailCache) -> Self {
        Self { log, tails }
    }

    /// Subscribes to a job's events.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub async fn subscribe(&self, job: &Job, begin: JobBegin) -> Result<Subscription> {
        let after = match begin {
            JobBegin::Start => None,
            JobBegin::Latest => Some(self.log.last_seq(&job.id).await?.unwrap_or(Seq::ZERO)),
            JobBegin::After(seq) => Some(seq),
            JobBegin::Since(at) => self.log.seq_before(&job.id, at).await?,
        };
        if let Some(after) = after
            && job.state.is_ended()
            && self.log.last_seq(&job.id).await? == Some(after)
        {
            return Ok(Subscription::Complete);
        }
        let after_is_new = after.is_some() && !matches!(begin, JobBegin::After(_));
        Ok(Subscription::Open { reader: self.read_job(job, after).await?, after, after_is_new })
    }

    /// Opens a reader of a job's events after the event `after`, or from the first one. The end of an ended job is read
    /// even if it is not after `after`.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub async fn read_job(&self, job: &Job, after: Option<Seq>) -> Result<LogReader> {
        let tail = self.tails.job(&job.id);
        let head = tail.head();
        let is_ended = job.state.is_ended();
        let cursor = match after {
            None => Position::ZERO,
            Some(mut seq) => {
                if is_ended && let Some(end) = self.log.last_seq(&job.id).await? {
                    seq = seq.min(end.before());
                }
                self.log.position_of(&job.id, seq).await?
            }
        };
        let (id, stream) = (job.id.clone(), job.stream.clone());
        let source = Source::Job { id, stream, tail, end_is_due: is_ended };
        Ok(LogReader::new(self.log.clone(), source, head, cursor))
    }

    /// Opens a reader of a view.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub async fn read_view(&self, view: LogView, begin: Begin) -> Result<ViewReader> {
        let tail = self.tails.view(&view);
        let head = tail.head();
        if view.project.is_none() {
            // Nobody may have looked before how far the log is settled.
            self.tails.settle(self.log.last(&view, Position::MAX).await?);
        }
        let (begun, unknown) = match begin {
            // Every log has a start: there is nothing to look up.
            Begin::Start => (None, false),
            Begin::Latest => (Some(self.last_known(&view, Position::MAX).await?), false),
            Begin::Since(at) => (Some(self.log.last_before(&view, at).await?), false),
            Begin::Within(entry) => self.locate(&view, entry, entry).await?,
            Begin::From(position) => self.locate(&view, position, position.before()).await?,
        };
        let cursor = begun.unwrap_or(Position::ZERO);
        let source = Source::View { view, tail, announced: cursor };
        Ok(ViewReader { reader: LogReader::new(self.log.clone(), source, head, cursor), begun, unknown })
    }

    /// Returns the position after which a reader begins that was given `position`, and whether this log has never had
    /// an entry from `least` up to there. Positions are never reused, so such a `position` is of another log.
    async fn locate(
        &self,
        view: &LogView,
        position: Position,
        least: Position,
    ) -> Result<(Option<Position>, bool)> {
        let known = self.last_known(view, position).await?;
        if known >= least {
            return Ok((Some(position.before()), false));
        }
        // The reader has nothing of this log: it begins where no entry can appear before it.
        let end = self.last_known(view, Position::MAX).await?;
        Ok((Some(known.min(end)), true))
    }

    /// Returns the position of the last entry of a view up to `to`, also of a removed one.
    async fn last_known(&self, view: &LogView, to: Position) -> Result<Position> {
        Ok(self.log.last(view, to).await?.max(self.log.pruned(view).await?))
    }
}
