//! Locks of what one process alone may use. The file of a lock holds the number of the process that has taken it last.

use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use tokio::time::Instant;

use crate::config::{DatabaseUrl, StoreConfig};

/// Longest time that a start waits for a lock.
const LOCK_PATIENCE: Duration = Duration::from_secs(2);
/// Pause between two attempts to take a lock.
const LOCK_PAUSE: Duration = Duration::from_millis(20);

/// Locks the data folder, until the file is closed.
///
/// # Errors
/// When another process holds the lock for 2 s, or the lock file cannot be written.
pub(super) async fn data_folder(folder: &Path) -> anyhow::Result<File> {
    lock(&folder.join("lock"), folder, "RDEV_DATA_DIR").await
}

/// Locks a SQLite database, until the file is closed; Postgres has several users, and needs no lock.
///
/// The lock lies beside the SQLite file, by whatever path that is named: a second server would release the leases of the
/// first, and end its commands.
///
/// # Errors
/// When another process holds the lock for 2 s, or the database file cannot be opened.
pub(super) async fn database(config: &StoreConfig) -> anyhow::Result<Option<File>> {
    let DatabaseUrl::Sqlite(file) = config.database() else { return Ok(None) };
    let named = || format!("cannot open {} (RDEV_DATABASE_URL)", file.display());
    // The file is made here, so that a link to a file that is not there yet is resolved, too.
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&file)
        .with_context(named)?;
    let real = std::fs::canonicalize(&file).with_context(named)?;
    let mut beside = real.clone().into_os_string();
    beside.push(".lock");
    lock(Path::new(&beside), &real, "RDEV_DATABASE_URL").await.map(Some)
}

async fn lock(path: &Path, of: &Path, variable: &str) -> anyhow::Result<File> {
    let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path);
    let file = file.with_context(|| format!("cannot write {}", path.display()))?;
    // A server that was killed while it started a program lives on in the child until that has its own image.
    let until = Instant::now() + LOCK_PATIENCE;
    while file.try_lock().is_err() && Instant::now() < until {
        tokio::time::sleep(LOCK_PAUSE).await;
    }
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let holder = holder(path).map(|pid| format!(" (process {pid})")).unwrap_or_default();
            anyhow::bail!(
                "another rdev-api{holder} uses {} ({variable}): stop it, or name another one",
                of.display()
            );
        }
        Err(TryLockError::Error(error)) => {
            return Err(error).with_context(|| format!("cannot lock {}", path.display()));
        }
    }
    // For the error above alone: a full disk must not keep a server from its start.
    if let Err(error) = file.write_all_at(format!("{:<10}\n", std::process::id()).as_bytes(), 0) {
        tracing::debug!(%error, "the lock file does not name this process");
    }
    Ok(file)
}

/// Returns the process that a lock file names.
fn holder(path: &Path) -> Option<u32> {
    std::fs::read_to_string(path).ok()?.trim().parse().ok()
}
