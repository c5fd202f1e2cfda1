//! The versions of a schema: what a database has seen, what it has yet to see, and whether this program can use it.

use std::collections::BTreeSet;
use std::path::Path;

use rdev_domain::{Error, Result};
use sqlx::migrate::Migrator;
use sqlx::{ConnectOptions, Connection, PgConnection, SqliteConnection};

use crate::db::{postgres, sqlite};
use crate::error::{about, database};

/// The migrations of this program. Later ones that a database has seen are ignored: a program runs on the schema of a
/// newer one, unless that says that it must not.
pub(crate) fn tolerant(mut migrations: Migrator) -> Migrator {
    migrations.set_ignore_missing(true);
    migrations
}

/// The number of the newest migration that a program knows.
pub(crate) fn newest(known: &Migrator) -> i64 {
    known.iter().map(|migration| migration.version).max().unwrap_or_default()
}

/// A schema, as its database tells; that of a new one has seen nothing.
#[derive(Debug, Default)]
pub(crate) struct Schema {
    applied: BTreeSet<i64>,
    /// The newest migration that the oldest program knows which can use it.
    oldest_program: i64,
}

/// Looks at a schema without changing it.
macro_rules! look {
    ($connection:expr, $is_there:literal) => {{
        let applied = "SELECT version FROM _sqlx_migrations WHERE success";
        let oldest = "SELECT COALESCE(MAX(oldest_program), 0) FROM schema_compatibility";
        let mut schema = Schema::default();
        let is_there = |table: &'static str| sqlx::query_scalar::<_, bool>($is_there).bind(table);
        if is_there("_sqlx_migrations").fetch_one(&mut *$connection).await? {
            let applied: Vec<i64> = sqlx::query_scalar(applied).fetch_all(&mut *$connection).await?;
            schema.applied.extend(applied);
        }
        if is_there("schema_compatibility").fetch_one(&mut *$connection).await? {
            schema.oldest_program = sqlx::query_scalar(oldest).fetch_one(&mut *$connection).await?;
        }
        Ok(schema)
    }};
}

impl Schema {
    pub(crate) async fn on_sqlite(connection: &mut SqliteConnection) -> sqlx::Result<Self> {
        look!(connection, "SELECT EXISTS (SELECT 1 FROM sqlite_master WHERE name = $1)")
    }

    pub(crate) async fn on_postgres(connection: &mut PgConnection) -> sqlx::Result<Self> {
        look!(connection, "SELECT to_regclass($1) IS NOT NULL")
    }

    /// That of a SQLite file, which need not be there.
    pub(crate) async fn of_file(file: &Path) -> sqlx::Result<Self> {
        if !file.is_file() {
            return Ok(Self::default());
        }
        let mut connection = sqlite::present(file).connect().await?;
        let schema = Self::on_sqlite(&mut connection).await?;
        connection.close().await?;
        Ok(schema)
    }

    /// Whether nothing was ever stored in it.
    pub(crate) fn is_new(&self) -> bool {
        self.applied.is_empty()
    }

    /// The number of the newest migration that it has seen.
    pub(crate) fn version(&self) -> i64 {
        self.applied.last().copied().unwrap_or_default()
    }

    /// The number and name of each migration that it has yet to see.
    pub(crate) fn pending<'a>(&self, known: &'a Migrator) -> impl Iterator<Item = (i64, &'a str)> {
        let missing = known.iter().filter(|migration| !self.applied.contains(&migration.version));
        missing.map(|migration| (migration.version, &*migration.description))
    }

    /// Refuses what a later program has made unusable for one that knows these migrations.
    pub(crate) fn check(&self, known: &Migrator) -> Result<()> {
        let (needed, newest) = (self.oldest_program, newest(known));
        if needed <= newest {
            return Ok(());
        }
        Err(Error::Internal(anyhow::anyhow!(
            "a later version of rdev has migrated it: it needs a program that knows migration {needed:04}, and this \
             one knows {newest:04}; start that version, or restore a backup from before"
        )))
    }
}

pub(crate) async fn pending_sqlite(file: &Path) -> Result<Vec<String>> {
    let schema = Schema::of_file(file).await.map_err(|error| about(database(error), file.display()))?;
    Ok(listed(&schema, &sqlite::MIGRATIONS))
}

pub(crate) async fn pending_postgres(url: &str) -> Result<Vec<String>> {
    let options = postgres::options(url)?;
    let looking = async {
        let mut connection = postgres::connect(&options).await?;
        Schema::on_postgres(&mut connection).await.map_err(database)
    };
    let schema = looking.await.map_err(|error| about(error, postgres::place(&options)))?;
    Ok(listed(&schema, &postgres::MIGRATIONS))
}

fn listed(schema: &Schema, known: &Migrator) -> Vec<String> {
    schema.pending(known).map(|(number, name)| format!("{number:04} {name}")).collect()
}
