//! SQLite: how a file is opened, by one connection that writes and some that read.

use std::fs::{File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::thread::available_parallelism;
use std::time::{Duration, Instant};

use rdev_domain::{Error, Result};
use rustix::process::geteuid;
use sqlx::sqlite::{
    Sqlite, SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{ConnectOptions, Connection, Transaction};

use super::backup;
use super::file::{folder_of, present};
use super::flusher::Flusher;
use crate::error::{about, database, is_busy};
use crate::migrations::{self, Schema};

/// Maximum wait for a lock that another process holds on the SQLite file.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Pause between two attempts to open a file that another process holds.
const OPEN_RETRY_PAUSE: Duration = Duration::from_millis(50);
/// Maximum wait for a free connection.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(10);
/// Least and greatest number of connections that read; each costs a thread and half a megabyte.
const READERS: (usize, usize) = (2, 4);
/// Number of rows that are read ahead; entries of the log are large.
const ROWS_AHEAD: usize = 2;

/// Raises the next position to the time of this start, in microseconds: a log grows by fewer than a million entries a
/// second. Entries that a crash of the machine, a restored backup or a new file has taken from the log had positions that
/// readers know: none is assigned again. Where the clock was set back, a million positions are skipped. A clock that is
/// far off raises positions to 2^52 at most, so that they stay whole numbers in every reader.
const PASS_OVER_POSITIONS: &str = "
    INSERT INTO sqlite_sequence (name, seq)
    SELECT 'entries', 0 WHERE NOT EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = 'entries');
    UPDATE sqlite_sequence SET seq = CASE WHEN seq < now.position THEN now.position ELSE seq + 1048576 END
    FROM (SELECT MIN(CAST(unixepoch('now', 'subsec') * 1000000 AS INTEGER), 4503599627370496) AS position) AS now
    WHERE name = 'entries'";
/// Bytes to which the write-ahead log is truncated after a large transaction.
pub(super) const JOURNAL_BYTES_KEPT: &str = "16777216";

/// Opens the file and migrates its schema. Returns the pool that writes, the pool that reads, and the flusher.
pub(super) async fn open(file: &Path) -> Result<(SqlitePool, SqlitePool, Flusher)> {
    let options = SqliteConnectOptions::new()
        .filename(file)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Normal)
        .busy_timeout(BUSY_TIMEOUT)
        .row_buffer_size(ROWS_AHEAD)
        .pragma("journal_size_limit", JOURNAL_BYTES_KEPT)
        .foreign_keys(true);
    let pool = |connections: u32, options: SqliteConnectOptions| {
        SqlitePoolOptions::new()
            .max_connections(connections)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .idle_timeout(None)
            .max_lifetime(None)
            // A connection to a local file does not die between two uses.
            .test_before_acquire(false)
            .connect_lazy_with(options)
    };
    let write = pool(1, options.clone());
    let flusher = Flusher::of(file, &write);
    let prepared = async {
        make_private(file).map_err(|error| Error::unavailable("database", error))?;
        migrate(file, &write).await?;
        pass_over_positions(&write).await.map_err(database)?;
        // The name of the write-ahead log, which SQLite flushes late.
        File::open(folder_of(file))
            .and_then(|folder| folder.sync_all())
            .map_err(|error| Error::unavailable("database", error))?;
        flusher.flush().await
    };
    prepared.await.map_err(|error| about(error, format_args!("opening {}", file.display())))?;
    Ok((write, pool(readers(), options.read_only(true)), flusher))
}

/// Returns the number of connections that read: as many as there are processors, within [`READERS`].
fn readers() -> u32 {
    let (least, greatest) = READERS;
    available_parallelism().map_or(least, |processors| processors.get().clamp(least, greatest)) as u32
}

/// Returns the names of the migrations that are not applied to a file, which need not exist.
pub(crate) async fn pending(file: &Path) -> Result<Vec<String>> {
    let schema = schema_of(file).await.map_err(|error| about(database(error), file.display()))?;
    Ok(schema.pending_names(&migrations::SQLITE))
}

