//! Every store of rdev.
//!
//! One SQL text serves every database, with `$1` placeholders; `db::Db` is an enum over the pools, and
//! only what truly differs branches on it. This crate knows neither HTTP nor the runner's frames.
//! To add a migration: a new file in `migrations/sqlite` and one in `migrations/postgres`, whose schemas a test
//! compares; files that have landed are never edited.

mod db;
mod error;
mod events;
mod examine;
mod idempotency;
#[cfg(test)]
mod plans;
mod pool;
mod queue;
mod rows;
mod tasks;
#[cfg(feature = "testing")]
pub mod testing;

use std::path::Path;

use rdev_domain::Result;
use rdev_ports::Finding;

use crate::db::Db;

/// The queue and the event log in one database.
#[derive(Debug, Clone)]
pub struct SqlStore {
    db: Db,
}

impl SqlStore {
    /// Opens the SQLite database in `file`, makes it when it is missing, and brings its schema up to date.
    pub async fn sqlite(file: &Path) -> Result<Self> {
        Ok(Self { db: Db::sqlite(file).await? })
    }

    /// Opens the Postgres database of a URL, and brings its schema up to date. Others may be using it.
    ///
    /// # Errors
    /// They name the place of the database, never the user or the password.
    pub async fn postgres(url: &str) -> Result<Self> {
        Ok(Self { db: Db::postgres(url).await? })
    }

    /// Looks at the SQLite database in `file`, for an operator, and changes nothing: a server may be using it.
    pub async fn examine_sqlite(file: &Path) -> Finding {
        examine::sqlite(file).await
    }

    /// Writes what is pending and closes every connection.
    pub async fn close(&self) {
        self.db.close().await;
    }
}
