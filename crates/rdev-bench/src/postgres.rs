//! The server that all share, seen from beside it.

use anyhow::Context;
use sqlx::{AssertSqlSafe, Connection, PgConnection};

/// The server's URL, which names a database of no contender.
#[derive(Debug, Clone)]
pub(crate) struct Server(pub(crate) String);

impl Server {
    /// Makes an empty database; its URL.
    pub(crate) async fn create(&self, name: &str) -> anyhow::Result<String> {
        run(&self.0, &format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)")).await?;
        run(&self.0, &format!("CREATE DATABASE {name}")).await?;
        let (server, _) = self.0.rsplit_once('/').context("the server's URL names a database")?;
        Ok(format!("{server}/{name}"))
    }

    /// Transactions that a database has seen.
    pub(crate) async fn transactions(&self, url: &str) -> anyhow::Result<i64> {
        let (_, name) = url.rsplit_once('/').context("the URL names a database")?;
        let mut connection = PgConnection::connect(&self.0).await?;
        let sql = "SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = $1";
        Ok(sqlx::query_scalar(sql).bind(name).fetch_one(&mut connection).await?)
    }

    /// Fails unless a commit is on disk when it returns; returns the version in words.
    pub(crate) async fn check(&self) -> anyhow::Result<String> {
        let mut connection = PgConnection::connect(&self.0).await?;
        for setting in ["fsync", "synchronous_commit", "full_page_writes"] {
            let show = AssertSqlSafe(format!("SHOW {setting}"));
            let value: String = sqlx::query_scalar(show).fetch_one(&mut connection).await?;
            anyhow::ensure!(value == "on", "{setting} is {value}: figures would mean nothing");
        }
        let version: String = sqlx::query_scalar("SHOW server_version").fetch_one(&mut connection).await?;
        Ok(format!("{version}, fsync and synchronous_commit on"))
    }
}

/// Runs statements in the database of a URL.
pub(crate) async fn run(url: &str, sql: &str) -> anyhow::Result<()> {
    let mut connection = PgConnection::connect(url).await?;
    sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut connection).await.context(sql.to_owned())?;
    connection.close().await.map_err(Into::into)
}
