//! A SQLite file as a file: how others than its server look at it, copy it and check it.

use std::path::{Path, PathBuf};

use anyhow::Context;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions, Connection};
use tempfile::NamedTempFile;

use crate::migrations::{self, Schema};

/// Returns options to look at an existing file. Not read-only: the first connection rolls back a transaction that a power
/// cut has interrupted, and a read-only one cannot.
pub(crate) fn present(file: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new().filename(file).create_if_missing(false)
}

/// Makes an empty file in the folder of another, for this user alone; it is removed when it is dropped.
pub(super) fn temporary_beside(file: &Path) -> anyhow::Result<NamedTempFile> {
    let folder = folder_of(file);
    let made = tempfile::Builder::new().prefix(".rdev-backup-").tempfile_in(folder);
    made.with_context(|| format!("cannot write into {}", folder.display()))
}

/// Copies the database of a connection into an empty file, and closes the connection.
pub(super) async fn copy_into(mut from: SqliteConnection, to: &Path) -> anyhow::Result<()> {
    let name = to.to_str().context("its name is not UTF-8, as SQLite requires")?;
    sqlx::query("VACUUM INTO $1").bind(name).execute(&mut from).await?;
    from.close().await?;
    Ok(())
}

/// Checks that a file is a whole database of rdev which this version can use. Returns the number of its jobs that have not
/// ended.
pub(super) async fn check(backup: &Path) -> anyhow::Result<u64> {
    anyhow::ensure!(backup.is_file(), "there is no such file");
    let mut connection = open_backup(backup).await?;
    let complaint: String =
        sqlx::query_scalar("PRAGMA integrity_check(1)").fetch_one(&mut connection).await?;
    anyhow::ensure!(complaint == "ok", "it is damaged: {complaint}");
    let schema = Schema::on_sqlite(&mut connection).await?;
    anyhow::ensure!(!schema.is_new(), "it is no database of rdev: no migration is recorded in it");
    schema.check(&migrations::SQLITE).map_err(anyhow::Error::new)?;
    let unended = match schema.version() {
        ..17 => "SELECT count(*) FROM tasks WHERE ended_us IS NULL",
        _ => "SELECT count(*) FROM queue",
    };
    let unended: i64 = sqlx::query_scalar(unended).fetch_one(&mut connection).await?;
    connection.close().await?;
    Ok(u64::try_from(unended)?)
}

/// Opens a backup, of which nothing changes: it may be on a medium that cannot be written. Only what still has a
/// write-ahead log beside it, as a database that was set aside, cannot be opened so.
pub(super) async fn open_backup(backup: &Path) -> sqlx::Result<SqliteConnection> {
    if with_suffix(backup, "-wal").exists() {
        return present(backup).connect().await;
    }
    SqliteConnectOptions::new().filename(backup).read_only(true).immutable(true).connect().await
}

pub(super) fn folder_of(file: &Path) -> &Path {
    file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Returns the path of a file beside another: its name with a suffix.
pub(crate) fn with_suffix(file: &Path, suffix: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}
