//! The versions of a schema: what a database has yet to see, whether this program can use it, and the copy that is made
//! of a file before it is migrated.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use rdev_domain::{Error, Result};
use sqlx::migrate::Migrator;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection};

use crate::db::{postgres, sqlite};
use crate::error::{about, database};

/// The migrations that were applied.
pub(crate) const APPLIED: &str = "SELECT version FROM _sqlx_migrations WHERE success";

/// The oldest program that can use a schema, by the newest migration that it knows.
pub(crate) const OLDEST_PROGRAM: &str = "SELECT MAX(oldest_program) FROM schema_compatibility";

/// Copies of a file from before its migrations that are kept.
const BACKUPS_MAX: usize = 2;

/// The migrations of this program. Later ones that a database has seen are ignored: a program runs on the schema of a
/// newer one, unless that says that it must not.
pub(crate) fn tolerant(mut migrations: Migrator) -> Migrator {
    migrations.set_ignore_missing(true);
    migrations
}

/// Refuses a schema that a later program has made unusable for this one.
pub(crate) fn check_compatible(oldest_program: Option<i64>, known: &Migrator) -> Result<()> {
    let newest = newest(known);
    match oldest_program {
        Some(oldest) if oldest > newest => Err(Error::Internal(anyhow::anyhow!(
            "a later version of rdev has migrated it: it needs a program that knows migration {oldest:04}, and this \
             one knows {newest:04}; start that version, or restore a backup from before"
        ))),
        _ => Ok(()),
    }
}

pub(crate) fn newest(known: &Migrator) -> i64 {
    known.iter().map(|migration| migration.version).max().unwrap_or_default()
}

/// Copies a file that is to be migrated: `rdev.db.before-0007` is what `0007` was the first change to. Without the
/// copy nothing is migrated.
pub(crate) async fn back_up(file: &Path) -> Result<()> {
    let (applied, pending) = applied_and_pending(file).await?;
    let Some(first) = pending.iter().min().filter(|_| !applied.is_empty()) else {
        return Ok(());
    };
    let copy = beside(file, &format!("{first:04}"));
    let copying = async {
        // One that was cut short.
        remove(&copy)?;
        let mut connection = SqliteConnectOptions::new().filename(file).read_only(true).connect().await?;
        sqlx::query("VACUUM INTO $1").bind(copy.to_string_lossy()).execute(&mut connection).await?;
        connection.close().await?;
        std::fs::set_permissions(&copy, std::fs::Permissions::from_mode(0o600))?;
        std::fs::File::open(&copy)?.sync_all()?;
        anyhow::Ok(())
    };
    copying
        .await
        .with_context(|| format!("cannot copy it to {} before it is migrated", copy.display()))
        .map_err(|error| Error::unavailable("database", error))?;
    tracing::info!(copy = %copy.display(), "the database was copied before it is migrated");
    forget_older(file)
}

/// Of the copies the newest stay.
fn forget_older(file: &Path) -> Result<()> {
    let pattern = beside(file, "");
    let (Some(folder), Some(prefix)) = (pattern.parent(), pattern.file_name().and_then(|name| name.to_str()))
    else {
        return Ok(());
    };
    let listing = || -> std::io::Result<()> {
        let mut copies = Vec::new();
        for entry in std::fs::read_dir(folder)? {
            let entry = entry?;
            if entry.file_name().to_str().is_some_and(|name| name.starts_with(prefix)) {
                copies.push(entry.path());
            }
        }
        copies.sort();
        let old = copies.len().saturating_sub(BACKUPS_MAX);
        copies[..old].iter().try_for_each(|copy| remove(copy))
    };
    listing().map_err(|error| Error::unavailable("database", error))
}

fn beside(file: &Path, migration: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(format!(".before-{migration}"));
    name.into()
}

fn remove(file: &Path) -> std::io::Result<()> {
    match std::fs::remove_file(file) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

pub(crate) async fn pending_sqlite(file: &Path) -> Result<Vec<String>> {
    let (applied, _) = applied_and_pending(file).await?;
    Ok(missing(&sqlite::MIGRATIONS, applied))
}

/// The migrations that a file has seen, and those that it has yet to see; none and all of one that is not there.
async fn applied_and_pending(file: &Path) -> Result<(Vec<i64>, Vec<i64>)> {
    let mut applied: Vec<i64> = Vec::new();
    if file.is_file() {
        let looking = async {
            let mut connection = SqliteConnectOptions::new().filename(file).read_only(true).connect().await?;
            let known = "SELECT COUNT(*) FROM sqlite_master WHERE name = '_sqlx_migrations'";
            if sqlx::query_scalar::<_, i64>(known).fetch_one(&mut connection).await? > 0 {
                applied = sqlx::query_scalar(APPLIED).fetch_all(&mut connection).await?;
            }
            Ok(())
        };
        looking.await.map_err(|error| about(database(error), file.display()))?;
    }
    let pending = sqlite::MIGRATIONS.iter().map(|migration| migration.version);
    let pending = pending.filter(|version| !applied.contains(version)).collect();
    Ok((applied, pending))
}

pub(crate) async fn pending_postgres(url: &str) -> Result<Vec<String>> {
    let options = postgres::options(url)?;
    let looking = async {
        let mut connection = postgres::connect(&options).await?;
        postgres::applied(&mut connection).await
    };
    let applied = looking.await.map_err(|error| about(error, postgres::place(&options)))?;
    Ok(missing(&postgres::MIGRATIONS, applied))
}

fn missing(all: &Migrator, applied: Vec<i64>) -> Vec<String> {
    let applied: BTreeSet<i64> = applied.into_iter().collect();
    let missing = all.iter().filter(|migration| !applied.contains(&migration.version));
    missing.map(|migration| format!("{:04} {}", migration.version, migration.description)).collect()
}
