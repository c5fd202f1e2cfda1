//! Postgres: how a database is opened, and how long anybody waits for the server.

use std::str::FromStr;
use std::time::Duration;

use rdev_domain::{Error, Result};
use sqlx::migrate::Migrator;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tokio::time::{sleep, timeout};

use crate::error::{about, database};
use crate::migrations::{self, Schema};

/// Version of the oldest server that has all features. `LISTEN` needs connections of its own, without a pooler that
/// shares them between transactions.
pub(crate) const VERSION_MIN: i32 = 130_000;
/// Number of connections of one process, beside the one that listens.
pub(crate) const CONNECTIONS: u32 = 16;
/// Maximum wait for a free connection, and for a new one. Then the caller gets `Unavailable`.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(3);
/// Maximum time of one statement, in milliseconds.
const STATEMENT_TIMEOUT_MS: &str = "5000";
/// Maximum wait of a statement for a lock, in milliseconds.
const LOCK_TIMEOUT_MS: &str = "3000";
/// Time after which the server ends a transaction whose client has fallen silent, in milliseconds.
const IDLE_IN_TRANSACTION_MS: &str = "10000";
/// Maximum time of a transaction, from the wait for a connection to the commit. It is longer than the server's own
/// timeouts: when it passes, the server is not reached, of which a connection gives no sign by itself.
pub(crate) const WORK_TIMEOUT: Duration = Duration::from_secs(10);
/// Maximum time of a connection's answer to a ping.
pub(super) const PING_TIMEOUT: Duration = Duration::from_secs(1);
/// Idle time after which a connection is pinged before its use: the server may have been restarted since.
const PINGED_AFTER_IDLE: Duration = Duration::from_secs(1);
/// Idle time after which a connection is closed.
const IDLE_TIMEOUT: Duration = Duration::from_secs(300);
/// Maximum time to migrate, and to wait for another process that migrates: enough to build an index over a log of
/// 100 GB. The start-up probe of deployments/k8s waits for longer.
const MIGRATION_PATIENCE: Duration = Duration::from_secs(3000);
/// Maximum time to close, with transactions that still run.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// Pause between two attempts to get the lock of migrations.
const MIGRATION_PAUSE: Duration = Duration::from_millis(100);
/// Number of the advisory lock that a process holds while it migrates.
const MIGRATION_LOCK: i64 = 7_233_001;

/// Raises the next position to the time of this start, as on SQLite: none is assigned twice after a backup was restored. A
/// crash of the server forgets none, so a clock that was set back changes nothing. Meanwhile other processes take fewer
/// positions than the condition allows for.
const PASS_OVER_POSITIONS: &str = "
    SELECT setval('entries_position_seq', now.position)
    FROM entries_position_seq given, (
        SELECT LEAST((extract(epoch FROM clock_timestamp()) * 1000000)::BIGINT, 4503599627370496) AS position) now
    WHERE given.last_value + 65536 < now.position";

/// Opens the database, and migrates its schema.
pub(crate) async fn open(url: &str) -> Result<PgPool> {
    let options = options(url)?;
    let pool = PgPoolOptions::new()
        .max_connections(CONNECTIONS)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .idle_timeout(IDLE_TIMEOUT)
        .test_before_acquire(false)
        .before_acquire(|connection, meta| {
            Box::pin(async move {
                let fresh = meta.idle_for < PINGED_AFTER_IDLE;
                Ok(fresh || matches!(timeout(PING_TIMEOUT, connection.ping()).await, Ok(Ok(()))))
            })
        })
        .connect_lazy_with(options.clone());
    migrate(&options, &migrations::POSTGRES).await.map_err(|error| about(error, place(&options)))?;
    Ok(pool)
}

