//! Subscribing to events: one path for what is old and what is new.

use std::sync::Arc;

use rdev_domain::{Command, Error, Home, Position, ProjectId, Result, Seq, StreamId};
use rdev_ports::{EventLog, TaskQueue};

use crate::follow::{Follow, Source};
use crate::{Live, Projects};

/// Reading of events: one path for what is old and what is new.
#[derive(Clone)]
pub struct Events {
    projects: Projects,
    queue: Arc<dyn TaskQueue>,
    log: Arc<dyn EventLog>,
    live: Live,
}

/// A subscription.
pub enum Following {
    /// The stream is over, and the subscriber has all of it.
    Over,
    /// There is, or may come, more.
    Open(Follow),
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
    ) -> Result<Following> {
        self.projects.get(project).await?;
        let command = self.queue.command_of_stream(&project.clone().into(), stream).await?;
        let command = command.ok_or_else(|| Error::not_found("stream", stream))?;
        self.follow_on(&command, after).await
    }

    /// Subscribes to a command that is at hand, after the event `after`, if there is more to come.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub async fn follow_on(&self, command: &Command, after: Option<Seq>) -> Result<Following> {
        if let Some(after) = after
            && command.state.is_ended()
            && self.log.last_seq(&command.id).await? == Some(after)
        {
            return Ok(Following::Over);
        }
        self.follow_command(command, after).await.map(Following::Open)
    }

    /// Subscribes to every command of a project, from a place in its log.
    ///
    /// # Errors
    /// `NotFound` when there is no such project.
    pub async fn follow_project(&self, project: &ProjectId, from: Begin) -> Result<ProjectFollow> {
        self.projects.get(project).await?;
        let home = Home::Project(project.clone());
        let tail = self.live.home_tail(&home);
        let head = tail.head();
        let (begun, unknown) = match from {
            // Every log has a start: there is nothing to look up.
            Begin::Start => (Position::ZERO, false),
            Begin::Latest => (self.last_known(&home, Position::MAX).await?, false),
            Begin::Within(entry) => self.begin(&home, entry, entry).await?,
            Begin::From(position) => self.begin(&home, position, position.before()).await?,
        };
        let source = Source::Home { home, tail, told: begun };
        Ok(ProjectFollow { follow: Follow::new(self.log.clone(), source, head, begun), begun, unknown })
    }

    /// Position after which reading begins for a reader who was told of `position`, and whether this log has never had
    /// anything between
    /// `least` and there: positions are never given twice, so the reader's is then of another log.
    async fn begin(&self, home: &Home, position: Position, least: Position) -> Result<(Position, bool)> {
        let known = self.last_known(home, position).await?;
        Ok(if known >= least { (position.before(), false) } else { (known, true) })
    }

    /// The last entry of a home that does not lie beyond `to`, or one that was removed since.
    async fn last_known(&self, home: &Home, to: Position) -> Result<Position> {
        Ok(self.log.last(home, to).await?.max(self.log.pruned(home).await?))
    }

    /// Subscribes to a command that is at hand. Of one whose end is not beyond `after`, the end is read.
    pub async fn follow_command(&self, command: &Command, after: Option<Seq>) -> Result<Follow> {
        let tail = self.live.tail(&command.id);
        let head = tail.head();
        let cursor = match after {
            None => Position::ZERO,
            Some(mut seq) => {
                if command.state.is_ended()
                    && let Some(end) = self.log.last_seq(&command.id).await?
                {
                    seq = seq.min(end.before());
                }
                self.log.position_of(&command.id, seq).await?
            }
        };
        let source = Source::Command {
            id: command.id.clone(),
            stream: command.stream.clone(),
            tail,
            end_is_due: command.state.is_ended(),
        };
        Ok(Follow::new(self.log.clone(), source, head, cursor))
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
pub struct ProjectFollow {
    /// The reader.
    pub follow: Follow,
    /// The position after which it reads.
    pub begun: Position,
    /// True: the log has never had the position that was asked for. It reads on after the last one before it that the
    /// log has had.
    pub unknown: bool,
}
