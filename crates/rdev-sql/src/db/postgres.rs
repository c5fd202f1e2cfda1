//! Postgres: how it is opened, and how long anybody waits for it.

use std::str::FromStr;
use std::sync::LazyLock;
use std::time::Duration;

use rdev_domain::{Error, Result};
use sqlx::migrate::Migrator;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::{Connection, PgConnection};
use tokio::time::{sleep, timeout};

use crate::error::{about, database};
use crate::migrations::{APPLIED, OLDEST_PROGRAM, check_compatible, tolerant};

/// The oldest server whose features are used; `LISTEN` needs connections of its own, without a pooler that
/// shares them between transactions.
pub(crate) const VERSION_MIN: i32 = 130_000;
/// Connections of one process, beside the one that listens.
pub(crate) const CONNECTIONS: u32 = 16;
/// Longest wait for a free connection, and for a new one: then the caller is told to come again.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(3);
/// Longest that the server works on one statement, in milliseconds.
const STATEMENT_TIMEOUT_MS: &str = "5000";
/// Longest that a statement waits for a lock, in milliseconds.
const LOCK_TIMEOUT_MS: &str = "3000";
/// A transaction whose client has fallen silent gives its locks back after so many milliseconds.
const IDLE_IN_TRANSACTION_MS: &str = "10000";
/// Longest that a transaction takes, from the wait for a connection to its end. Beyond the server's own
/// timeouts it means that the server is not reached: a connection gives no sign of that by itself.
pub(crate) const WORK_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest that a connection takes to show that it is sound.
pub(super) const PING_TIMEOUT: Duration = Duration::from_secs(1);
/// A connection that was idle so long is tried before it is used: the server may have been restarted since.
const TRIED_AFTER_IDLE: Duration = Duration::from_secs(1);
/// A connection that nobody has used for so long is closed.
const IDLE_TIMEOUT: Duration = Duration::from_secs(300);
/// Longest that opening takes while another process migrates.
const MIGRATION_PATIENCE: Duration = Duration::from_secs(300);
/// Longest that closing waits for what is under way.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// Pause between two looks at whether another process still migrates.
const MIGRATION_PAUSE: Duration = Duration::from_millis(100);
/// Number of the lock that a process holds while it migrates.
const MIGRATION_LOCK: i64 = 7_233_001;

/// The lock of the library is not used: whoever waits for it keeps an index from being built concurrently.
pub(crate) static MIGRATIONS: LazyLock<Migrator> = LazyLock::new(|| {
    let mut migrations = tolerant(sqlx::migrate!("../../migrations/postgres"));
    migrations.set_locking(false);
    migrations
});

/// Opens the database, and brings its schema up to date.
pub(crate) async fn open(url: &str) -> Result<PgPool> {
    let options = options(url)?;
    let pool = PgPoolOptions::new()
        .max_connections(CONNECTIONS)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .idle_timeout(IDLE_TIMEOUT)
        .test_before_acquire(false)
        .before_acquire(|connection, meta| {
            Box::pin(async move {
                let fresh = meta.idle_for < TRIED_AFTER_IDLE;
                Ok(fresh || matches!(timeout(PING_TIMEOUT, connection.ping()).await, Ok(Ok(()))))
            })
        })
        .connect_lazy_with(options.clone());
    migrate(&options).await.map_err(|error| about(error, place(&options)))?;
    Ok(pool)
}

