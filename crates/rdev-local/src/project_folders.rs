//! Folders of the projects that rdev makes and removes, and the repositories in them.
//!
//! A new workspace is prepared in `workspaces/.new/<operation>`, and becomes a project by one rename. A project that is
//! removed is renamed to `workspaces/.removed/<project>` first, so it is gone at once, and its files go afterwards. No id
//! of a project begins with a dot.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::io::{Error as IoError, ErrorKind};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use anyhow::Context;
use rdev_domain::{Conflict, Error, JobId, ProjectId, Result};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;
use tokio::process::Command;
use tokio::sync::Mutex as Turn;
use tokio::task::spawn_blocking;

use crate::durable::{flush_names, make_folder};
use crate::removal::purge;

/// Option of a repository's configuration that names the operation which made it.
pub(crate) const MARK: &str = "rdev.operation";

/// Folders of projects; clones share the list of closed ones.
#[derive(Clone)]
pub(crate) struct ProjectFolders {
    pub(crate) workspaces: PathBuf,
    /// Folder of marks: a file for each closed project.
    pub(crate) closed_folder: PathBuf,
    closed: Arc<Mutex<BTreeSet<ProjectId>>>,
    /// Turns of the projects whose folders are changed.
    turns: Arc<Mutex<BTreeMap<ProjectId, Weak<Turn<()>>>>>,
    /// Environment of git, as commands have it.
    env: Arc<[(OsString, OsString)]>,
}

impl ProjectFolders {
    /// Reads which projects are closed. `data_dir` is absolute.
    pub(crate) fn open(
        data_dir: &Path,
        workspaces: &Path,
        env: &[(OsString, OsString)],
    ) -> anyhow::Result<Self> {
        let closed_folder = data_dir.join("closed");
        make_folder(&closed_folder).with_context(|| format!("cannot make {}", closed_folder.display()))?;
        let mut closed = BTreeSet::new();
        for entry in std::fs::read_dir(&closed_folder)? {
            closed.extend(entry?.file_name().to_str().and_then(|name| name.parse::<ProjectId>().ok()));
        }
        Ok(Self {
            workspaces: workspaces.to_owned(),
            closed_folder,
            closed: Arc::new(Mutex::new(closed)),
            turns: Arc::default(),
            env: env.into(),
        })
    }

    /// Tells whether a project is closed.
    pub(crate) fn is_closed(&self, id: &ProjectId) -> bool {
        self.closed().contains(id)
    }

    /// Checks that no deletion holds the name of a project.
    ///
    /// # Errors
    /// `Conflict` with `NameTaken` while the project is closed.
    pub(crate) fn check_name_is_open(&self, id: &ProjectId) -> Result<()> {
        if !self.is_closed(id) {
            return Ok(());
        }
        let message = format!("the deletion of project {id} is not complete: retry its operation first");
        Err(Error::conflict(Conflict::NameTaken, message))
    }

