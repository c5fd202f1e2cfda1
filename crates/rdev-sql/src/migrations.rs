//! Versions of a schema: which migrations are applied, which are pending, and whether this program can use it.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::LazyLock;

use rdev_domain::{Error, Result};
use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::{PgConnection, SqlStr, SqliteConnection};

/// Embeds the migrations of these names. In place of the library's macro, which has a build compile both drivers a second
/// time, for itself.
macro_rules! embed {
    ($($name:literal,)*) => {
        pub(crate) static SQLITE: LazyLock<Migrator> = LazyLock::new(|| {
            migrator(&[$(($name, include_str!(concat!("../../../migrations/sqlite/", $name, ".sql")))),*])
        });

        /// The library's own lock is off: a process that waits for it keeps an index from being built concurrently.
        pub(crate) static POSTGRES: LazyLock<Migrator> = LazyLock::new(|| {
            let files = [$(($name, include_str!(concat!("../../../migrations/postgres/", $name, ".sql")))),*];
            let mut migrations = migrator(&files);
            migrations.set_locking(false);
            migrations
        });
    };
}

embed![
    "0001_tasks_and_events",
    "0002_one_under_way_a_key",
    "0003_pool",
    "0004_held_keys",
    "0005_retention",
    "0006_pool",
    "0007_compatibility",
    "0008_rounds",
    "0009_sizes_and_names",
    "0010_waiting_for",
    "0011_waiting_for_index",
    "0012_log_cursors",
    "0013_events_of_followers",
    "0014_operations",
    "0015_operations_in_line",
    "0016_answers",
    "0017_queue",
];

/// Makes a migrator of files, each a name and a text, as the library reads them from a folder. The migrator ignores later
/// migrations that a database has: a program runs on the schema of a newer one, unless that schema forbids it.
fn migrator(files: &[(&'static str, &'static str)]) -> Migrator {
    let migrations = files.iter().map(|(name, sql)| {
        let (number, description) = name.split_once('_').expect("a number and a name");
        let number = number.parse().expect("a number");
        let description = Cow::Owned(description.replace('_', " "));
        let is_without_transaction = sql.starts_with("-- no-transaction");
        Migration::new(
            number,
            description,
            MigrationType::Simple,
            SqlStr::from_static(sql),
            is_without_transaction,
        )
    });
    let mut migrator = Migrator::with_migrations(migrations.collect());
    migrator.set_ignore_missing(true);
    migrator
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_file_is_embedded_as_the_library_reads_it() {
        for (folder, embedded) in [("sqlite", &SQLITE), ("postgres", &POSTGRES)] {
            let folder = format!("{}/../../migrations/{folder}", env!("CARGO_MANIFEST_DIR"));
            let read = Migrator::new(std::path::Path::new(&folder)).await.unwrap();
            let facts = |migrator: &Migrator| -> Vec<_> {
                let facts = |m: &Migration| (m.version, m.description.clone(), m.no_tx, m.checksum.clone());
                migrator.iter().map(facts).collect()
            };
            assert_eq!(facts(embedded), facts(&read), "{folder}");
        }
    }
}
