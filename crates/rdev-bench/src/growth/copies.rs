//! Growth by SQL: copies of finished jobs with all of their entries. All names of tables and columns are in this file.

use std::ops::Range;
use std::path::Path;

use anyhow::Context;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, PgConnection, SqliteConnection};

/// One of this many copies stays in its project; the others are spread over all projects.
const OF_OWN_PROJECT: u64 = 2;
/// Characters of an id that the copies keep: those of its time, after the prefix and its hyphen.
const TIME_DIGITS: usize = 12;

const ENTRIES: &str = "SELECT COUNT(*) FROM entries";
/// Followers count as having read the copies: otherwise they read them while others are measured.
const ALL_READ: &str = "UPDATE log_cursors SET position = (SELECT MAX(position) FROM entries)";

/// A database, while no server uses it.
#[derive(Debug)]
pub(crate) enum Database {
    Sqlite(SqliteConnection),
    Postgres(PgConnection),
}

/// Runs a statement or a query on either database.
macro_rules! on {
    ($database:expr, $connection:ident => $call:expr) => {
        match $database {
            Database::Sqlite($connection) => $call,
            Database::Postgres($connection) => $call,
        }
    };
}

impl Database {
    /// Opens a SQLite file, or the Postgres database of a URL. What is written may be lost in a crash of the machine.
    pub(crate) async fn open(file: &Path, url: Option<&str>) -> anyhow::Result<Self> {
        let mut database = match url {
            Some(url) => Self::Postgres(PgConnection::connect(url).await?),
            None => Self::Sqlite(SqliteConnectOptions::new().filename(file).connect().await?),
        };
        let quick = match database {
            Self::Sqlite(_) => "PRAGMA synchronous = OFF; PRAGMA cache_size = -262144",
            Self::Postgres(_) => "SET synchronous_commit = off",
        };
        database.run(quick).await?;
        Ok(database)
    }

    async fn run(&mut self, sql: &str) -> anyhow::Result<()> {
        let text = AssertSqlSafe(sql.to_owned());
        on!(self, connection => sqlx::raw_sql(text).execute(connection).await.map(drop))
            .with_context(|| sql.to_owned())
    }

    async fn number(&mut self, sql: &'static str) -> anyhow::Result<i64> {
        on!(self, connection => sqlx::query_scalar(sql).fetch_one(connection).await).context(sql)
    }

    /// Returns the number of stored entries.
    pub(crate) async fn entries(&mut self) -> anyhow::Result<i64> {
        self.number(ENTRIES).await
    }

    /// Returns the size of the database, in bytes.
    pub(crate) async fn bytes(&mut self) -> anyhow::Result<u64> {
        let sql = match self {
            Self::Sqlite(_) => "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size",
            Self::Postgres(_) => "SELECT pg_database_size(current_database())",
        };
        Ok(self.number(sql).await?.unsigned_abs())
    }

    /// Copies a finished job and its entries once for each number, and spreads copies of commands over so many projects. A number is
    /// used once for a job.
    pub(crate) async fn copy(&mut self, job: &str, numbers: Range<u64>, projects: u64) -> anyhow::Result<()> {
        let (prefix, _) = job.split_once('-').context("an id has a prefix")?;
        let kept = &job[..prefix.len() + 1 + TIME_DIGITS];
        let hex = match self {
            Self::Sqlite(_) => "printf('%020x', n)",
            Self::Postgres(_) => "lpad(to_hex(n), 20, '0')",
        };
        let id = format!("'{kept}' || {hex}");
        let project = |kept: &str| {
            format!("CASE WHEN n % {OF_OWN_PROJECT} = 0 THEN t.{kept} ELSE 'p' || (n % {projects}) END")
        };
        // Tasks of the pool belong to no project.
        let is_command = prefix == "cmd";
        let of_job = |column: &str| match column {
            "id" | "stream" => id.clone(),
            "target" | "project" if is_command => project(column),
            "ended_us" => "t.ended_us + n".to_owned(),
            other => format!("t.{other}"),
        };
        let of_entry = |column: &str| match column {
            "job_id" => id.clone(),
            "log" if is_command => project(column),
            other => format!("t.{other}"),
        };
        let jobs = self.columns("jobs").await?;
        let entries = self.columns("entries").await?;
        let sql = format!(
            "BEGIN; {}; {};
             UPDATE ended_tasks SET count = count + {} WHERE '{prefix}' = 'task'
                 AND (kind, status) = (SELECT kind, status FROM jobs WHERE id = '{job}');
             COMMIT",
            insert("jobs", &jobs, of_job, &numbers, &format!("t.id = '{job}'"), "n"),
            insert("entries", &entries, of_entry, &numbers, &format!("t.job_id = '{job}'"), "n, t.position"),
            numbers.end - numbers.start,
        );
        self.run(&sql).await
    }

    /// Returns the columns that are not assigned by the database.
    async fn columns(&mut self, table: &'static str) -> anyhow::Result<Vec<String>> {
        let sql = match self {
            Self::Sqlite(_) => "SELECT name FROM pragma_table_info($1) WHERE name <> 'position'",
            Self::Postgres(_) => {
                "SELECT column_name::TEXT FROM information_schema.columns
                 WHERE table_name = $1 AND is_generated = 'NEVER' AND column_name <> 'position'"
            }
        };
        on!(self, connection => sqlx::query_scalar(sql).bind(table).fetch_all(connection).await)
            .map_err(Into::into)
    }

    /// Ends the growth: the database is as one that has grown over time.
    pub(crate) async fn settle(&mut self) -> anyhow::Result<()> {
        self.run(ALL_READ).await?;
        match self {
            Self::Sqlite(_) => self.run("PRAGMA wal_checkpoint(TRUNCATE)").await,
            Self::Postgres(_) => {
                self.run("VACUUM ANALYZE").await?;
                self.run("CHECKPOINT").await
            }
        }
    }
}

/// Returns a statement that copies rows of a table once for each number `n`, in this order.
fn insert(
    table: &str,
    columns: &[String],
    value: impl Fn(&str) -> String,
    numbers: &Range<u64>,
    source: &str,
    order: &str,
) -> String {
    let values: Vec<String> = columns.iter().map(|column| value(column)).collect();
    let Range { start, end } = numbers;
    format!(
        "WITH RECURSIVE numbers (n) AS (
             SELECT CAST({start} AS BIGINT) UNION ALL SELECT n + 1 FROM numbers WHERE n + 1 < {end})
         INSERT INTO {table} ({}) SELECT {} FROM numbers, {table} t WHERE {source} ORDER BY {order}",
        columns.join(", "),
        values.join(", ")
    )
}
