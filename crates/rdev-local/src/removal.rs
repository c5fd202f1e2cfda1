//! Removal of workspaces: the processes in them, then their files; and the flush of what is made.

use std::fs::{File, Permissions};
use std::io::{Error, ErrorKind, Result};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rustix::process::{Pid, Signal, kill_process};

use crate::durable::flush_names;

/// Most looks for processes in a folder: each look may find children of those that the one before has killed.
const LOOKS_MAX: u32 = 50;

/// Kills the processes in a folder and removes the folder with its files, or removes a file. What is gone already is
/// done. The removal is durable.
///
/// # Errors
/// When processes go on, or something cannot be removed, which the error names. Never `NotFound`: what comes and goes
/// meanwhile may be removed later.
pub(crate) fn purge(path: &Path) -> Result<()> {
    remove(path).map_err(|error| match error.kind() {
        ErrorKind::NotFound => Error::other(error),
        _ => error,
    })
}

fn remove(path: &Path) -> Result<()> {
    let about = match path.symlink_metadata() {
        Ok(about) => about,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return flush_above(path);
        }
        Err(error) => return Err(error),
    };
    if about.is_dir() {
        kill_within(path)?;
        remove_folder(path)?;
    } else {
        std::fs::remove_file(path)?;
    }
    flush_above(path)
}

fn remove_folder(folder: &Path) -> Result<()> {
    let mut removed = std::fs::remove_dir_all(folder);
    // Caches of programs have folders that nobody may write to.
    if removed.as_ref().is_err_and(|error| error.kind() == ErrorKind::PermissionDenied) {
        removed = open_up(folder).and_then(|()| std::fs::remove_dir_all(folder));
    }
    removed.or_else(|_| remove_one_by_one(folder))
}

/// Removes a folder with everything in it, up to the first entry that cannot be removed, which the error names.
fn remove_one_by_one(folder: &Path) -> Result<()> {
    for entry in std::fs::read_dir(folder).map_err(|error| of_entry(folder, error))? {
        let path = entry?.path();
        if path.symlink_metadata().map_err(|error| of_entry(&path, error))?.is_dir() {
            remove_one_by_one(&path)?;
        } else {
            std::fs::remove_file(&path).map_err(|error| of_entry(&path, error))?;
        }
    }
    std::fs::remove_dir(folder).map_err(|error| of_entry(folder, error))
}

/// Adds the name of the entry to an error.
fn of_entry(entry: &Path, error: Error) -> Error {
    let kind = error.kind();
    Error::new(kind, anyhow::Error::from(error).context(format!("{} stays", entry.display())))
}

/// Flushes the names beside a path, where its folder is there.
fn flush_above(path: &Path) -> Result<()> {
    match path.parent().map(flush_names) {
        Some(Err(error)) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Makes all folders below a path writable for their owner.
fn open_up(folder: &Path) -> Result<()> {
    std::fs::set_permissions(folder, Permissions::from_mode(0o700))?;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            open_up(&entry.path())?;
        }
    }
    Ok(())
}

/// Flushes all files and folders below a path, and its name.
///
/// # Errors
/// When something cannot be read or flushed.
pub(crate) fn flush_tree(folder: &Path) -> Result<()> {
    flush_below(folder)?;
    flush_above(folder)
}

fn flush_below(folder: &Path) -> Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            flush_below(&entry.path())?;
        } else if kind.is_file() {
            File::open(entry.path())?.sync_all()?;
        }
    }
    flush_names(folder)
}

/// Kills the processes whose working directory is in a folder, until there are none.
fn kill_within(folder: &Path) -> Result<()> {
    // The kernel names the real path.
    let folder = &std::fs::canonicalize(folder)?;
    for _ in 0..LOOKS_MAX {
        let found = processes_within(folder)?;
        if found.is_empty() {
            return Ok(());
        }
        for pid in found {
            // A process that is gone already, or that belongs to somebody else, shows at the next look.
            if let Err(error) = kill_process(pid, Signal::KILL) {
                tracing::debug!(%error, ?pid, "a process in a workspace was not killed");
            }
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    Err(Error::other(format!("processes in {} do not end", folder.display())))
}

fn processes_within(folder: &Path) -> Result<Vec<Pid>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc")? {
        let entry = entry?;
        let number = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok());
        let Some(pid) = number.and_then(Pid::from_raw) else { continue };
        // Processes end while the list is read, and those of others cannot be looked into.
        let Ok(cwd) = std::fs::read_link(entry.path().join("cwd")) else { continue };
        if cwd.starts_with(folder) && pid != rustix::process::getpid() {
            found.push(pid);
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_removed_is_named() {
        // Nobody removes anything from this folder, whatever the user may do elsewhere.
        let folder = Path::new("/proc/self/fdinfo");
        let error = purge(folder).unwrap_err();
        let (message, cause) = (error.to_string(), std::error::Error::source(&error));
        assert!(message.contains("/proc/self/fdinfo/") && message.ends_with(" stays"), "{message}");
        assert!(cause.is_some(), "{error:?}");
    }

    #[test]
    fn what_the_removal_of_the_whole_leaves_goes_one_by_one() {
        let outer = tempfile::tempdir().unwrap();
        let folder = outer.path().join("a");
        std::fs::create_dir_all(folder.join("b/c")).unwrap();
        std::fs::write(folder.join("b/file"), "x").unwrap();
        std::os::unix::fs::symlink(outer.path(), folder.join("b/c/link")).unwrap();
        remove_one_by_one(&folder).unwrap();
        assert_eq!(std::fs::read_dir(outer.path()).unwrap().count(), 0);
    }
}