    pub(crate) fn closed(&self) -> MutexGuard<'_, BTreeSet<ProjectId>> {
        self.closed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs work on the folders of a project, after what runs there already: work whose caller has given up goes on to its
    /// end, and must not meet a repetition.
    pub(crate) async fn blocking<T: Send + 'static>(
        &self,
        project: &ProjectId,
        work: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let turn = self.turn_of(project).lock_owned().await;
        let work = move || {
            let done = work();
            drop(turn);
            done
        };
        spawn_blocking(work).await.map_err(anyhow::Error::from)?
    }

    fn turn_of(&self, project: &ProjectId) -> Arc<Turn<()>> {
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        turns.retain(|_, turn| turn.strong_count() > 0);
        if let Some(turn) = turns.get(project).and_then(Weak::upgrade) {
            return turn;
        }
        let turn = Arc::<Turn<()>>::default();
        turns.insert(project.clone(), Arc::downgrade(&turn));
        turn
    }

    pub(crate) async fn is_there(&self, project: &ProjectId, path: &Path) -> Result<bool> {
        let path = path.to_owned();
        self.blocking(project, move || is_there(&path)).await
    }

    /// Makes a folder with the missing ones above.
    pub(crate) async fn make_folder(&self, project: &ProjectId, folder: PathBuf) -> Result<()> {
        self.blocking(project, move || make_folder(&folder).map_err(|error| failure("make", &folder, error)))
            .await
    }

    /// Removes a file, or a folder with everything in it.
    pub(crate) async fn purge(&self, project: &ProjectId, path: PathBuf) -> Result<()> {
        self.blocking(project, move || purge(&path).map_err(|error| failure("remove", &path, error))).await
    }

    pub(crate) fn new_folder(&self) -> PathBuf {
        self.workspaces.join(".new")
    }

    pub(crate) fn prepared(&self, operation: &JobId) -> PathBuf {
        self.new_folder().join(operation.as_str())
    }

    pub(crate) fn published(&self, id: &ProjectId) -> PathBuf {
        self.workspaces.join(id.as_str())
    }

    /// Tells whether the operation made the repository in this workspace.
    pub(crate) async fn is_made_by(
        &self,
        project: &ProjectId,
        workspace: &Path,
        operation: &JobId,
    ) -> Result<bool> {
        let config = workspace.join(".git/config");
        if !self.is_there(project, &config).await? {
            return Ok(false);
        }
        let mut command = self.git();
        command.args(["config", "--file"]).arg(&config).args(["--get", MARK]);
        let output = run(command).await?;
        Ok(output.status.success() && output.stdout.trim_ascii() == operation.as_str().as_bytes())
    }

    /// Tells whether the operation has made the project already.
    ///
    /// # Errors
    /// `Conflict` with `NameTaken` when something else has its name.
    pub(crate) async fn is_published(&self, id: &ProjectId, operation: &JobId) -> Result<bool> {
        let path = self.published(id);
        if !self.is_there(id, &path).await? {
            return Ok(false);
        }
        if self.is_made_by(id, &path, operation).await? {
            return Ok(true);
        }
        Err(made_by_another(&path))
    }

    fn git(&self) -> Command {
        let mut command = Command::new("git");
        command
            .env_clear()
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .current_dir(&self.workspaces)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command
    }

    /// Tells whether a workspace has more than the empty repository that an operation makes.
    pub(crate) async fn has_content(&self, project: &ProjectId, workspace: &Path) -> Result<bool> {
        let folder = workspace.to_owned();
        let look = move || {
            let failed = |error| failure("read", &folder, error);
            for entry in std::fs::read_dir(&folder).map_err(failed)? {
                if entry.map_err(failed)?.file_name() != ".git" {
                    return Ok(true);
                }
            }
            Ok(false)
        };
        if self.blocking(project, look).await? {
            return Ok(true);
        }
        let commits = self.git_done(project, workspace, &["rev-list", "--max-count=1", "--all"]).await?;
        Ok(!commits.is_empty())
    }

    /// Makes an empty repository in a folder, on branch `main`. It has nothing of a template: no hooks of the user's, and no
    /// examples of some, each of which would be flushed to disk.
    pub(crate) async fn init_repository(&self, project: &ProjectId, folder: &Path) -> Result<()> {
        self.git_done(project, folder, &["init", "--quiet", "--initial-branch=main", "--template="])
            .await
            .map(drop)
    }

    /// Runs git in a repository. Returns what git prints.
    pub(crate) async fn git_done(
        &self,
        project: &ProjectId,
        repository: &Path,
        args: &[&str],
    ) -> Result<Vec<u8>> {
        if !self.is_there(project, repository).await? {
            return Err(failure("enter", repository, ErrorKind::NotFound.into()));
        }
        let mut command = self.git();
        command.arg("-C").arg(repository).args(args);
        let output = run(command).await?;
        if output.status.success() {
            return Ok(output.stdout);
        }
        let stderr = String::from_utf8_lossy(&output.stderr);
        let what = anyhow::anyhow!("git {}: {}, {}", args.join(" "), output.status, stderr.trim());
        Err(Error::unavailable("git", what))
    }

    /// Renames a workspace, and makes both names durable. Nothing is replaced.
    pub(crate) async fn rename(&self, project: &ProjectId, from: PathBuf, to: PathBuf) -> Result<()> {
        self.blocking(project, move || {
            let renamed = match renameat_with(CWD, &from, CWD, &to, RenameFlags::NOREPLACE) {
                // The file system does not know the flag; this process alone uses the folder.
                Err(Errno::INVAL | Errno::NOSYS) if !is_there(&to)? => std::fs::rename(&from, &to),
                renamed => renamed.map_err(IoError::from),
            };
            renamed.map_err(|error| not_renamed(&from, &to, error))?;
            for folder in [from.parent(), to.parent()].into_iter().flatten() {
                flush_names(folder).map_err(|error| failure("flush", folder, error))?;
            }
            Ok(())
        })
        .await
    }
}

