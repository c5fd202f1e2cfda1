//! Workspaces of projects, where rdev itself makes and removes them.

use async_trait::async_trait;
use rdev_domain::{JobId, ProjectId, Result};

/// Workspaces of projects. A new one is prepared by an operation where nobody sees it, and becomes a project at once when
/// it is published.
///
/// Every method may be repeated, also after an answer that was lost: what is there already is compared, and what is gone
/// already is done. Everything is durable when a method returns.
///
/// # Errors
/// `Unavailable` for a failure that may pass. `Conflict` with `NameTaken` where something is in the way that the operation
/// did not make, which is never removed. Anything else is a failure for good.
#[async_trait]
pub trait Workspaces: Send + Sync {
    /// Makes an empty workspace for a project, which is not visible yet. Returns its path.
    ///
    /// # Errors
    /// `Conflict` with `NameTaken` also while the project is closed, though its workspace may be gone: its deletion is not
    /// complete.
    async fn prepare(&self, project: &ProjectId, operation: &JobId) -> Result<String>;

    /// Makes a git repository with the branch `main` and no commit in a prepared workspace.
    async fn make_repository(&self, project: &ProjectId, operation: &JobId) -> Result<()>;

    /// Removes the repository of a prepared workspace.
    async fn remove_repository(&self, project: &ProjectId, operation: &JobId) -> Result<()>;

    /// Makes a prepared workspace a project, which takes commands from then on. Returns its path.
    ///
    /// # Errors
    /// `Conflict` with `NameTaken` also while the project is closed.
    async fn publish(&self, project: &ProjectId, operation: &JobId) -> Result<String>;

    /// Takes back what [`publish`](Self::publish) did: the workspace is prepared again, and no project.
    ///
    /// # Errors
    /// `Conflict` with `NameTaken` where the workspace has a file, or the repository a commit: commands may have made
    /// them, and the operation did not.
    async fn withdraw(&self, project: &ProjectId, operation: &JobId) -> Result<()>;

    /// Removes a prepared workspace.
    async fn discard(&self, project: &ProjectId, operation: &JobId) -> Result<()>;

    /// Closes a project: it is shown as being deleted, and takes no commands.
    async fn close(&self, project: &ProjectId) -> Result<()>;

    /// Opens a closed project again, or the name of one that was removed: the last act of a deletion, after which a new
    /// project may have the name.
    async fn reopen(&self, project: &ProjectId) -> Result<()>;

    /// Removes a closed project: ends the processes that are left in its workspace, and removes the workspace with all of
    /// its files. The project is gone at once, before its files are. Its name stays closed until
    /// [`reopen`](Self::reopen), so that no step of the same deletion can meet a new project of the name.
    async fn remove(&self, project: &ProjectId) -> Result<()>;
}
