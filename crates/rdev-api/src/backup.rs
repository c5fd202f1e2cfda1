//! `rdev-api backup` and `rdev-api restore`: a SQLite database as one file, while the server runs, and back.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use rdev_ports::Clock;
use rdev_sql::{Restored, SqlStore};
use tempfile::TempDir;

use crate::config::{DatabaseUrl, StoreConfig};
use crate::data_folder::make_private;
use crate::system::SystemClock;
use crate::wire;

/// Name in place of a file: standard output of a backup, standard input of a restore.
const STANDARD_STREAM: &str = "-";

/// Backs the database up to a new file, or to standard output. What was done is said on standard error.
///
/// # Errors
/// When the database is on Postgres or is missing, when the file exists, or the backup cannot be made whole.
#[tokio::main]
pub(crate) async fn back_up(config: &StoreConfig, to: &Path) -> anyhow::Result<ExitCode> {
    let database = sqlite_file(config, "`pg_dump --format=custom` backs it up")?;
    if to == Path::new(STANDARD_STREAM) {
        let (_folder, file) = temporary(config)?;
        SqlStore::back_up_sqlite(&database, &file).await?;
        io::copy(&mut File::open(&file)?, &mut io::stdout().lock()).context("standard output")?;
        say(format_args!("backed up {}", size(&file)?))?;
    } else {
        SqlStore::back_up_sqlite(&database, to).await?;
        say(format_args!("backed up {} to {}", size(to)?, to.display()))?;
    }
    say(format_args!("keep the master key apart from it: without that key encrypted data cannot be read"))?;
    Ok(ExitCode::SUCCESS)
}

/// Replaces the database by that of a file, or of standard input, once that is checked.
///
/// # Errors
/// When the database is on Postgres, a server uses the database, the backup is damaged or of a later version, or a file cannot
/// be written. The database is then as it was.
#[tokio::main]
pub(crate) async fn restore(config: &StoreConfig, from: &Path) -> anyhow::Result<ExitCode> {
    let database = sqlite_file(config, "`pg_restore` restores it")?;
    make_private(&config.data_dir)?;
    let _locks = wire::lock_data(config).await?;
    let restored = if from == Path::new(STANDARD_STREAM) {
        let (_folder, file) = temporary(config)?;
        io::copy(&mut io::stdin().lock(), &mut File::create(&file)?).context("standard input")?;
        restore_file(&file, &database).await?
    } else {
        restore_file(from, &database).await?
    };
    say(format_args!("restored {}", database.display()))?;
    if let Some(replaced) = &restored.replaced {
        say(format_args!(
            "the database of before is {}: remove it when it is not needed",
            replaced.display()
        ))?;
    }
    if restored.unended_jobs > 0 {
        say(format_args!(
            "{} jobs had not ended at the time of the backup: a start of rdev-api runs or follows them",
            restored.unended_jobs
        ))?;
    }
    Ok(ExitCode::SUCCESS)
}

async fn restore_file(from: &Path, database: &Path) -> anyhow::Result<Restored> {
    SqlStore::restore_sqlite(from, database, SystemClock.now()).await
}

/// Returns the SQLite file of the configuration; for Postgres an error that says what does it there.
fn sqlite_file(config: &StoreConfig, on_postgres: &str) -> anyhow::Result<PathBuf> {
    match config.database() {
        DatabaseUrl::Sqlite(file) => Ok(file),
        DatabaseUrl::Postgres(_) => {
            anyhow::bail!(
                "accepted is a SQLite database, and RDEV_DATABASE_URL names Postgres: {on_postgres}"
            )
        }
    }
}

/// Makes a folder beside the data, where there is room for them, and returns a name in it.
fn temporary(config: &StoreConfig) -> anyhow::Result<(TempDir, PathBuf)> {
    let made = tempfile::Builder::new().prefix(".backup-").tempdir_in(&config.data_dir);
    let folder = made.with_context(|| format!("cannot write into {}", config.data_dir.display()))?;
    let file = folder.path().join("rdev.db");
    Ok((folder, file))
}

/// Returns the size of a file as a text: bytes.
fn size(file: &Path) -> io::Result<String> {
    Ok(format!("{} bytes", std::fs::metadata(file)?.len()))
}

/// Writes a line to standard error, which is for people; standard output may carry the backup.
fn say(line: std::fmt::Arguments<'_>) -> io::Result<()> {
    writeln!(io::stderr().lock(), "{line}")
}
