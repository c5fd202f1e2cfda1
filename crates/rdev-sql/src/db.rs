use std::path::Path;
use std::time::Duration;

use rdev_domain::Result;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};

use crate::error::database;

/// Longest wait for a lock that another process holds on the SQLite file.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest wait for a free connection.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(10);
/// Connections that read at the same time.
const READERS: u32 = 4;

/// The database, by its kind.
#[derive(Debug, Clone)]
pub(crate) enum Db {
    /// One connection writes, so that writers queue up in memory and never meet a lock.
    Sqlite { write: SqlitePool, read: SqlitePool },
}

/// Runs an expression on the pool that reads.
macro_rules! read {
    ($db:expr, |$pool:ident| $query:expr) => {
        match $db {
            $crate::db::Db::Sqlite { read: $pool, .. } => $query.await.map_err($crate::error::database),
        }
    };
}

/// Runs a block in a transaction that writes; an error in it rolls everything back.
macro_rules! write {
    ($db:expr, |$tx:ident| $block:block) => {
        match $db {
            $crate::db::Db::Sqlite { write, .. } => {
                let mut $tx = write.begin_with("BEGIN IMMEDIATE").await.map_err($crate::error::database)?;
                let done: rdev_domain::Result<_> = async { $block }.await;
                match done {
                    Ok(value) => $tx.commit().await.map_err($crate::error::database).map(|()| value),
                    Err(error) => {
                        $tx.rollback().await.map_err($crate::error::database)?;
                        Err(error)
                    }
                }
            }
        }
    };
}

pub(crate) use {read, write};

impl Db {
    pub(crate) async fn sqlite(file: &Path) -> Result<Self> {
        let options = SqliteConnectOptions::new()
            .filename(file)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(BUSY_TIMEOUT)
            .foreign_keys(true);
        let pool = |connections: u32, options: SqliteConnectOptions| {
            SqlitePoolOptions::new()
                .max_connections(connections)
                .acquire_timeout(ACQUIRE_TIMEOUT)
                .idle_timeout(None)
                .max_lifetime(None)
                // A local file has no connection that could have died since its last use.
                .test_before_acquire(false)
                .connect_lazy_with(options)
        };
        let write = pool(1, options.clone());
        sqlx::migrate!("../../migrations/sqlite")
            .run(&write)
            .await
            .map_err(|error| database(error.into()))?;
        Ok(Self::Sqlite { write, read: pool(READERS, options.read_only(true)) })
    }

    pub(crate) async fn close(&self) {
        match self {
            Self::Sqlite { write, read } => {
                read.close().await;
                write.close().await;
            }
        }
    }
}
