//! Subscriptions: where in a log a subscriber begins to read.

use std::sync::Arc;

use rdev_domain::{Job, Position, ProjectId, Result, Seq, Target};
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
    Open(LogReader),
}

/// Beginning of a reader in a project's log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Begin {
    /// The first entry that is stored.
    Start,
    /// The next entry that will be stored.
    Latest,
    /// The rest of this entry, of which the reader has a part.
    Within(Position),
    /// This position, before which the reader has everything.
    From(Position),
}

/// Reader of a project's log.
pub struct ProjectLogReader {
    /// The reader.
    pub reader: LogReader,
    /// Position after which the reader begins.
    pub begun: Position,
    /// True when the log has never had the requested position: the reader begins after the last position before it
    /// that the log has had.
    pub unknown: bool,
}

impl LogReaders {
    /// Wires the readers.
    pub fn new(log: Arc<dyn EventLog>, tails: TailCache) -> Self {
        Self { log, tails }
    }

    /// Subscribes to a job's events after the event `after`, or from the first one.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub async fn subscribe(&self, job: &Job, after: Option<Seq>) -> Result<Subscription> {
        if let Some(after) = after
            && job.state.is_ended()
            && self.log.last_seq(&job.id).await? == Some(after)
        {
            return Ok(Subscription::Complete);
        }
        self.read_job(job, after).await.map(Subscription::Open)
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
        let source = Source::Job { id, stream, kind: job.spec.kind(), tail, end_is_due: is_ended };
        Ok(LogReader::new(self.log.clone(), source, head, cursor))
    }

    /// Opens a reader of everything that the jobs of a project write.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub async fn read_project(&self, project: &ProjectId, begin: Begin) -> Result<ProjectLogReader> {
        let target = Target::Project(project.clone());
        let tail = self.tails.target(&target);
        let head = tail.head();
        let (begun, unknown) = match begin {
            // Every log has a start: there is nothing to look up.
            Begin::Start => (Position::ZERO, false),
            Begin::Latest => (self.last_known(&target, Position::MAX).await?, false),
            Begin::Within(entry) => self.locate(&target, entry, entry).await?,
            Begin::From(position) => self.locate(&target, position, position.before()).await?,
        };
        let source = Source::Target { target, tail, announced: begun };
        Ok(ProjectLogReader { reader: LogReader::new(self.log.clone(), source, head, begun), begun, unknown })
    }

    /// Returns the position after which a reader begins that was given `position`, and whether this log has never had
    /// an entry from `least` up to there. Positions are never reused, so such a `position` is of another log.
    async fn locate(&self, target: &Target, position: Position, least: Position) -> Result<(Position, bool)> {
        let known = self.last_known(target, position).await?;
        Ok(if known >= least { (position.before(), false) } else { (known, true) })
    }

    /// Returns the position of the last entry of a target's log up to `to`, also of a removed one.
    async fn last_known(&self, target: &Target, to: Position) -> Result<Position> {
        Ok(self.log.last(target, to).await?.max(self.log.pruned(target).await?))
    }
}
