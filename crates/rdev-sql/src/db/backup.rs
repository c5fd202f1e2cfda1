//! The copy of a SQLite file that is made before a migration.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use rdev_domain::{Error, Result};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection};

/// Number of copies of a file that are kept.
const COPIES_MAX: usize = 2;

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
    let name = unfinished.to_str().context("its name is not UTF-8, as SQLite requires")?;
    remove(unfinished)?;
    // Closed to other users before data is in it.
    let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(unfinished)?;
    let mut connection = SqliteConnectOptions::new().filename(file).read_only(true).connect().await?;
    sqlx::query("VACUUM INTO $1").bind(name).execute(&mut connection).await?;
    connection.close().await?;
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
    let mut name = file.as_os_str().to_owned();
    name.push(format!(".before-{suffix}"));
    name.into()
}

fn folder_of(file: &Path) -> &Path {
    file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn remove(file: &Path) -> io::Result<()> {
    match fs::remove_file(file) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        done => done,
    }
}
