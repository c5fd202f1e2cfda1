//! Calls on projects.

use rdev_api_types::{Project, ProjectPage, Ticket, TicketBody};

use crate::call::NO_BODY;
use crate::{Call, Client, Page, Result};

impl Client {
    /// Returns a page of projects, by id.
    ///
    /// # Errors
    /// [`Error::Api`](crate::Error::Api) with `VALIDATION_FAILED` for a limit or cursor that is not valid.
    pub async fn projects(&self, page: &ProjectPage) -> Result<Page<Project>> {
        self.page(&["projects"], page).await
    }

    /// Returns a project.
    ///
    /// # Errors
    /// [`Error::Api`](crate::Error::Api) with `PROJECT_NOT_FOUND`.
    pub async fn project(&self, id: &str) -> Result<Project> {
        self.get(&["projects", id]).await
    }

    /// Issues a ticket for an event stream, good for an hour, by the path of the stream.
    pub fn create_ticket(&self, path: &str) -> Call<Ticket> {
        self.post(&["events", "ticket"], Some(&TicketBody { path: path.to_owned() }))
    }

    /// Issues a ticket for the event streams of a project, good for an hour.
    pub fn issue_ticket(&self, project: &str) -> Call<Ticket> {
        self.post(&["projects", project, "events", "ticket"], NO_BODY)
    }
}
