//! The project that a start makes where it is missing: something to run commands in, and to try git with.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rdev_domain::{Error, ProjectId, Result};
use tokio::time::timeout;

use crate::Local;
use crate::project_folders::{ProjectFolders, failure};
use crate::removal::flush_tree;

/// Files of the project.
const FILES: [(&str, &str); 2] = [
    ("README.md", include_str!("first_project/README.md")),
    ("Makefile", include_str!("first_project/Makefile")),
];
/// Commit of the files, by rdev and by no setting of the user's.
const COMMIT: [&str; 13] = [
    "-c",
    "user.name=rdev-bot",
    "-c",
    "user.email=rdev-bot@localhost",
    "-c",
    "commit.gpgSign=false",
    "-c",
    "core.hooksPath=/dev/null",
    "commit",
    "--quiet",
    "--no-edit",
    "--message",
    "A project to try rdev with",
];
/// Longest time that git has for the repository, together. A start waits for it.
const GIT_MAX: Duration = Duration::from_secs(10);

impl Local {
    /// Makes the first project, unless something has its name, or its deletion is not complete: a folder with a README, a
    /// Makefile of two slow steps, and a repository with one commit. Without a working git there is no repository, and the
    /// log has a warning.
    ///
    /// # Errors
    /// When the folder cannot be made.
    pub async fn make_first_project(&self, id: &ProjectId) -> Result<()> {
        let projects = &self.projects;
        let published = projects.published(id);
        if projects.is_closed(id) || projects.is_there(id, &published).await? {
            return Ok(());
        }
        let folder = projects.new_folder().join("first");
        // Left by a start that was interrupted.
        projects.purge(id, folder.clone()).await?;
        projects.make_folder(id, folder.clone()).await?;
        projects
            .blocking(id, {
                let folder = folder.clone();
                move || write_files(&folder)
            })
            .await?;
        if let Err(error) = in_time(commit(projects, id, &folder)).await {
            tracing::warn!(project = %id, ?error, "the first project has no git repository");
            projects.purge(id, folder.join(".git")).await?;
        }
        let flushed = folder.clone();
        let flush = move || flush_tree(&flushed).map_err(|error| failure("flush", &flushed, error));
        projects.blocking(id, flush).await?;
        projects.rename(id, folder, published).await
    }
}

fn write_files(folder: &Path) -> Result<()> {
    FILES.iter().try_for_each(|(name, text)| {
        let file: PathBuf = folder.join(name);
        std::fs::write(&file, text).map_err(|error| failure("write", &file, error))
    })
}

async fn commit(projects: &ProjectFolders, id: &ProjectId, folder: &Path) -> Result<()> {
    projects.init_repository(id, folder).await?;
    // Whatever the user has git ignore.
    projects.git_done(id, folder, &["add", "--force", "--all"]).await?;
    projects.git_done(id, folder, &COMMIT).await.map(drop)
}

async fn in_time(work: impl Future<Output = Result<()>>) -> Result<()> {
    let late = |_| Err(Error::unavailable("git", anyhow::anyhow!("not done within {GIT_MAX:?}")));
    timeout(GIT_MAX, work).await.unwrap_or_else(late)
}