/// Returns the schema of a file, which need not exist.
async fn schema_of(file: &Path) -> sqlx::Result<Schema> {
    if !file.is_file() {
        return Ok(Schema::default());
    }
    let mut connection = present(file).connect().await?;
    let schema = Schema::on_sqlite(&mut connection).await?;
    connection.close().await?;
    Ok(schema)
}

/// Creates the file, or closes it to other users: it contains prompts and output. The files that SQLite puts beside it get
/// the same mode. The mode of a file of another user stays.
fn make_private(file: &Path) -> io::Result<()> {
    let made = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(file)?;
    let about = made.metadata()?;
    if about.mode() & 0o077 == 0 {
        return Ok(());
    }
    if about.uid() != geteuid().as_raw() {
        tracing::warn!(
            "the database {} belongs to another user and stays open to others: it contains the output of commands",
            file.display()
        );
        return Ok(());
    }
    tracing::warn!("the database {} was open to other users and is closed to them now", file.display());
    made.set_permissions(Permissions::from_mode(about.mode() & 0o700))
}

/// Checks the schema, copies the file where migrations are pending, and migrates it, in one transaction: of processes that
/// open a new file at the same time one migrates, and the others find nothing to do.
async fn migrate(file: &Path, pool: &SqlitePool) -> Result<()> {
    let mut tx = first_transaction(pool).await.map_err(database)?;
    let schema = Schema::on_sqlite(&mut tx).await.map_err(database)?;
    schema.check(&migrations::SQLITE)?;
    if let Some((first, _)) = schema.pending(&migrations::SQLITE).next()
        && !schema.is_new()
    {
        // Reads the file by a connection of its own, which the transaction keeps from nothing but changes.
        backup::before(first, file).await?;
    }
    // `run` would do the same, but its future is not `Send` for a borrowed connection.
    migrations::SQLITE.run_direct(None, &mut *tx, false).await.map_err(|error| database(error.into()))?;
    tx.commit().await.map_err(database)
}

async fn pass_over_positions(pool: &SqlitePool) -> sqlx::Result<()> {
    let mut tx = pool.begin_with("BEGIN IMMEDIATE").await?;
    sqlx::raw_sql(PASS_OVER_POSITIONS).execute(&mut *tx).await?;
    tx.commit().await
}

/// Begins the first transaction of a process. Where two processes switch the same new file to WAL, SQLite refuses one at
/// once, without its busy timeout.
async fn first_transaction(pool: &SqlitePool) -> sqlx::Result<Transaction<'static, Sqlite>> {
    let give_up = Instant::now() + BUSY_TIMEOUT;
    loop {
        match pool.begin_with("BEGIN IMMEDIATE").await {
            Err(error) if is_busy(&error) && Instant::now() < give_up => {
                tokio::time::sleep(OPEN_RETRY_PAUSE).await;
            }
            done => return done,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn commits_are_written_ahead_and_flushed_apart() {
        let dir = tempfile::tempdir().unwrap();
        let (write, read, _) = open(&dir.path().join("rdev.db")).await.unwrap();
        for pool in [&write, &read] {
            let journal: String = sqlx::query_scalar("PRAGMA journal_mode").fetch_one(pool).await.unwrap();
            assert_eq!(journal, "wal");
        }
        for (pragma, expected) in [
            ("PRAGMA synchronous", 1),
            ("PRAGMA foreign_keys", 1),
            ("PRAGMA busy_timeout", BUSY_TIMEOUT.as_millis() as i64),
        ] {
            let value: i64 = sqlx::query_scalar(pragma).fetch_one(&write).await.unwrap();
            assert_eq!(value, expected, "{pragma}");
        }
    }

    #[tokio::test]
    async fn connections_that_read_cannot_write() {
        let dir = tempfile::tempdir().unwrap();
        let (_write, read, _) = open(&dir.path().join("rdev.db")).await.unwrap();
        assert!(sqlx::query("DELETE FROM jobs").execute(&read).await.is_err());
    }
}
