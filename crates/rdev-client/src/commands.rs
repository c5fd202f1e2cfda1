//! Calls on commands of projects.

use rdev_api_types::{Accepted, ClaudeBody, Command, CommandPage, GitBody, ShellBody};
use reqwest::Method;

use crate::call::NO_BODY;
use crate::{Call, Client, Download, OutputForm, Page, Result};

impl Client {
    /// Runs Claude Code in a project.
    pub fn run_claude(&self, project: &str, body: &ClaudeBody) -> Call<Accepted> {
        self.post(&["projects", project, "claude"], Some(body))
    }

    /// Runs a shell line in a project.
    pub fn run_shell(&self, project: &str, body: &ShellBody) -> Call<Accepted> {
        self.post(&["projects", project, "shell"], Some(body))
    }

    /// Runs git in a project.
    pub fn run_git(&self, project: &str, body: &GitBody) -> Call<Accepted> {
        self.post(&["projects", project, "git"], Some(body))
    }

    /// Returns a page of a project's commands, newest first.
    ///
    /// # Errors
    /// [`Error::Api`](crate::Error::Api) with `PROJECT_NOT_FOUND`, or `VALIDATION_FAILED` for a limit or cursor that is
    /// not valid.
    pub async fn commands(&self, project: &str, page: &CommandPage) -> Result<Page<Command>> {
        self.page(&["projects", project, "commands"], page).await
    }

    /// Returns a command; while it is pending, with its queue position.
    ///
    /// # Errors
    /// [`Error::Api`](crate::Error::Api) with `PROJECT_NOT_FOUND` or `COMMAND_NOT_FOUND`.
    pub async fn command(&self, project: &str, id: &str) -> Result<Command> {
        self.get(&["projects", project, "commands", id]).await
    }

    /// Returns a command at its end, or after so many seconds, 1 to 60, as it stands then.
    ///
    /// # Errors
    /// [`Error::Api`](crate::Error::Api) with `PROJECT_NOT_FOUND` or `COMMAND_NOT_FOUND`.
    pub async fn await_command(&self, project: &str, id: &str, seconds: u32) -> Result<Command> {
        self.get_waiting(&["projects", project, "commands", id], seconds).await
    }

    /// Asks for a command's end. Repeating it, or asking after its end, changes nothing.
    pub fn cancel_command(&self, project: &str, id: &str) -> Call<Command> {
        self.post(&["projects", project, "commands", id, "cancel"], NO_BODY)
    }

    /// Begins to read a command's whole output; of a running one, the output so far.
    ///
    /// # Errors
    /// [`Error::Api`](crate::Error::Api) with `PROJECT_NOT_FOUND` or `COMMAND_NOT_FOUND`.
    pub async fn command_output(&self, project: &str, id: &str, form: OutputForm) -> Result<Download> {
        let request = self.request(Method::GET, &["projects", project, "commands", id, "output"]);
        Download::open(self, request, form.accept()).await
    }
}
