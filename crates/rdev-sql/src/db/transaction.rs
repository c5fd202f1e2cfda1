//! A connection with work under way, and the one rule for it: what has not ended well is closed, not given back.

use std::future::Future;

use rdev_domain::Result;
use sqlx::pool::PoolConnection;
use sqlx::{Database, PgConnection, Pool, Postgres, Sqlite, SqliteConnection};
use tokio::time::timeout;

use crate::db::Commit;
use crate::db::postgres::PING_TIMEOUT;
use crate::error::database;

/// A database that work is done on.
pub(crate) trait Engine: Database {
    /// The statements that begin a transaction which writes.
    fn begin(commit: Commit) -> &'static str;

    /// Executes statements without parameters.
    fn execute(
        connection: &mut Self::Connection,
        sql: &'static str,
    ) -> impl Future<Output = sqlx::Result<()>> + Send;
}

impl Engine for Sqlite {
    fn begin(commit: Commit) -> &'static str {
        match commit {
            Commit::Durable => "PRAGMA synchronous = FULL; BEGIN IMMEDIATE",
            Commit::Visible | Commit::Async => "PRAGMA synchronous = NORMAL; BEGIN IMMEDIATE",
        }
    }

    async fn execute(connection: &mut SqliteConnection, sql: &'static str) -> sqlx::Result<()> {
        sqlx::raw_sql(sql).execute(connection).await.map(|_| ())
    }
}

impl Engine for Postgres {
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

/// A connection with work under way. Whatever ends the work early (a failed BEGIN, COMMIT or ROLLBACK, an error of
/// the connection, the caller going away, a timeout) closes it at once: nobody knows what state it is in. A
/// pool would try it first, which waits for ever where the other side has fallen silent (sqlx#4349). And SQLite
/// rolls back by itself when the disk is full, so that the ROLLBACK which follows fails. Closing rolls back.
pub(crate) struct Transaction<D: Engine> {
    connection: Option<PoolConnection<D>>,
    in_transaction: bool,
}

impl<D: Engine> Transaction<D> {
    pub(crate) async fn begin(pool: &Pool<D>, commit: Commit) -> Result<Self> {
        let mut transaction = Self::reading(pool).await?;
        D::execute(transaction.connection()?, D::begin(commit)).await.map_err(database)?;
        transaction.in_transaction = true;
        Ok(transaction)
    }

    /// For one statement, outside of any transaction.
    pub(crate) async fn reading(pool: &Pool<D>) -> Result<Self> {
        let connection = pool.acquire().await.map_err(database)?;
        Ok(Self { connection: Some(connection), in_transaction: false })
    }

    pub(crate) fn connection(&mut self) -> Result<&mut D::Connection> {
        // It is there until `end`, which takes all of this.
        let connection = self.connection.as_mut().ok_or_else(|| anyhow::anyhow!("the work has ended"))?;
        Ok(&mut **connection)
    }

    /// Commits what went well, and rolls back what did not; of several errors the first is told.
    pub(crate) async fn end<T>(mut self, done: Result<T>) -> Result<T> {
        if self.in_transaction {
            let end = if done.is_ok() { "COMMIT" } else { "ROLLBACK" };
            if let Err(error) = D::execute(self.connection()?, end).await {
                return Err(done.err().unwrap_or_else(|| database(error)));
            }
        }
        // Nor is one given back whose read has failed midway, unless the server itself has said so.
        if self.in_transaction || done.is_ok() {
            self.release_lease();
        }
        done
    }

    fn release_lease(&mut self) {
        let Some(mut connection) = self.connection.take() else {
            return;
        };
        let giving_back = connection.return_to_pool();
        tokio::spawn(async move {
            if timeout(PING_TIMEOUT, giving_back).await.is_err() {
                tracing::warn!("a connection to the database has fallen silent, and was closed");
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