/// Migrates the schema. Of processes that do so at the same time one migrates, and the others wait.
async fn migrate(options: &PgConnectOptions, migrations: &Migrator) -> Result<()> {
    let mut connection = connect(options).await?;
    within(WORK_TIMEOUT, prepare(&mut connection)).await?;
    let migrating = async {
        while !within(WORK_TIMEOUT, lock_migrations(&mut connection)).await? {
            sleep(MIGRATION_PAUSE).await;
        }
        // Another process may have migrated just now.
        let schema = Schema::on_postgres(&mut connection).await.map_err(database)?;
        schema.check(migrations)?;
        if schema.pending(migrations).next().is_some() {
            drop_unfinished_indexes(&mut connection).await.map_err(database)?;
        }
        migrations.run_direct(None, &mut connection, false).await.map_err(|error| database(error.into()))
    };
    within(MIGRATION_PATIENCE, migrating).await?;
    let finishing = async {
        sqlx::raw_sql(PASS_OVER_POSITIONS).execute(&mut connection).await.map_err(database)?;
        connection.close().await.map_err(database)
    };
    within(WORK_TIMEOUT, finishing).await
}

/// Checks the version of the server, and lifts the timeouts of this connection, which holds the lock of migrations. The
/// notice that the table of migrations exists already is suppressed.
async fn prepare(connection: &mut PgConnection) -> Result<()> {
    let version = version(connection).await?;
    if version < VERSION_MIN {
        let (found, least) = (version / 10_000, VERSION_MIN / 10_000);
        return Err(Error::Internal(anyhow::anyhow!("Postgres {found} is too old: {least} is needed")));
    }
    let patient = "SET statement_timeout = 0; SET lock_timeout = 0; SET client_min_messages = warning";
    sqlx::raw_sql(patient).execute(connection).await.map(|_| ()).map_err(database)
}

/// Drops indexes that a process left invalid when it was cut off while it built them concurrently. An index that is being
/// built at this moment stays.
async fn drop_unfinished_indexes(connection: &mut PgConnection) -> sqlx::Result<()> {
    let unfinished = "SELECT format('DROP INDEX CONCURRENTLY %s', i.indexrelid::regclass)
         FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
         WHERE NOT i.indisvalid AND c.relnamespace = current_schema()::regnamespace
           AND NOT EXISTS (SELECT 1 FROM pg_stat_progress_create_index p WHERE p.index_relid = i.indexrelid)";
    let drops: Vec<String> = sqlx::query_scalar(unfinished).fetch_all(&mut *connection).await?;
    for drop in drops {
        sqlx::raw_sql(AssertSqlSafe(drop)).execute(&mut *connection).await?;
    }
    Ok(())
}

/// Tries to get the lock of migrations, without waiting: a process that waits in a statement keeps an index from being
/// built concurrently.
async fn lock_migrations(connection: &mut PgConnection) -> Result<bool> {
    let lock = "SELECT pg_try_advisory_lock($1)";
    sqlx::query_scalar(lock).bind(MIGRATION_LOCK).fetch_one(connection).await.map_err(database)
}

/// Bounds the time of work with the server.
pub(crate) async fn within<T>(limit: Duration, transaction: impl Future<Output = Result<T>>) -> Result<T> {
    match timeout(limit, transaction).await {
        Ok(done) => done,
        Err(_) => Err(Error::unavailable("database", anyhow::anyhow!("no answer in {limit:?}"))),
    }
}

/// Returns the server's version as a number: 150004 for 15.4.
pub(crate) async fn version(connection: &mut PgConnection) -> Result<i32> {
    sqlx::query_scalar("SELECT current_setting('server_version_num')::INTEGER")
        .fetch_one(connection)
        .await
        .map_err(database)
}

/// Opens one connection outside of the pool.
pub(crate) async fn connect(options: &PgConnectOptions) -> Result<PgConnection> {
    within(ACQUIRE_TIMEOUT, async { PgConnection::connect_with(options).await.map_err(database) }).await
}

/// Parses a URL, and adds the settings of every connection.
pub(crate) fn options(url: &str) -> Result<PgConnectOptions> {
    // The error names what is wrong, never the URL, which may hold a password.
    let options = PgConnectOptions::from_str(url).map_err(|error| Error::Internal(error.into()))?;
    Ok(options.application_name("rdev").options([
        ("statement_timeout", STATEMENT_TIMEOUT_MS),
        ("lock_timeout", LOCK_TIMEOUT_MS),
        ("idle_in_transaction_session_timeout", IDLE_IN_TRANSACTION_MS),
        // Planning a claim takes eight times as long as executing it, so one plan is made for all values and kept.
        // A queue that was short then may be long a moment later: no plan reads a whole table, and as estimated
        // costs say nothing, none is compiled.
        ("plan_cache_mode", "force_generic_plan"),
        ("enable_seqscan", "off"),
        ("jit", "off"),
        // The server notices that a client is gone, and releases its locks.
        ("tcp_keepalives_idle", "10"),
        ("tcp_keepalives_interval", "5"),
        ("tcp_keepalives_count", "3"),
        ("tcp_user_timeout", "30000"),
    ]))
}

