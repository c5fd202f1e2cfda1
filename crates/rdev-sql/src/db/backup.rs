//! Backups of a SQLite file: those that an operator asks for, and the copy that is made before a migration.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use rdev_domain::{Error, Result};
use sqlx::ConnectOptions;
use sqlx::sqlite::SqliteConnectOptions;

use super::file::{check, copy_into, folder_of, present, temporary_beside, with_suffix};

/// Number of copies of a file that are kept.
const COPIES_MAX: usize = 2;

/// Backs a file up to a new one, and checks it; a server may be using the file. The backup appears under its name once it
/// would survive the death of the machine.
///
/// # Errors
/// When the new file exists, or the backup cannot be made whole.
pub(crate) async fn to(backup: &Path, file: &Path) -> anyhow::Result<()> {
    anyhow::ensure!(file.is_file(), "there is no database {}", file.display());
    let made = temporary_beside(backup)?;
    copy_into(present(file).connect().await?, made.path()).await?;
    check(made.path()).await.context("the backup")?;
    made.as_file().sync_all()?;
    made.persist_noclobber(backup).with_context(|| format!("cannot write {}", backup.display()))?;
    File::open(folder_of(backup))?.sync_all()?;
    Ok(())
}

/// Copies a file before its first pending migration: to `rdev.db.before-0007` before `0007`. Of the earlier copies the
/// newest stays.
///
/// # Errors
/// `Unavailable` when the copy cannot be made whole; the error names the copy.
pub(crate) async fn before(migration: i64, file: &Path) -> Result<()> {
    let copy = beside(file, &format!("{migration:04}"));
    let unfinished = beside(file, &format!("{migration:04}.part"));
    let done = copy_whole(file, &unfinished, &copy).await.and_then(|()| Ok(forget_older(file)?));
    if done.is_err()
        && let Err(error) = remove(&unfinished)
    {
        tracing::warn!(file = %unfinished.display(), %error, "an incomplete copy could not be removed and takes room");
    }
    done.with_context(|| format!("cannot copy it to {} before it is migrated", copy.display()))
        .map_err(|error| Error::unavailable("database", error))?;
    tracing::info!(copy = %copy.display(), "the database was copied before it is migrated");
    Ok(())
}

/// Makes the copy, and names it once it would survive the death of the machine: an incomplete copy is not taken for whole.
async fn copy_whole(file: &Path, unfinished: &Path, copy: &Path) -> anyhow::Result<()> {
    remove(unfinished)?;
    // Closed to other users before data is in it.
    let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(unfinished)?;
    copy_into(SqliteConnectOptions::new().filename(file).read_only(true).connect().await?, unfinished)
        .await?;
    made.sync_all()?;
    fs::rename(unfinished, copy)?;
    File::open(folder_of(copy))?.sync_all()?;
    Ok(())
}

fn forget_older(file: &Path) -> io::Result<()> {
    let mut copies = Vec::new();
    for entry in fs::read_dir(folder_of(file))? {
        let path = entry?.path();
        if let Some(migration) = migration_of(&path, file) {
            copies.push((migration, path));
        }
    }
    copies.sort();
    let old = copies.len().saturating_sub(COPIES_MAX);
    copies[..old].iter().try_for_each(|(_, copy)| remove(copy))
}

/// Returns the migration before which a copy of this file was made; `None` for other files.
fn migration_of(copy: &Path, file: &Path) -> Option<i64> {
    let name = copy.file_name()?.to_str()?;
    let number = name.strip_prefix(beside(file, "").file_name()?.to_str()?)?;
    (number.len() >= 4 && number.bytes().all(|digit| digit.is_ascii_digit())).then(|| number.parse().ok())?
}

fn beside(file: &Path, suffix: &str) -> PathBuf {
    with_suffix(file, &format!(".before-{suffix}"))
}

fn remove(file: &Path) -> io::Result<()> {
    match fs::remove_file(file) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        done => done,
    }
}
