//! Registry of projects.

use std::sync::Arc;

use rdev_domain::{Error, Project, ProjectId, Resource, Result};
use rdev_ports::Pods;

/// Registry of projects.
#[derive(Clone)]
pub struct Projects {
    pods: Arc<dyn Pods>,
}

impl Projects {
    /// Wires the service.
    pub fn new(pods: Arc<dyn Pods>) -> Self {
        Self { pods }
    }

    /// Returns up to `limit` projects whose id sorts after `after`.
    ///
    /// # Errors
    /// When the runtime cannot be read.
    pub async fn list(&self, after: Option<&ProjectId>, limit: usize) -> Result<Vec<Project>> {
        let mut projects = self.pods.projects().await?;
        projects.retain(|project| after.is_none_or(|after| project.id > *after));
        projects.truncate(limit);
        Ok(projects)
    }

    /// Returns one project.
    ///
    /// # Errors
    /// `NotFound` when there is no project of that id.
    pub async fn get(&self, id: &ProjectId) -> Result<Project> {
        self.pods.project(id).await?.ok_or_else(|| Error::not_found(Resource::Project, id))
    }

    /// Checks that a project takes commands.
    ///
    /// # Errors
    /// `NotFound` when there is no project of that id, `Conflict` while the project is being deleted.
    pub async fn check_open(&self, id: &ProjectId) -> Result<()> {
        self.get(id).await?.check_open()
    }

    /// Returns the folder whose bare repositories git may reach by their path; `None` when there is none.
    pub fn git_remotes(&self) -> Option<&str> {
        self.pods.git_remotes()
    }
}
