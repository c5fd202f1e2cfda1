//! Every store of rdev.
//!
//! One SQL text serves every database, with `$1` placeholders; `db::Db` is an enum over the pools, and
//! only what truly differs branches on it. This crate knows neither HTTP nor the runner's frames.
//! To add a migration: a new file in `migrations/sqlite` and one in `migrations/postgres`, whose schemas a test
//! compares; files that have landed are never edited.

mod again;
mod artefacts;
mod backlog;
mod backup;
mod batch;
mod claim;
mod clock;
mod db;
mod diagnose;
mod entries;
mod error;
mod events;
mod idempotency;
mod migrations;
mod periodic;
#[cfg(test)]
mod plans;
mod pool;
mod queue;
mod retention;
mod rows;
mod signals;
mod target;
mod tasks;
#[cfg(feature = "testing")]
pub mod testing;
mod write_check;

use std::path::Path;
use std::sync::Arc;

use rdev_domain::{Result, Timestamp};
use rdev_ports::{Clock, Diagnosis, Signals, SingleProcess};
use tokio_util::sync::CancellationToken;

use crate::batch::Batchers;
use crate::clock::PostgresClock;
use crate::db::Db;
use crate::signals::PostgresSignals;
use crate::write_check::WriteCheck;

/// The queue and the event log in one database.
#[derive(Debug, Clone)]
pub struct SqlStore {
    db: Db,
    /// What Postgres is told together; SQLite is a call away.
    groups: Option<Batchers>,
    write_check: WriteCheck,
    /// Cancelled when one of its own tasks has ended.
    failed: CancellationToken,
}

impl SqlStore {
    /// Opens the SQLite database in `file`, makes it when it is missing, and brings its schema up to date.
    pub async fn sqlite(file: &Path) -> Result<Self> {
        Ok(Self {
            db: Db::sqlite(file).await?,
            groups: None,
            write_check: WriteCheck::default(),
            failed: CancellationToken::new(),
        })
    }

    /// Opens the Postgres database of a URL, and brings its schema up to date. Others may be using it.
    ///
    /// # Errors
    /// They name the place of the database, never the user or the password.
    pub async fn postgres(url: &str) -> Result<Self> {
        let pool = db::postgres::open(url).await?;
        let groups = Some(Batchers::on(&pool));
        Ok(Self {
            db: Db::Postgres(pool),
            groups,
            write_check: WriteCheck::default(),
            failed: CancellationToken::new(),
        })
    }

    /// The migrations that the SQLite database in `file` has yet to see, each by its number and name. Changes nothing.
    pub async fn pending_sqlite(file: &Path) -> Result<Vec<String>> {
        migrations::pending_sqlite(file).await
    }

    /// As [`Self::pending_sqlite`], for the Postgres database of a URL.
    pub async fn pending_postgres(url: &str) -> Result<Vec<String>> {
        migrations::pending_postgres(url).await
    }

    /// Looks at the SQLite database in `file`, for an operator, and changes nothing: a server may be using it.
    pub async fn examine_sqlite(file: &Path) -> Diagnosis {
        diagnose::sqlite(file).await
    }

    /// Looks at the Postgres database of a URL, for an operator, and changes nothing.
    pub async fn examine_postgres(url: &str, now: Timestamp) -> Vec<Diagnosis> {
        diagnose::postgres(url, now).await
    }

    /// Begins to exchange signals with the other processes on this database; a SQLite file has none.
    pub fn signals(&self) -> Arc<dyn Signals> {
        match &self.db {
            Db::Sqlite { .. } => Arc::new(SingleProcess),
            Db::Postgres(pool) => Arc::new(PostgresSignals::start(pool.clone(), &self.failed)),
        }
    }

    /// The time that all processes on this database have in common: a Postgres server's, whatever becomes of this
    /// machine's clock. A SQLite file has one process, whose `own` it is.
    ///
    /// # Errors
    /// `Unavailable` when the server does not tell it.
    pub async fn clock(&self, own: Arc<dyn Clock>) -> Result<Arc<dyn Clock>> {
        Ok(match &self.db {
            Db::Sqlite { .. } => own,
            Db::Postgres(pool) => Arc::new(PostgresClock::start(pool, &*own, &self.failed).await?),
        })
    }

    /// Cancelled when a task by which its clock or its signals live has ended, be it by a panic: a process
    /// goes on without it at its peril.
    pub fn failed(&self) -> CancellationToken {
        self.failed.clone()
    }

    /// Writes what is pending and closes every connection.
    pub async fn close(&self) {
        self.db.close().await;
    }
}
