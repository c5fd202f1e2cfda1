//! Tickets for browsers: the time from which a ticket is valid.

use std::sync::Arc;

use rdev_domain::{IdempotencyKey, ProjectId, Result, Timestamp};
use rdev_ports::{Clock, Occurrence, TaskQueue};

use crate::Projects;

/// Issuer of tickets. A ticket is a function of its time, so the answer to a repeated request needs no stored ticket.
#[derive(Clone)]
pub struct TicketIssuer {
    projects: Projects,
    queue: Arc<dyn TaskQueue>,
    clock: Arc<dyn Clock>,
}

impl TicketIssuer {
    /// Wires the service.
    pub fn new(projects: Projects, queue: Arc<dyn TaskQueue>, clock: Arc<dyn Clock>) -> Self {
        Self { projects, queue, clock }
    }

    /// Returns the time of a ticket for a project: now, or that of the first request under the idempotency key.
    ///
    /// # Errors
    /// `NotFound` when there is no such project; `Conflict` when the idempotency key was used for another request.
    pub async fn issue(
        &self,
        project: &ProjectId,
        idempotency: Option<&IdempotencyKey>,
    ) -> Result<(Timestamp, Occurrence)> {
        self.projects.get(project).await?;
        let now = self.clock.now();
        let first = match idempotency {
            Some(key) => self.queue.first_use(key, now).await?,
            None => now,
        };
        Ok((first, if first < now { Occurrence::Repeated } else { Occurrence::First }))
    }
}