/// Describes the place of the database for people, without user and password.
pub(crate) fn place(options: &PgConnectOptions) -> String {
    let database = options.get_database().unwrap_or(options.get_username());
    match options.get_socket() {
        Some(socket) => format!("database {database} at {}", socket.display()),
        None => format!("database {database} at {}:{}", options.get_host(), options.get_port()),
    }
}

/// Returns the names of the migrations that are not applied to the database of a URL.
pub(crate) async fn pending(url: &str) -> Result<Vec<String>> {
    let options = options(url)?;
    let looking = async {
        let mut connection = connect(&options).await?;
        Schema::on_postgres(&mut connection).await.map_err(database)
    };
    let schema = looking.await.map_err(|error| about(error, place(&options)))?;
    Ok(schema.pending_names(&migrations::POSTGRES))
}

/// Closes every connection.
pub(super) async fn close(pool: &PgPool) {
    if timeout(CLOSE_TIMEOUT, pool.close()).await.is_err() {
        tracing::warn!("connections to the database were left open: it does not answer");
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use sqlx::SqlSafeStr;
    use sqlx::migrate::{Migration, MigrationType};
    use tokio::task::JoinSet;

    use super::*;
    use crate::testing::PostgresDatabase;

    /// A pod that is killed while it migrates begins anew, for ever.
    #[test]
    fn a_pod_has_longer_to_start_than_a_migration_takes() {
        let manifest = include_str!("../../../../deployments/k8s/server/deployment.yaml");
        let (_, probe) = manifest.split_once("startupProbe:").unwrap();
        let number = |name: &str| -> u64 {
            let (_, value) = probe.split_once(name).unwrap();
            value.lines().next().unwrap().trim().parse().unwrap()
        };
        let patience = Duration::from_secs(number("periodSeconds:") * number("failureThreshold:"));
        assert!(patience > MIGRATION_PATIENCE + 3 * WORK_TIMEOUT, "{patience:?}");
    }

    /// Each of its statements waits for all transactions that began before, those of the others included.
    #[tokio::test(flavor = "multi_thread")]
    async fn an_index_is_built_without_blocking_however_many_start_at_once() {
        const SQL: &str = "CREATE INDEX CONCURRENTLY entries_by_time ON entries (at_us)";
        let later =
            Migration::new(9999, "entries by time".into(), MigrationType::Simple, SQL.into_sql_str(), true);
        let migrations = migrations::POSTGRES.iter().cloned().chain([later]).collect();
        let migrations = &*Box::leak(Box::new(Migrator {
            migrations: Cow::Owned(migrations),
            ignore_missing: true,
            ..Migrator::DEFAULT
        }));
        let database = PostgresDatabase::create().await;
        let options = options(&database.url()).unwrap();
        migrate(&options, &migrations::POSTGRES).await.unwrap();
        // Somebody was cut off while it built it.
        database.run("CREATE INDEX entries_by_time ON entries (at_us)").await;
        let unfinished =
            "UPDATE pg_index SET indisvalid = FALSE WHERE indexrelid = 'entries_by_time'::regclass";
        database.run(unfinished).await;
        let mut starting = JoinSet::new();
        for _ in 0..6 {
            let options = options.clone();
            starting.spawn(async move { migrate(&options, migrations).await });
        }
        for started in starting.join_all().await {
            started.unwrap();
        }
        let valid = "SELECT indisvalid FROM pg_index WHERE indexrelid = 'entries_by_time'::regclass";
        let mut connection = database.connect().await;
        assert!(sqlx::query_scalar::<_, bool>(valid).fetch_one(&mut connection).await.unwrap());
    }
}
