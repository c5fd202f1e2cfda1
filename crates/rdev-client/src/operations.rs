//! Calls on operations, and those that begin one.

use rdev_api_types::{AcceptedOperation, CreateProjectBody, Operation, OperationPage};

use crate::call::NO_BODY;
use crate::{Call, Client, Page, Result, Subscription};

impl Client {
    /// Makes a project. The answer comes at once; the project is there when the operation has completed.
    pub fn create_project(&self, body: &CreateProjectBody) -> Call<AcceptedOperation> {
        self.post(&["projects"], Some(body))
    }

    /// Removes a project with everything of it. The answer comes at once; the project is gone when the operation has
    /// completed.
    pub fn delete_project(&self, id: &str) -> Call<AcceptedOperation> {
        self.delete(&["projects", id])
    }

    /// Returns a page of operations, newest first.
    ///
    /// # Errors
    /// [`Error::Api`](crate::Error::Api) with `VALIDATION_FAILED` for a limit or cursor that is not valid.
    pub async fn operations(&self, page: &OperationPage) -> Result<Page<Operation>> {
        self.page(&["operations"], page).await
    }

    /// Returns an operation with its steps.
    ///
    /// # Errors
    /// [`Error::Api`](crate::Error::Api) with `OPERATION_NOT_FOUND`.
    pub async fn operation(&self, id: &str) -> Result<Operation> {
        self.get(&["operations", id]).await
    }

    /// Returns an operation at its end, or after so many seconds, 1 to 60, as it stands then.
    ///
    /// # Errors
    /// [`Error::Api`](crate::Error::Api) with `OPERATION_NOT_FOUND`.
    pub async fn await_operation(&self, id: &str, seconds: u32) -> Result<Operation> {
        self.get_waiting(&["operations", id], seconds).await
    }

    /// Subscribes to an operation, over all of its rounds. It ends after `complete`.
    pub fn operation_events(&self, id: &str) -> Subscription {
        self.subscription(&["operations", id, "events"], true)
    }

    /// Asks for an operation's end: its running step is finished, then everything is taken back. Repeating it, or asking
    /// after its end, changes nothing.
    pub fn cancel_operation(&self, id: &str) -> Call<Operation> {
        self.post(&["operations", id, "cancel"], NO_BODY)
    }

    /// Has an operation that ended without success go on where it stopped.
    pub fn retry_operation(&self, id: &str) -> Call<Operation> {
        self.post(&["operations", id, "retry"], NO_BODY)
    }
}
