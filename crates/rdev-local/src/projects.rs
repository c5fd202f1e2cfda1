//! Projects that operations make and remove: a folder with a repository in it.

use async_trait::async_trait;
use rdev_domain::{Conflict, Error, JobId, ProjectId, Result};
use rdev_ports::Workspaces;

use crate::Local;
use crate::durable::{flush_names, make_folder};
use crate::project_folders::{MARK, blocking, failure, is_there, text};
use crate::removal::{flush_tree, purge};

#[async_trait]
impl Workspaces for Local {
    async fn prepare(&self, project: &ProjectId, operation: &JobId) -> Result<String> {
        let projects = &self.projects;
        projects.check_name_is_open(project)?;
        if projects.is_published(project, operation).await? {
            return Ok(text(&projects.published(project)));
        }
        let folder = projects.prepared(operation);
        blocking({
            let folder = folder.clone();
            move || make_folder(&folder).map_err(|error| failure("make", &folder, error))
        })
        .await?;
        Ok(text(&folder))
    }

    async fn make_repository(&self, project: &ProjectId, operation: &JobId) -> Result<()> {
        let projects = &self.projects;
        if projects.is_published(project, operation).await? {
            return Ok(());
        }
        let folder = projects.prepared(operation);
        projects.git_done(&folder, &["init", "--quiet", "--initial-branch=main"]).await?;
        projects.git_done(&folder, &["config", "--local", MARK, operation.as_str()]).await?;
        blocking(move || flush_tree(&folder).map_err(|error| failure("flush", &folder, error))).await
    }

    async fn remove_repository(&self, _project: &ProjectId, operation: &JobId) -> Result<()> {
        let folder = self.projects.prepared(operation).join(".git");
        blocking(move || purge(&folder).map_err(|error| failure("remove", &folder, error))).await
    }

    async fn publish(&self, project: &ProjectId, operation: &JobId) -> Result<String> {
        let projects = &self.projects;
        projects.check_name_is_open(project)?;
        let path = projects.published(project);
        if projects.is_published(project, operation).await? {
            let folder = projects.workspaces.clone();
            blocking(move || flush_names(&folder).map_err(|error| failure("flush", &folder, error))).await?;
        } else {
            projects.rename(projects.prepared(operation), path.clone()).await?;
        }
        Ok(text(&path))
    }

    async fn withdraw(&self, project: &ProjectId, operation: &JobId) -> Result<()> {
        let projects = &self.projects;
        let path = projects.published(project);
        if !is_there(&path)? || !projects.is_made_by(&path, operation).await? {
            return Ok(());
        }
        if projects.has_content(&path).await? {
            let message = format!(
                "{} has content that the operation did not make: delete the project instead",
                path.display()
            );
            return Err(Error::conflict(Conflict::NameTaken, message));
        }
        let prepared = projects.prepared(operation);
        blocking({
            let folder = projects.new_folder();
            move || make_folder(&folder).map_err(|error| failure("make", &folder, error))
        })
        .await?;
        projects.rename(path, prepared).await
    }

    async fn discard(&self, _project: &ProjectId, operation: &JobId) -> Result<()> {
        let folder = self.projects.prepared(operation);
        blocking(move || purge(&folder).map_err(|error| failure("remove", &folder, error))).await
    }

    async fn close(&self, project: &ProjectId) -> Result<()> {
        let mark = self.projects.closed_folder.join(project.as_str());
        blocking(move || {
            let made = std::fs::File::create(&mark).and_then(|_| flush_names(mark.parent().unwrap_or(&mark)));
            made.map_err(|error| failure("make", &mark, error))
        })
        .await?;
        self.projects.closed().insert(project.clone());
        Ok(())
    }

    async fn reopen(&self, project: &ProjectId) -> Result<()> {
        let mark = self.projects.closed_folder.join(project.as_str());
        blocking(move || purge(&mark).map_err(|error| failure("remove", &mark, error))).await?;
        self.projects.closed().remove(project);
        Ok(())
    }

    async fn remove(&self, project: &ProjectId) -> Result<()> {
        let projects = &self.projects;
        let (path, removed) = (projects.published(project), projects.workspaces.join(".removed"));
        let folder = removed.join(project.as_str());
        if is_there(&path)? {
            blocking({
                let folder = folder.clone();
                move || {
                    make_folder(&removed).map_err(|error| failure("make", &removed, error))?;
                    // Left of an earlier project of that name, whose removal was interrupted.
                    purge(&folder).map_err(|error| failure("remove", &folder, error))
                }
            })
            .await?;
            projects.rename(path, folder.clone()).await?;
        }
        blocking(move || purge(&folder).map_err(|error| failure("remove", &folder, error))).await
    }
}
