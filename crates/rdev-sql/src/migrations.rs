//! Versions of a schema: which migrations are applied, which are pending, and whether this program can use it.

use std::collections::BTreeSet;

use rdev_domain::{Error, Result};
use sqlx::migrate::Migrator;
use sqlx::{PgConnection, SqliteConnection};

/// Makes a migrator ignore later migrations that a database has: a program runs on the schema of a newer one, unless that
/// schema forbids it.
pub(crate) fn tolerant(mut migrations: Migrator) -> Migrator {
    migrations.set_ignore_missing(true);
    migrations
}

/// Returns the number of the newest migration that a program knows.
pub(crate) fn newest(known: &Migrator) -> i64 {
    known.iter().map(|migration| migration.version).max().unwrap_or_default()
}

/// Schema of a database; the default is that of a new one.
#[derive(Debug, Default)]
pub(crate) struct Schema {
    applied: BTreeSet<i64>,
    /// Number of the newest migration of the oldest program that can use the schema.
    oldest_program: i64,
}

/// Reads a schema without changing it.
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
    /// Reads the schema of a SQLite database.
    pub(crate) async fn on_sqlite(connection: &mut SqliteConnection) -> sqlx::Result<Self> {
        look!(connection, "SELECT EXISTS (SELECT 1 FROM sqlite_master WHERE name = $1)")
    }

    /// Reads the schema of a Postgres database.
    pub(crate) async fn on_postgres(connection: &mut PgConnection) -> sqlx::Result<Self> {
        look!(connection, "SELECT to_regclass($1) IS NOT NULL")
    }

    /// Tells whether the database is new.
    pub(crate) fn is_new(&self) -> bool {
        self.applied.is_empty()
    }

    /// Returns the number of the newest applied migration; 0 for none.
    pub(crate) fn version(&self) -> i64 {
        self.applied.last().copied().unwrap_or_default()
    }

    /// Returns the number and name of each migration that is not applied.
    pub(crate) fn pending<'a>(&self, known: &'a Migrator) -> impl Iterator<Item = (i64, &'a str)> {
        let missing = known.iter().filter(|migration| !self.applied.contains(&migration.version));
        missing.map(|migration| (migration.version, &*migration.description))
    }

    /// Returns the pending migrations as texts: `0010 waiting for`.
    pub(crate) fn pending_names(&self, known: &Migrator) -> Vec<String> {
        self.pending(known).map(|(number, name)| format!("{number:04} {name}")).collect()
    }

    /// Refuses a schema that a later program has made unusable for one that knows these migrations.
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
