//! Tickets for browsers: the streams that they open, and the time from which a ticket is valid.

use rdev_domain::{IdempotencyKey, JobId, ProjectId, Result, Scope, StreamId, Timestamp};
use rdev_ports::Occurrence;

use crate::{Operations, Tasks};

/// Event stream that a reader names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StreamRef {
    /// Everything that the reader's key may see.
    All,
    /// All of a project.
    Project(ProjectId),
    /// One stream of a project.
    Stream(ProjectId, StreamId),
    /// Stream of a task.
    Task(JobId),
    /// Stream of an operation.
    Operation(JobId),
}

impl StreamRef {
    /// Returns the scope that a reader of the stream needs.
    pub fn scope(&self) -> Scope {
        match self {
            Self::All | Self::Project(_) | Self::Stream(..) | Self::Operation(_) => Scope::ProjectsRead,
            Self::Task(_) => Scope::QueueRead,
        }
    }

    /// Returns the stream that has everything of this one: that of the project.
    pub fn whole(&self) -> Option<Self> {
        match self {
            Self::Stream(project, _) => Some(Self::Project(project.clone())),
            Self::All | Self::Project(_) | Self::Task(_) | Self::Operation(_) => None,
        }
    }
}

/// Issuer of tickets. A ticket is a function of its time, so the answer to a repeated request needs no stored ticket.
#[derive(Clone)]
pub struct TicketIssuer {
    /// Tasks of the pool.
    pub tasks: Tasks,
    /// Operations on projects, with the registry of projects, and their events.
    pub operations: Operations,
}

impl TicketIssuer {
    /// Returns the time of a ticket for a stream: now, or that of the first request under the idempotency key.
    ///
    /// # Errors
    /// `NotFound` when there is no such stream; `Conflict` when the idempotency key was used for another request.
    pub async fn issue(
        &self,
        stream: &StreamRef,
        idempotency: Option<&IdempotencyKey>,
    ) -> Result<(Timestamp, Occurrence)> {
        let Operations { ports, projects, events, .. } = &self.operations;
        match stream {
            StreamRef::All => {}
            StreamRef::Project(project) => drop(projects.get(project).await?),
            StreamRef::Stream(project, stream) => events.check_stream(project, stream).await?,
            StreamRef::Task(id) => self.tasks.check(id).await?,
            StreamRef::Operation(id) => self.operations.check(id).await?,
        }
        let now = ports.clock.now();
        let first = match idempotency {
            Some(key) => ports.queue.first_use(key, now).await?,
            None => now,
        };
        Ok((first, if first < now { Occurrence::Repeated } else { Occurrence::First }))
    }
}
