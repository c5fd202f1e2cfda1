//! Subscribing to events: one path for what is old and what is new.

use std::sync::Arc;

use rdev_domain::{Error, Job, Position, ProjectId, Resource, Result, Seq, StreamId, Target};
use rdev_engine::{Live, LogReader, Source};
use rdev_ports::{EventLog, TaskQueue};

use crate::Projects;

/// Reading of events: one path for what is old and what is new.
#[derive(Clone)]
pub struct Events {
    projects: Projects,
    queue: Arc<dyn TaskQueue>,
    log: Arc<dyn EventLog>,
    live: Live,
}

/// A subscription.
pub enum Subscription {
    /// The stream is over, and the subscriber has all of it.
    Over,
    /// There is, or may come, more.
    Open(LogReader),
}

impl Events {
    /// Wires the service.
    pub fn new(projects: Projects, queue: Arc<dyn TaskQueue>, log: Arc<dyn EventLog>, live: Live) -> Self {
        Self { projects, queue, log, live }
    }

    /// Subscribes to one stream of a project, after the event `after`, or from its start.
    ///
    /// # Errors
    /// `NotFound` when there is no such project or stream.
    pub async fn follow_stream(
        &self,
        project: &ProjectId,
        stream: &StreamId,
        after: Option<Seq>,
    ) -> Result<Subscription> {
        self.projects.get(project).await?;
        let job = self.queue.job_of_stream(&project.clone().into(), stream).await?;
        let job = job.ok_or_else(|| Error::not_found(Resource::Stream, stream))?;
        self.follow_on(&job, after).await
    }

    /// Subscribes to a command that is at hand, after the event `after`, if there is more to come.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub async fn follow_on(&self, job: &Job, after: Option<Seq>) -> Result<Subscription> {
        if let Some(after) = after
            && job.state.is_ended()
            && self.log.last_seq(&job.id).await? == Some(after)
        {
            return Ok(Subscription::Over);
        }
        self.follow_job(job, after).await.map(Subscription::Open)
    }

    /// Subscribes to every command of a project, from a place in its log.
    ///
    /// # Errors
    /// `NotFound` when there is no such project.
    pub async fn follow_project(&self, project: &ProjectId, from: Begin) -> Result<ProjectLogReader> {
        self.projects.get(project).await?;
        let target = Target::Project(project.clone());
        let tail = self.live.target_tail(&target);
        let head = tail.head();
        let (begun, unknown) = match from {
            // Every log has a start: there is nothing to look up.
            Begin::Start => (Position::ZERO, false),
            Begin::Latest => (self.last_known(&target, Position::MAX).await?, false),
            Begin::Within(entry) => self.begin(&target, entry, entry).await?,
            Begin::From(position) => self.begin(&target, position, position.before()).await?,
        };
        let source = Source::Target { target, tail, told: begun };
        Ok(ProjectLogReader { reader: LogReader::new(self.log.clone(), source, head, begun), begun, unknown })
    }

    /// Position after which reading begins for a reader who was told of `position`, and whether this log has never had
    /// anything between
    /// `least` and there: positions are never given twice, so the reader's is then of another log.
    async fn begin(&self, target: &Target, position: Position, least: Position) -> Result<(Position, bool)> {
        let known = self.last_known(target, position).await?;
        Ok(if known >= least { (position.before(), false) } else { (known, true) })
    }

    /// The last entry of a home that does not lie beyond `to`, or one that was removed since.
    async fn last_known(&self, target: &Target, to: Position) -> Result<Position> {
        Ok(self.log.last(target, to).await?.max(self.log.pruned(target).await?))
    }

    /// Subscribes to a command that is at hand. Of one whose end is not beyond `after`, the end is read.
    pub async fn follow_job(&self, job: &Job, after: Option<Seq>) -> Result<LogReader> {
        let tail = self.live.tail(&job.id);
        let head = tail.head();
        let cursor = match after {
            None => Position::ZERO,
            Some(mut seq) => {
                if job.state.is_ended()
                    && let Some(end) = self.log.last_seq(&job.id).await?
                {
                    seq = seq.min(end.before());
                }
                self.log.position_of(&job.id, seq).await?
            }
        };
        let source = Source::Command {
            id: job.id.clone(),
            stream: job.stream.clone(),
            tail,
            end_is_due: job.state.is_ended(),
        };
        Ok(LogReader::new(self.log.clone(), source, head, cursor))
    }
}

/// Where reading of a project's log begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Begin {
    /// With the first entry that is there.
    Start,
    /// With the next entry that is stored.
    Latest,
    /// With the rest of this entry, of which the reader has something.
    Within(Position),
    /// With this position, up to which the reader has everything.
    From(Position),
}

/// A subscription to a project's log.
pub struct ProjectLogReader {
    /// The reader.
    pub reader: LogReader,
    /// The position after which it reads.
    pub begun: Position,
    /// True: the log has never had the position that was asked for. It reads on after the last one before it that the
    /// log has had.
    pub unknown: bool,
}
