//! The database, by its kind. One SQL text serves both: the macros below expand it for each.

pub(crate) mod backup;
pub(crate) mod file;
mod flusher;
pub(crate) mod postgres;
pub(crate) mod restore;
pub(crate) mod sqlite;
#[cfg(test)]
mod tests;
mod transaction;

use std::future::Future;
use std::path::Path;

use rdev_domain::Result;
use sqlx::sqlite::SqlitePool;
use sqlx::{PgPool, Postgres, Sqlite};

use self::flusher::Flusher;
pub(crate) use self::transaction::{Commit, Transaction};

/// Connections to the database, by its kind.
#[derive(Debug, Clone)]
pub(crate) enum Db {
    /// A file. One connection writes, so that writers queue up in memory and never meet a lock.
    Sqlite { write: SqlitePool, read: SqlitePool, flusher: Flusher },
    /// A server, shared with other processes.
    Postgres(PgPool),
}

/// A transaction that writes, or a single read.
pub(crate) enum Tx {
    Sqlite(Transaction<Sqlite>),
    Postgres(Transaction<Postgres>),
}

/// Runs a block in a transaction that writes; an error in it rolls everything back.
macro_rules! write {
    ($db:expr, $commit:expr, |$tx:ident| $block:block) => {
        $crate::db::bounded($db, async {
            let commit = $commit;
            let mut $tx = $db.begin(commit).await?;
            let done: rdev_domain::Result<_> = async { $block }.await;
            let done = $tx.end(done).await?;
            $db.ended(commit).await?;
            Ok(done)
        })
        .await
    };
}

/// As [`write!`], for a block of one statement, which is a transaction by itself where it can be.
macro_rules! write_once {
    ($db:expr, |$tx:ident| $block:block) => {
        $crate::db::bounded($db, async {
            let mut $tx = $db.begin_statement().await?;
            let done: rdev_domain::Result<_> = async { $block }.await;
            $tx.end(done).await
        })
        .await
    };
}

/// Runs one query that reads. Takes the kind of fetch, the type of a row, the text, and the values to bind.
macro_rules! read {
    ($db:expr, $fetch:ident, $query:ident $(<$row:ty>)?, $sql:expr $(, $bind:expr)* $(,)?) => {
        match $db {
            $crate::db::Db::Sqlite { read, .. } => {
                sqlx::$query$(::<_, $row>)?($sql)$(.bind($bind))*.$fetch(read).await.map_err($crate::error::database)
            }
            $crate::db::Db::Postgres(pool) => {
                $crate::db::bounded($db, async {
                    let mut transaction = $crate::db::Transaction::reading(pool).await?;
                    let rows = sqlx::$query$(::<_, $row>)?($sql)$(.bind($bind))*.$fetch(transaction.connection()?).await;
                    transaction.end(rows.map_err($crate::error::database)).await
                })
                .await
            }
        }
    };
}

/// Runs one query in a transaction, as [`read!`] does outside of one.
macro_rules! run {
    ($tx:expr, $fetch:ident, $query:ident $(<$row:ty>)?, $sql:expr $(, $bind:expr)* $(,)?) => {
        $crate::db::run!(else $crate::error::database; $tx, $fetch, $query $(<$row>)?, $sql $(, $bind)*)
    };
    (else $error:expr; $tx:expr, $fetch:ident, $query:ident $(<$row:ty>)?, $sql:expr $(, $bind:expr)* $(,)?) => {
        match $tx {
            $crate::db::Tx::Sqlite(transaction) => {
                sqlx::$query$(::<_, $row>)?($sql)$(.bind($bind))*.$fetch(transaction.connection()?).await.map_err($error)
            }
            $crate::db::Tx::Postgres(transaction) => {
                sqlx::$query$(::<_, $row>)?($sql)$(.bind($bind))*.$fetch(transaction.connection()?).await.map_err($error)
            }
        }
    };
}

/// Executes one statement in a transaction, and returns the number of changed rows.
macro_rules! execute {
    ($tx:expr, $sql:expr $(, $bind:expr)* $(,)?) => {
        $crate::db::execute!(else $crate::error::database; $tx, $sql $(, $bind)*)
    };
    (else $error:expr; $tx:expr, $sql:expr $(, $bind:expr)* $(,)?) => {
        match $tx {
            $crate::db::Tx::Sqlite(transaction) => {
                let done = sqlx::query($sql)$(.bind($bind))*.execute(transaction.connection()?).await;
                done.map(|done| done.rows_affected()).map_err($error)
            }
            $crate::db::Tx::Postgres(transaction) => {
                let done = sqlx::query($sql)$(.bind($bind))*.execute(transaction.connection()?).await;
                done.map(|done| done.rows_affected()).map_err($error)
            }
        }
    };
}