/// Brings the schema up to date; of processes that do so at the same time one does it, and the others wait.
pub(crate) async fn migrate(options: &PgConnectOptions) -> Result<()> {
    let migrating = async {
        let mut connection = connect(options).await?;
        let version = version(&mut connection).await?;
        if version < VERSION_MIN {
            let (found, least) = (version / 10_000, VERSION_MIN / 10_000);
            return Err(Error::Internal(anyhow::anyhow!("Postgres {found} is too old: {least} is needed")));
        }
        // A migration takes as long as it takes; the lock that keeps others away is of this connection. That the
        // table of migrations is there already is no news.
        sqlx::raw_sql("SET statement_timeout = 0; SET lock_timeout = 0; SET client_min_messages = warning")
            .execute(&mut connection)
            .await
            .map_err(database)?;
        while !lock_migrations(&mut connection).await? {
            sleep(MIGRATION_PAUSE).await;
        }
        MIGRATIONS.run_direct(None, &mut connection, false).await.map_err(|error| database(error.into()))?;
        let oldest = sqlx::query_scalar(OLDEST_PROGRAM).fetch_one(&mut connection).await.map_err(database)?;
        check_compatible(oldest, &MIGRATIONS)?;
        connection.close().await.map_err(database)
    };
    match timeout(MIGRATION_PATIENCE, migrating).await {
        Ok(done) => done,
        Err(_) => Err(Error::unavailable("database", anyhow::anyhow!("no end in {MIGRATION_PATIENCE:?}"))),
    }
}

async fn lock_migrations(connection: &mut PgConnection) -> Result<bool> {
    let lock = "SELECT pg_try_advisory_lock($1)";
    sqlx::query_scalar(lock).bind(MIGRATION_LOCK).fetch_one(connection).await.map_err(database)
}

/// The server's version, as a number: 150004 for 15.4.
pub(crate) async fn version(connection: &mut PgConnection) -> Result<i32> {
    sqlx::query_scalar("SELECT current_setting('server_version_num')::INTEGER")
        .fetch_one(connection)
        .await
        .map_err(database)
}

/// The migrations that were applied; none in a database without any table.
pub(crate) async fn applied(connection: &mut PgConnection) -> Result<Vec<i64>> {
    let known: bool = sqlx::query_scalar("SELECT to_regclass('_sqlx_migrations') IS NOT NULL")
        .fetch_one(&mut *connection)
        .await
        .map_err(database)?;
    if !known {
        return Ok(Vec::new());
    }
    sqlx::query_scalar(APPLIED).fetch_all(connection).await.map_err(database)
}

/// One connection outside of the pool.
pub(crate) async fn connect(options: &PgConnectOptions) -> Result<PgConnection> {
    match timeout(ACQUIRE_TIMEOUT, PgConnection::connect_with(options)).await {
        Ok(connection) => connection.map_err(database),
        Err(_) => {
            Err(Error::unavailable("database", anyhow::anyhow!("no connection in {ACQUIRE_TIMEOUT:?}")))
        }
    }
}

/// What a URL says, with the timeouts that hold on every connection.
pub(crate) fn options(url: &str) -> Result<PgConnectOptions> {
    // The error names what is wrong, never the URL, which may hold a password.
    let options = PgConnectOptions::from_str(url).map_err(|error| Error::Internal(error.into()))?;
    Ok(options.application_name("rdev").options([
        ("statement_timeout", STATEMENT_TIMEOUT_MS),
        ("lock_timeout", LOCK_TIMEOUT_MS),
        ("idle_in_transaction_session_timeout", IDLE_IN_TRANSACTION_MS),
        // To plan a claim takes eight times as long as to do it, so one plan is made for all values and kept.
        // A queue that was short then may be long a moment later: none reads a whole table, and what one
        // seems to cost says nothing, so none is compiled.
        ("plan_cache_mode", "force_generic_plan"),
        ("enable_seqscan", "off"),
        ("jit", "off"),
        // The server notices that a client is gone, and gives up its locks.
        ("tcp_keepalives_idle", "10"),
        ("tcp_keepalives_interval", "5"),
        ("tcp_keepalives_count", "3"),
        ("tcp_user_timeout", "30000"),
    ]))
}

/// Where the database is, for people: without user and password.
pub(crate) fn place(options: &PgConnectOptions) -> String {
    let database = options.get_database().unwrap_or(options.get_username());
    match options.get_socket() {
        Some(socket) => format!("database {database} at {}", socket.display()),
        None => format!("database {database} at {}:{}", options.get_host(), options.get_port()),
    }
}

pub(super) async fn close(pool: &PgPool) {
    if timeout(CLOSE_TIMEOUT, pool.close()).await.is_err() {
        tracing::warn!("connections to the database were left open: it does not answer");
    }
}
