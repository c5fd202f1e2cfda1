//! Calls on tasks of the pool.

use rdev_api_types::{Artefact, QueueStats, Task, TaskBody, TaskPage};
use reqwest::Method;

use crate::call::NO_BODY;
use crate::{Call, Client, Download, OutputForm, Page, Result};

impl Client {
    /// Adds a task. It runs in the next free worker of the pool.
    pub fn add_task(&self, body: &TaskBody) -> Call<Task> {
        self.post(&["queue", "tasks"], Some(body))
    }

    /// Returns a page of tasks, newest first.
    ///
    /// # Errors
    /// [`Error::Api`](crate::Error::Api) with `VALIDATION_FAILED` for a parameter that is not valid.
    pub async fn tasks(&self, page: &TaskPage) -> Result<Page<Task>> {
        self.page(&["queue", "tasks"], page).await
    }

    /// Returns a task; while it is pending, with its queue position.
    ///
    /// # Errors
    /// [`Error::Api`](crate::Error::Api) with `TASK_NOT_FOUND`.
    pub async fn task(&self, id: &str) -> Result<Task> {
        self.get(&["queue", "tasks", id]).await
    }

    /// Returns a task at its end, or after so many seconds, 1 to 60, as it stands then.
    ///
    /// # Errors
    /// [`Error::Api`](crate::Error::Api) with `TASK_NOT_FOUND`.
    pub async fn await_task(&self, id: &str, seconds: u32) -> Result<Task> {
        self.get_waiting(&["queue", "tasks", id], seconds).await
    }

    /// Asks for a task's end. Repeating it, or asking after its end, changes nothing.
    pub fn cancel_task(&self, id: &str) -> Call<Task> {
        self.post(&["queue", "tasks", id, "cancel"], NO_BODY)
    }

    /// Runs a task that has ended for one more round of attempts. Without an idempotency key, a repetition after the
    /// round has ended is one more round.
    pub fn retry_task(&self, id: &str) -> Call<Task> {
        self.post(&["queue", "tasks", id, "retry"], NO_BODY)
    }

    /// Begins to read a task's whole output, of all attempts.
    ///
    /// # Errors
    /// [`Error::Api`](crate::Error::Api) with `TASK_NOT_FOUND`.
    pub async fn task_output(&self, id: &str, form: OutputForm) -> Result<Download> {
        let request = self.request(Method::GET, &["queue", "tasks", id, "output"]);
        Download::open(self, request, form.accept()).await
    }

    /// Returns the files that a task's last attempt has left, and those that are not kept, with the cause.
    ///
    /// # Errors
    /// [`Error::Api`](crate::Error::Api) with `TASK_NOT_FOUND`.
    pub async fn artefacts(&self, id: &str) -> Result<Vec<Artefact>> {
        Ok(self.page(&["queue", "tasks", id, "artefacts"], &()).await?.items)
    }

    /// Begins to download a file that a task has left, by its path with slashes.
    ///
    /// # Errors
    /// [`Error::Api`](crate::Error::Api) with `TASK_NOT_FOUND` or `ARTEFACT_NOT_FOUND`.
    pub async fn artefact(&self, id: &str, path: &str) -> Result<Download> {
        let segments: Vec<&str> =
            ["queue", "tasks", id, "artefacts"].into_iter().chain(path.split('/')).collect();
        Download::open(self, self.request(Method::GET, &segments), "application/octet-stream").await
    }

    /// Returns the queue in numbers.
    ///
    /// # Errors
    /// As every call.
    pub async fn queue_stats(&self) -> Result<QueueStats> {
        self.get(&["queue", "stats"]).await
    }
}