pub(crate) use {execute, read, run, write, write_once};

impl Db {
    /// Opens a SQLite file, and migrates its schema.
    pub(crate) async fn sqlite(file: &Path) -> Result<Self> {
        let (write, read, flusher) = sqlite::open(file).await?;
        Ok(Self::Sqlite { write, read, flusher })
    }

    /// Makes a commit as durable as it was to be.
    pub(crate) async fn ended(&self, commit: Commit) -> Result<()> {
        match (self, commit) {
            (Self::Sqlite { flusher, .. }, Commit::Durable) => flusher.flush().await,
            // Postgres flushes at the commit.
            (Self::Sqlite { .. }, Commit::Visible | Commit::Async) | (Self::Postgres(_), _) => Ok(()),
        }
    }

    /// Chooses the text for this database: that for SQLite, or that for Postgres.
    pub(crate) fn text(&self, [sqlite, postgres]: [&'static str; 2]) -> &'static str {
        match self {
            Self::Sqlite { .. } => sqlite,
            Self::Postgres(_) => postgres,
        }
    }

    /// Begins a transaction that writes.
    pub(crate) async fn begin(&self, commit: Commit) -> Result<Tx> {
        match self {
            Self::Sqlite { write, .. } => Ok(Tx::Sqlite(Transaction::begin(write, commit).await?)),
            Self::Postgres(pool) => Ok(Tx::Postgres(Transaction::begin(pool, commit).await?)),
        }
    }

    /// Begins one statement that writes; on SQLite a block of several.
    pub(crate) async fn begin_statement(&self) -> Result<Tx> {
        match self {
            Self::Sqlite { .. } => self.begin(Commit::Visible).await,
            Self::Postgres(pool) => Ok(Tx::Postgres(Transaction::reading(pool).await?)),
        }
    }

    /// Begins to make what was committed before this call as durable as can be; [`Self::settled`] waits for it.
    pub(crate) fn begin_flush(&self) {
        match self {
            Self::Sqlite { flusher, .. } => flusher.begin(),
            // Postgres has flushed at the commit.
            Self::Postgres(_) => {}
        }
    }

    /// Waits for the flushes that were asked for before this call.
    pub(crate) async fn settled(&self) -> Result<()> {
        match self {
            Self::Sqlite { flusher, .. } => flusher.settled().await,
            Self::Postgres(_) => Ok(()),
        }
    }

    /// Closes every connection. A SQLite file then has everything, without its write-ahead log.
    pub(crate) async fn close(&self) {
        match self {
            Self::Sqlite { write, read, flusher } => {
                read.close().await;
                // Only the last connection to a file does this when it closes. A reader that went away amid its rows may be
                // the last one, and it may not write.
                if let Err(error) = flusher.copy_into_file().await {
                    tracing::warn!(
                        ?error,
                        "the write-ahead log stays beside the database, which is whole with it"
                    );
                }
                write.close().await;
            }
            Self::Postgres(pool) => postgres::close(pool).await,
        }
    }
}

impl Tx {
    /// Chooses the text for this database: that for SQLite, or that for Postgres.
    pub(crate) fn text(&self, [sqlite, postgres]: [&'static str; 2]) -> &'static str {
        match self {
            Self::Sqlite(_) => sqlite,
            Self::Postgres(_) => postgres,
        }
    }

    /// Commits a success, and rolls back a failure.
    pub(crate) async fn end<T>(self, done: Result<T>) -> Result<T> {
        match self {
            Self::Sqlite(transaction) => transaction.end(done).await,
            Self::Postgres(transaction) => transaction.end(done).await,
        }
    }
}

/// Bounds the time of a transaction on Postgres as a whole. Dropping the future closes its connection. A local file has
/// timeouts of its own, and no server that could fall silent.
pub(crate) async fn bounded<T>(db: &Db, transaction: impl Future<Output = Result<T>>) -> Result<T> {
    match db {
        Db::Sqlite { .. } => transaction.await,
        Db::Postgres(_) => postgres::within(postgres::WORK_TIMEOUT, transaction).await,
    }
}
