//! Projects that operations make and remove: a folder with a repository in it.

use async_trait::async_trait;
use rdev_domain::{Conflict, Error, JobId, ProjectId, Result};
use rdev_ports::Workspaces;

use crate::Local;
use crate::durable::flush_names;
use crate::project_folders::{MARK, failure, text};
use crate::removal::flush_tree;

#[async_trait]
impl Workspaces for Local {
    async fn prepare(&self, project: &ProjectId, operation: &JobId) -> Result<String> {
        let projects = &self.projects;
        projects.check_name_is_open(project)?;
        if projects.is_published(project, operation).await? {
            return Ok(text(&projects.published(project)));
        }
        let folder = projects.prepared(operation);
        projects.make_folder(project, folder.clone()).await?;
        Ok(text(&folder))
    }

    async fn make_repository(&self, project: &ProjectId, operation: &JobId) -> Result<()> {
        let projects = &self.projects;
        if projects.is_published(project, operation).await? {
            return Ok(());
        }
        let folder = projects.prepared(operation);
        projects.init_repository(project, &folder).await?;
        projects.git_done(project, &folder, &["config", "--local", MARK, operation.as_str()]).await?;
        let flush = move || flush_tree(&folder).map_err(|error| failure("flush", &folder, error));
        projects.blocking(project, flush).await
    }

    async fn remove_repository(&self, project: &ProjectId, operation: &JobId) -> Result<()> {
        self.projects.purge(project, self.projects.prepared(operation).join(".git")).await
    }

    async fn publish(&self, project: &ProjectId, operation: &JobId) -> Result<String> {
        let projects = &self.projects;
        projects.check_name_is_open(project)?;
        let path = projects.published(project);
        if projects.is_published(project, operation).await? {
            let folder = projects.workspaces.clone();
            let flush = move || flush_names(&folder).map_err(|error| failure("flush", &folder, error));
            projects.blocking(project, flush).await?;
        } else {
            projects.rename(project, projects.prepared(operation), path.clone()).await?;
        }
        Ok(text(&path))
    }

    async fn withdraw(&self, project: &ProjectId, operation: &JobId) -> Result<()> {
        let projects = &self.projects;
        let path = projects.published(project);
        if !projects.is_there(project, &path).await?
            || !projects.is_made_by(project, &path, operation).await?
        {
            return Ok(());
        }
        if projects.has_content(project, &path).await? {
            let message = format!(
                "{} has content that the operation did not make: delete the project instead",
                path.display()
            );
            return Err(Error::conflict(Conflict::NameTaken, message));
        }
        projects.make_folder(project, projects.new_folder()).await?;
        projects.rename(project, path, projects.prepared(operation)).await
    }

    async fn discard(&self, project: &ProjectId, operation: &JobId) -> Result<()> {
        self.projects.purge(project, self.projects.prepared(operation)).await
    }

    async fn close(&self, project: &ProjectId) -> Result<()> {
        let mark = self.projects.closed_folder.join(project.as_str());
        let make = move || {
            let made = std::fs::File::create(&mark).and_then(|_| flush_names(mark.parent().unwrap_or(&mark)));
            made.map_err(|error| failure("make", &mark, error))
        };
        self.projects.blocking(project, make).await?;
        self.projects.closed().insert(project.clone());
        Ok(())
    }

    async fn reopen(&self, project: &ProjectId) -> Result<()> {
        let mark = self.projects.closed_folder.join(project.as_str());
        self.projects.purge(project, mark).await?;
        self.projects.closed().remove(project);
        Ok(())
    }

    async fn remove(&self, project: &ProjectId) -> Result<()> {
        let projects = &self.projects;
        let (path, removed) = (projects.published(project), projects.workspaces.join(".removed"));
        let folder = removed.join(project.as_str());
        if projects.is_there(project, &path).await? {
            projects.make_folder(project, removed).await?;
            // Left of an earlier project of that name, whose removal was interrupted.
            projects.purge(project, folder.clone()).await?;
            projects.rename(project, path, folder.clone()).await?;
        }
        projects.purge(project, folder).await
    }
}
