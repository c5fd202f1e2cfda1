//! Transactions, with one rule: the connection of one that did not end well is closed, not returned to its pool.

use std::future::Future;

use rdev_domain::Result;
use sqlx::pool::PoolConnection;
use sqlx::{Database, PgConnection, Pool, Postgres, Sqlite, SqliteConnection};
use tokio::time::timeout;

use crate::db::postgres::PING_TIMEOUT;
use crate::error::database;

/// Durability of a commit.
///
/// On SQLite rdev and its database are one process. A commit that a crash of the machine takes can be had again from the
/// runner's journal, which is freed only after a flush; the entries then get other positions, and a reader who knew the
/// old ones is told. On Postgres readers and other replicas live on while the server crashes, and without a flush the
/// server forgets entries that they have read: a reader's cursor would lie beyond the log, whose positions are then
/// assigned a second time. So on Postgres every commit that anybody may act upon waits for the flush.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Commit {
    /// Survives the death of the machine. For what callers were promised.
    Durable,
    /// Survives the death of rdev, and that of the Postgres server. For what readers see.
    Visible,
    /// May be lost in a server crash. Safe for lease renewals: losing one only makes the lease expire earlier.
    Async,
}

/// A kind of database.
pub(crate) trait Engine: Database {
    /// True for a server, which may fall silent; false for a local file.
    const IS_REMOTE: bool;

    /// The statements that begin a transaction which writes.
    fn begin(commit: Commit) -> &'static str;

    /// Executes statements without parameters.
    fn execute(
        connection: &mut Self::Connection,
        sql: &'static str,
    ) -> impl Future<Output = sqlx::Result<()>> + Send;
}

impl Engine for Sqlite {
    const IS_REMOTE: bool = false;

    /// The flush of a durable commit follows it: see `db::flusher`.
    fn begin(_: Commit) -> &'static str {
        "BEGIN IMMEDIATE"
    }

    async fn execute(connection: &mut SqliteConnection, sql: &'static str) -> sqlx::Result<()> {
        sqlx::raw_sql(sql).execute(connection).await.map(|_| ())
    }
}

impl Engine for Postgres {
    const IS_REMOTE: bool = true;

    fn begin(commit: Commit) -> &'static str {
        match commit {
            Commit::Durable | Commit::Visible => "BEGIN",
            Commit::Async => "BEGIN; SET LOCAL synchronous_commit = off",
        }
    }

    async fn execute(connection: &mut PgConnection, sql: &'static str) -> sqlx::Result<()> {
        sqlx::raw_sql(sql).execute(connection).await.map(|_| ())
    }
}

/// A transaction, or a single read, with its connection. Whatever ends it early (a failed BEGIN, COMMIT or ROLLBACK, an
/// error of the connection, the caller going away, a timeout) closes the connection at once: its state is unknown. A
/// pool would ping the connection first, which waits for ever where the other side has fallen silent (sqlx#4349). And
/// SQLite rolls back by itself when the disk is full, so that the ROLLBACK which follows fails. Closing rolls back.
pub(crate) struct Transaction<D: Engine> {
    connection: Option<PoolConnection<D>>,
    in_transaction: bool,
}

impl<D: Engine> Transaction<D> {
    /// Begins a transaction that writes.
    pub(crate) async fn begin(pool: &Pool<D>, commit: Commit) -> Result<Self> {
        let mut transaction = Self::reading(pool).await?;
        D::execute(transaction.connection()?, D::begin(commit)).await.map_err(database)?;
        transaction.in_transaction = true;
        Ok(transaction)
    }

    /// Takes a connection for one statement outside of any transaction.
    pub(crate) async fn reading(pool: &Pool<D>) -> Result<Self> {
        let connection = pool.acquire().await.map_err(database)?;
        Ok(Self { connection: Some(connection), in_transaction: false })
    }

    /// Returns the connection.
    pub(crate) fn connection(&mut self) -> Result<&mut D::Connection> {
        // Only `end`, which consumes `self`, takes the connection.
        let connection =
            self.connection.as_mut().ok_or_else(|| anyhow::anyhow!("the transaction has ended"))?;
        Ok(&mut **connection)
    }

    /// Commits a success, and rolls back a failure. Of several errors the first comes back.
    pub(crate) async fn end<T>(mut self, done: Result<T>) -> Result<T> {
        if self.in_transaction {
            let end = if done.is_ok() { "COMMIT" } else { "ROLLBACK" };
            if let Err(error) = D::execute(self.connection()?, end).await {
                return Err(done.err().unwrap_or_else(|| database(error)));
            }
        }
        // Nor is the connection of a read returned that failed midway.
        if self.in_transaction || done.is_ok() {
            self.return_to_pool();
        }
        done
    }

    fn return_to_pool(&mut self) {
        let Some(mut connection) = self.connection.take() else {
            return;
        };
        if !D::IS_REMOTE {
            // Its drop returns it, and takes as long as it takes: a local file does not fall silent.
            return;
        }
        let returning = connection.return_to_pool();
        tokio::spawn(async move {
            if timeout(PING_TIMEOUT, returning).await.is_err() {
                tracing::warn!("a connection to the database fell silent and was closed");
            }
        });
    }
}

impl<D: Engine> Drop for Transaction<D> {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take() {
            drop(connection.detach());
        }
    }
}
