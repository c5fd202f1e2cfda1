//! Restore of a SQLite file from a backup.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use anyhow::Context;
use rdev_domain::Timestamp;
use sqlx::{ConnectOptions, Connection};

use super::file::{check, copy_into, folder_of, open_backup, present, temporary_beside, with_suffix};

/// Result of a restore.
#[derive(Debug)]
pub struct Restored {
    /// Number of jobs that had not ended when the backup was made.
    pub unended_jobs: u64,
    /// The database that was there before, set aside; `None` where there was none.
    pub replaced: Option<PathBuf>,
}

/// Replaces a file by the database in a backup, once that is checked. The caller holds the locks of the file. A cut at any
/// moment leaves either database whole.
///
/// # Errors
/// When the backup is damaged, not of rdev, or of a later version that this one cannot use; when a file cannot be written.
/// The file is then as it was.
pub(crate) async fn from(backup: &Path, file: &Path, now: Timestamp) -> anyhow::Result<Restored> {
    let named = || format!("{}", backup.display());
    let unended_jobs = check(backup).await.with_context(named)?;
    let made = temporary_beside(file)?;
    copy_into(open_backup(backup).await.with_context(named)?, made.path()).await?;
    made.as_file().sync_all()?;
    empty_log(file).await?;
    let replaced = set_aside(file, now).with_context(|| format!("cannot set {} aside", file.display()))?;
    if let Err(error) = made.persist(file) {
        replaced.iter().try_for_each(|aside| move_logs(aside, file))?;
        return Err(error).with_context(|| format!("cannot replace {}", file.display()));
    }
    File::open(folder_of(file))?.sync_all()?;
    Ok(Restored { unended_jobs, replaced })
}

/// Moves what the write-ahead log has into the file, so that a cut between two of the next steps costs nothing. A database that
/// is damaged stays as it is.
async fn empty_log(file: &Path) -> anyhow::Result<()> {
    if !is_there(file)? {
        return Ok(());
    }
    let emptied = async {
        let mut connection = present(file).connect().await?;
        sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(&mut connection).await?;
        connection.close().await
    };
    if let Err(error) = emptied.await {
        tracing::warn!(file = %file.display(), %error, "the present database is damaged; it is set aside as it is");
    }
    Ok(())
}

/// Names the present file, and the logs beside it, after the time of the restore. The name itself keeps leading to the
/// database, so that no server starts on an empty one; a log that stayed would be applied to the restored database.
fn set_aside(file: &Path, now: Timestamp) -> io::Result<Option<PathBuf>> {
    let aside = with_suffix(file, &format!(".replaced-{now}"));
    let is_there = is_there(file)?;
    if is_there {
        fs::hard_link(file, &aside)?;
    }
    move_logs(file, &aside)?;
    ignore_missing(fs::remove_file(with_suffix(file, "-shm")))?;
    Ok(is_there.then_some(aside))
}

/// Tells whether there is a database. The lock of one that is not there makes an empty file.
fn is_there(file: &Path) -> io::Result<bool> {
    Ok(fs::exists(file)? && fs::metadata(file)?.len() > 0)
}

fn move_logs(from: &Path, to: &Path) -> io::Result<()> {
    let mut logs = ["-wal", "-journal"].into_iter();
    logs.try_for_each(|log| ignore_missing(fs::rename(with_suffix(from, log), with_suffix(to, log))))
}

fn ignore_missing(done: io::Result<()>) -> io::Result<()> {
    done.or_else(|error| if error.kind() == ErrorKind::NotFound { Ok(()) } else { Err(error) })
}