/// Makes the error for something that has the name of a project and that the operation did not make.
fn made_by_another(path: &Path) -> Error {
    let message = format!("{} is there, and this operation did not make it", path.display());
    Error::conflict(Conflict::NameTaken, message)
}

/// Converts the failure of a rename that must replace nothing.
fn not_renamed(from: &Path, to: &Path, error: IoError) -> Error {
    let in_the_way = [ErrorKind::AlreadyExists, ErrorKind::DirectoryNotEmpty, ErrorKind::NotADirectory];
    if in_the_way.contains(&error.kind()) && to.symlink_metadata().is_ok() {
        return made_by_another(to);
    }
    failure("rename", from, error)
}

/// Tells whether a file or folder is there; a link is, wherever it leads.
fn is_there(path: &Path) -> Result<bool> {
    match path.symlink_metadata() {
        Ok(_) => Ok(true),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(false),
        Err(error) => Err(failure("read", path, error)),
    }
}

/// Converts a failure of the file system. One of permissions, and something that is gone, is for good; any other may pass.
pub(crate) fn failure(verb: &str, path: &Path, error: IoError) -> Error {
    let for_good = matches!(
        error.kind(),
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem | ErrorKind::NotFound
    );
    let error = anyhow::Error::from(error).context(format!("cannot {verb} {}", path.display()));
    if for_good { Error::Internal(error) } else { Error::unavailable("the folder of workspaces", error) }
}

async fn run(mut command: Command) -> Result<std::process::Output> {
    command.output().await.map_err(|error| match error.kind() {
        ErrorKind::NotFound => Error::Internal(anyhow::Error::from(error).context("git is not installed")),
        _ => Error::unavailable("git", error),
    })
}

pub(crate) fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn work_that_its_caller_gave_up_is_not_met_by_the_next() {
        let data = tempfile::tempdir().unwrap();
        let folders = ProjectFolders::open(data.path(), data.path(), &[]).unwrap();
        let project = |name: &str| name.parse::<ProjectId>().unwrap();
        let ((begun, has_begun), (go_on, may_go_on)) = (mpsc::channel(), mpsc::channel::<()>());
        let is_done = Arc::new(AtomicBool::new(false));
        let first = tokio::spawn({
            let (folders, shop, is_done) = (folders.clone(), project("shop"), is_done.clone());
            async move {
                let work = move || {
                    begun.send(()).map_err(anyhow::Error::from)?;
                    may_go_on.recv().map_err(anyhow::Error::from)?;
                    is_done.store(true, Ordering::SeqCst);
                    Ok(())
                };
                folders.blocking(&shop, work).await
            }
        });
        tokio::task::spawn_blocking(move || has_begun.recv()).await.unwrap().unwrap();
        first.abort();
        assert!(first.await.unwrap_err().is_cancelled());
        let (shop, other) = (project("shop"), project("other"));
        let mut next = Box::pin(folders.blocking(&shop, move || Ok(is_done.load(Ordering::SeqCst))));
        // Polled once: the next waits. Other projects do not.
        tokio::select! {
            biased;
            _ = &mut next => panic!("it met the first"),
            other = folders.blocking(&other, || Ok(())) => other.unwrap(),
        }
        go_on.send(()).unwrap();
        assert!(next.await.unwrap(), "the first was done before");
        drop(folders.turn_of(&shop));
        assert_eq!(folders.turns.lock().unwrap().len(), 1, "what nobody waits for is forgotten");
    }

    #[test]
    fn what_can_never_pass_is_for_good() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("from"), folder.path().join("to"));
        for (kind, is_unavailable) in [
            (ErrorKind::NotFound, false),
            (ErrorKind::PermissionDenied, false),
            (ErrorKind::StorageFull, true),
            // A file among the folders above; somebody may remove the file.
            (ErrorKind::NotADirectory, true),
        ] {
            let error = not_renamed(&from, &to, kind.into());
            assert_eq!(matches!(error, Error::Unavailable { .. }), is_unavailable, "{error:?}");
        }
        std::fs::write(&to, "").unwrap();
        for kind in [ErrorKind::AlreadyExists, ErrorKind::DirectoryNotEmpty, ErrorKind::NotADirectory] {
            let error = not_renamed(&from, &to, kind.into());
            assert!(matches!(error, Error::Conflict { conflict: Conflict::NameTaken, .. }), "{error:?}");
        }
    }
}
