//! The database, by its kind. One SQL text serves both: the macros below expand it for each.

pub(crate) mod postgres;
pub(crate) mod sqlite;
mod transaction;

use std::future::Future;
use std::path::Path;

use rdev_domain::Result;
use sqlx::sqlite::SqlitePool;
use sqlx::{PgPool, Postgres, Sqlite};

pub(crate) use self::transaction::Transaction;

/// The database, by its kind.
#[derive(Debug, Clone)]
pub(crate) enum Db {
    /// One connection writes, so that writers queue up in memory and never meet a lock.
    Sqlite { write: SqlitePool, read: SqlitePool },
    /// Shared with other processes.
    Postgres(PgPool),
}

/// What a commit survives.
///
/// On SQLite rdev and its database are one process: what its death leaves, and only the machine's could take,
/// can be had again from the runner's journal, which is freed after a flush alone. It then comes at other positions,
/// and a reader who knew the old ones is told. On Postgres readers and other
/// replicas live on while the server crashes, and without a flush it forgets what they were told already: a
/// reader's cursor would lie beyond the log, whose positions are then given a second time. So there everything
/// waits for the flush that anybody may act upon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Commit {
    /// Accepts something: it survives the death of the machine.
    Durable,
    /// Tells something: it survives the death of rdev, and that of the Postgres server.
    Visible,
    /// Promises nothing that is not mended by time: a lease's end that is forgotten is an earlier one.
    Async,
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
            let mut $tx = $db.begin($commit).await?;
            let done: rdev_domain::Result<_> = async { $block }.await;
            $tx.end(done).await
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

/// Runs one query that reads: a fetch, the row's type, the text, and what is bound.
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

/// Executes one statement in a transaction; how many rows it has changed comes back.
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
    pub(crate) async fn sqlite(file: &Path) -> Result<Self> {
        let (write, read) = sqlite::open(file).await?;
        Ok(Self::Sqlite { write, read })
    }

    pub(crate) async fn begin(&self, commit: Commit) -> Result<Tx> {
        match self {
            Self::Sqlite { write, .. } => Ok(Tx::Sqlite(Transaction::begin(write, commit).await?)),
            Self::Postgres(pool) => Ok(Tx::Postgres(Transaction::begin(pool, commit).await?)),
        }
    }

    /// For one statement: SQLite needs the transaction to set what its commit survives.
    pub(crate) async fn begin_statement(&self) -> Result<Tx> {
        match self {
            Self::Sqlite { .. } => self.begin(Commit::Visible).await,
            Self::Postgres(pool) => Ok(Tx::Postgres(Transaction::reading(pool).await?)),
        }
    }

    pub(crate) async fn close(&self) {
        match self {
            Self::Sqlite { write, read } => {
                read.close().await;
                write.close().await;
            }
            Self::Postgres(pool) => postgres::close(pool).await,
        }
    }
}

impl Tx {
    /// Commits what went well, and rolls back what did not.
    pub(crate) async fn end<T>(self, done: Result<T>) -> Result<T> {
        match self {
            Self::Sqlite(transaction) => transaction.end(done).await,
            Self::Postgres(transaction) => transaction.end(done).await,
        }
    }
}

/// Bounds a piece of work on Postgres as a whole. Dropping it closes its connection. A local file has
/// timeouts of its own, and nobody far away who could fall silent.
pub(crate) async fn bounded<T>(db: &Db, transaction: impl Future<Output = Result<T>>) -> Result<T> {
    match db {
        Db::Sqlite { .. } => transaction.await,
        Db::Postgres(_) => postgres::within(postgres::WORK_TIMEOUT, transaction).await,
    }
}
