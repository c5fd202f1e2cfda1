use std::sync::Arc;

use rdev_domain::{Command, CommandId, Entry, Error, Home, Position, ProjectId, Result, Seq, StreamId};
use rdev_ports::{EventLog, TaskQueue};
use tokio::sync::watch;

use crate::live::Tail;
use crate::{Live, Projects};

/// Entries read at once, if they are small: the log bounds their bytes.
const PAGE_ENTRIES_MAX: u32 = 32;

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
        let follow = self.follow_command(command, after).await?;
        if after.is_some() && command.state.is_ended() {
            let rest = self.log.read_command(&command.id, follow.cursor, 1).await?;
            if rest.is_empty() {
                return Ok(Following::Over);
            }
        }
        Ok(Following::Open(follow))
    }

    /// Subscribes to every command of a project, after an entry of its log.
    ///
    /// # Errors
    /// `NotFound` when there is no such project.
    pub async fn follow_project(&self, project: &ProjectId, after: Position) -> Result<Follow> {
        self.projects.get(project).await?;
        let home = Home::Project(project.clone());
        let head = self.live.home_head(&home);
        Ok(Follow::new(self.log.clone(), Source::Home(home), head, after))
    }

    /// The last entry of a project's log, to subscribe to what comes after it.
    pub async fn project_head(&self, project: &ProjectId) -> Result<Position> {
        self.projects.get(project).await?;
        self.log.head(&project.clone().into()).await
    }

    /// Subscribes to a command that is at hand.
    pub async fn follow_command(&self, command: &Command, after: Option<Seq>) -> Result<Follow> {
        let tail = self.live.tail(&command.id);
        let head = tail.head();
        let cursor = match after {
            None => Position::ZERO,
            Some(seq) => self.log.position_of(&command.id, seq).await?,
        };
        Ok(Follow::new(self.log.clone(), Source::Command(command.id.clone(), tail), head, cursor))
    }
}

enum Source {
    Command(CommandId, Arc<Tail>),
    Home(Home),
}

/// A reader's place in the log: subscribe, read, follow. What a subscriber gets always comes from the log,
/// so one that is slow falls behind and catches up.
pub struct Follow {
    log: Arc<dyn EventLog>,
    source: Source,
    head: watch::Receiver<Position>,
    cursor: Position,
    /// Whether the log may hold entries that this process was never told of.
    unread: bool,
}

impl Follow {
    fn new(
        log: Arc<dyn EventLog>,
        source: Source,
        head: watch::Receiver<Position>,
        cursor: Position,
    ) -> Self {
        Self { log, source, head, cursor, unread: true }
    }

    /// The next entries, at least one; waits for them. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Result<Vec<Arc<Entry>>> {
        loop {
            let entries = self.ready().await?;
            if !entries.is_empty() {
                return Ok(entries);
            }
            // The sender lives as long as `source`, or as the process: an error means that nothing follows.
            if self.head.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// The next entries that are stored already; empty at the end of the log.
    pub async fn ready(&mut self) -> Result<Vec<Arc<Entry>>> {
        let known = *self.head.borrow_and_update();
        let mut entries = match &self.source {
            Source::Command(_, tail) => tail.after(self.cursor, PAGE_ENTRIES_MAX as usize),
            Source::Home(_) => Vec::new(),
        };
        if entries.is_empty() && (self.unread || known > self.cursor) {
            let rows = match &self.source {
                Source::Command(id, _) => self.log.read_command(id, self.cursor, PAGE_ENTRIES_MAX).await?,
                Source::Home(home) => self.log.read_home(home, self.cursor, PAGE_ENTRIES_MAX).await?,
            };
            self.unread = !rows.is_empty();
            entries = rows.into_iter().map(Arc::new).collect();
        }
        if let Some(last) = entries.last() {
            self.cursor = last.position;
        }
        Ok(entries)
    }
}
