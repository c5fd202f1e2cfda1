//! The store: how it is opened and closed.

use std::path::Path;
use std::sync::Arc;

use rdev_domain::{Result, Timestamp};
use rdev_ports::{Clock, Diagnosis, Signals, SingleProcess};
use tokio_util::sync::CancellationToken;

use crate::batch::Batchers;
use crate::clock::PostgresClock;
use crate::db::restore::Restored;
use crate::db::{Db, backup, postgres, read, restore, sqlite};
use crate::diagnose;
use crate::log::settled::SettledPositions;
use crate::signals::PostgresSignals;
use crate::write_check::WriteCheck;

/// All stores of rdev in one database; clones share its connections.
#[derive(Debug, Clone)]
pub struct SqlStore {
    pub(crate) db: Db,
    /// Writes that go to Postgres together. `None` on SQLite, where a write is no round trip.
    pub(crate) batchers: Option<Batchers>,
    pub(crate) write_check: WriteCheck,
    pub(crate) settled: SettledPositions,
    /// Cancelled when one of the store's background tasks has ended.
    failed: CancellationToken,
}

impl SqlStore {
    /// Opens the SQLite database in `file`, creates the file when it is missing, and migrates its schema.
    ///
    /// # Errors
    /// `Unavailable` when the file cannot be opened or copied; `Internal` when a later version of rdev has made the
    /// schema unusable for this one. They name the file.
    pub async fn sqlite(file: &Path) -> Result<Self> {
        Ok(Self {
            db: Db::sqlite(file).await?,
            batchers: None,
            write_check: WriteCheck::default(),
            settled: SettledPositions::default(),
            failed: CancellationToken::new(),
        })
    }

    /// Opens the Postgres database of a URL, and migrates its schema. Other processes may be using the database.
    ///
    /// # Errors
    /// `Unavailable` when the server does not answer; `Internal` when the server is too old, or a later version of rdev
    /// has made the schema unusable for this one. They name host, port and database, never the user or the password.
    pub async fn postgres(url: &str) -> Result<Self> {
        let pool = postgres::open(url).await?;
        let batchers = Some(Batchers::on(&pool));
        Ok(Self {
            db: Db::Postgres(pool),
            batchers,
            write_check: WriteCheck::default(),
            settled: SettledPositions::default(),
            failed: CancellationToken::new(),
        })
    }

    /// Returns the migrations that are not applied to the SQLite database in `file`, each as number and name. Changes
    /// nothing.
    pub async fn pending_sqlite(file: &Path) -> Result<Vec<String>> {
        sqlite::pending(file).await
    }

    /// Returns the migrations that are not applied to the Postgres database of a URL, each as number and name. Changes
    /// nothing.
    pub async fn pending_postgres(url: &str) -> Result<Vec<String>> {
        postgres::pending(url).await
    }

    /// Backs the SQLite database in `file` up to the new file `backup`; a server may be using the database. The backup is
    /// one file, checked and flushed, for this user alone.
    ///
    /// # Errors
    /// When there is no database, `backup` exists, or the backup cannot be made whole.
    pub async fn back_up_sqlite(file: &Path, backup: &Path) -> anyhow::Result<()> {
        backup::to(backup, file).await
    }

    /// Replaces the SQLite database in `file` by that of a backup. A database that was there is set aside under the name
    /// `rdev.db.replaced-TIME`. No other process may use the database.
    ///
    /// # Errors
    /// When the backup is damaged, not of rdev, or of a later version that this one cannot use; when a file cannot be
    /// written. The database is then as it was.
    pub async fn restore_sqlite(backup: &Path, file: &Path, now: Timestamp) -> anyhow::Result<Restored> {
        restore::from(backup, file, now).await
    }

    /// Describes the place of the database for people: the file, or host, port and database, without user and password.
    pub fn place(&self) -> String {
        match &self.db {
            Db::Sqlite { write, .. } => write.connect_options().get_filename().display().to_string(),
            Db::Postgres(pool) => postgres::place(&pool.connect_options()),
        }
    }

    /// Returns the number of the newest migration that is applied.
    ///
    /// # Errors
    /// `Unavailable` when the database does not answer.
    pub async fn schema_version(&self) -> Result<i64> {
        let newest = "SELECT COALESCE(MAX(version), 0) FROM _sqlx_migrations WHERE success";
        read!(&self.db, fetch_one, query_scalar<i64>, newest)
    }

    /// Diagnoses the SQLite database in `file`, for an operator. Changes nothing: a server may be using the file.
    pub async fn examine_sqlite(file: &Path) -> Diagnosis {
        diagnose::sqlite(file).await
    }

    /// Diagnoses the Postgres database of a URL, for an operator. Changes nothing.
    pub async fn examine_postgres(url: &str, now: Timestamp) -> Vec<Diagnosis> {
        diagnose::postgres(url, now).await
    }

    /// Begins to exchange signals with the other processes on this database. A SQLite file has one process.
    pub fn signals(&self) -> Arc<dyn Signals> {
        match &self.db {
            Db::Sqlite { .. } => Arc::new(SingleProcess),
            Db::Postgres(pool) => Arc::new(PostgresSignals::start(pool.clone(), &self.failed)),
        }
    }

    /// Returns the clock that all processes on this database share: the Postgres server's, whatever happens to this
    /// machine's clock. A SQLite file has one process, which keeps its `own`.
    ///
    /// # Errors
    /// `Unavailable` when the server does not answer.
    pub async fn clock(&self, own: Arc<dyn Clock>) -> Result<Arc<dyn Clock>> {
        Ok(match &self.db {
            Db::Sqlite { .. } => own,
            Db::Postgres(pool) => Arc::new(PostgresClock::start(pool, &*own, &self.failed).await?),
        })
    }

    /// Returns a token that is cancelled when a background task of the clock or of the signals has ended, also by a
    /// panic. A process should not go on without these tasks.
    pub fn failed(&self) -> CancellationToken {
        self.failed.clone()
    }

    /// Closes every connection, after pending writes.
    pub async fn close(&self) {
        self.db.close().await;
    }
}
