//! SQLite: how the file is opened, by one connection that writes and some that read.

use std::fs::{OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use rdev_domain::{Error, Result};
use rustix::process::geteuid;
use sqlx::Transaction;
use sqlx::migrate::Migrator;
use sqlx::sqlite::{
    Sqlite, SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};

use crate::backup;
use crate::error::{about, database, is_busy};
use crate::migrations::{Schema, tolerant};

/// Longest wait for a lock that another process holds on the SQLite file.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Pause between two attempts to open a file that another process holds.
const OPEN_RETRY_PAUSE: Duration = Duration::from_millis(50);
/// Longest wait for a free connection.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(10);
/// Connections that read at the same time.
const READERS: u32 = 4;
/// Rows that are read ahead of their reader; entries of the log are large.
const ROWS_AHEAD: usize = 2;

/// Has positions go on at the time of this start, in microseconds: a log grows by fewer than a million entries a second.
/// What a crash of the machine, a restored backup or a new file has taken from the log had positions that readers
/// know: none is given again. Where the clock was set back they pass over a million. A clock that is far off takes them
/// to 2^52 at most, so that they stay whole numbers wherever they are read.
const PASS_OVER_POSITIONS: &str = "
    INSERT INTO sqlite_sequence (name, seq)
    SELECT 'events', 0 WHERE NOT EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = 'events');
    UPDATE sqlite_sequence SET seq = CASE WHEN seq < now.position THEN now.position ELSE seq + 1048576 END
    FROM (SELECT MIN(CAST(unixepoch('now', 'subsec') * 1000000 AS INTEGER), 4503599627370496) AS position) AS now
    WHERE name = 'events'";
/// The file of writes ahead is cut back to this many bytes after a large transaction.
const JOURNAL_BYTES_KEPT: &str = "16777216";

pub(crate) static MIGRATIONS: LazyLock<Migrator> =
    LazyLock::new(|| tolerant(sqlx::migrate!("../../migrations/sqlite")));

/// Opens the file; the pool that writes, and the one that reads.
pub(super) async fn open(file: &Path) -> Result<(SqlitePool, SqlitePool)> {
    let options = SqliteConnectOptions::new()
        .filename(file)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
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
            // A local file has no connection that could have died since its last use.
            .test_before_acquire(false)
            .connect_lazy_with(options)
    };
    let write = pool(1, options.clone());
    let prepared = async {
        make_private(file).map_err(|error| Error::unavailable("database", error))?;
        let schema = Schema::of_file(file).await.map_err(database)?;
        schema.check(&MIGRATIONS)?;
        if let Some((first, _)) = schema.pending(&MIGRATIONS).next()
            && !schema.is_new()
        {
            backup::before(first, file).await?;
        }
        migrate(&write).await.map_err(database)?;
        pass_over_positions(&write).await.map_err(database)
    };
    prepared.await.map_err(|error| about(error, format_args!("opening {}", file.display())))?;
    Ok((write, pool(READERS, options.read_only(true))))
}

/// A file that is there, to be looked at. Not read-only: a transaction that a power cut has left half done beside it is
/// taken back by the first who opens it, and who may not write cannot.
pub(crate) fn present(file: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new().filename(file).create_if_missing(false)
}

/// Makes the file, or closes it to other users: prompts and output are in it. What SQLite puts beside it follows. One
/// that belongs to another user is as they want it.
fn make_private(file: &Path) -> io::Result<()> {
    let made = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(file)?;
    let about = made.metadata()?;
    if about.mode() & 0o077 == 0 {
        return Ok(());
    }
    if about.uid() != geteuid().as_raw() {
        tracing::warn!(
            "the database {} belongs to another user and stays open to others: what commands write is in it",
            file.display()
        );
        return Ok(());
    }
    tracing::warn!("the database {} was open to other users, and is closed to them now", file.display());
    made.set_permissions(Permissions::from_mode(about.mode() & 0o700))
}

/// Brings the schema up to date, in one transaction: of processes that open a new file at the same time
/// one migrates, and the others find it done.
async fn migrate(pool: &SqlitePool) -> sqlx::Result<()> {
    let mut tx = first_transaction(pool).await?;
    // `run` would do the same, but its future is not `Send` for a borrowed connection.
    MIGRATIONS.run_direct(None, &mut *tx, false).await?;
    tx.commit().await
}

async fn pass_over_positions(pool: &SqlitePool) -> sqlx::Result<()> {
    let mut tx = pool.begin_with("BEGIN IMMEDIATE").await?;
    sqlx::raw_sql(PASS_OVER_POSITIONS).execute(&mut *tx).await?;
    tx.commit().await
}

/// Where two processes switch the same new file to WAL, SQLite refuses one at once, without its busy timeout.
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
    use crate::db::{Commit, Db, execute, write};

    #[tokio::test]
    async fn the_connection_that_writes_is_durable() {
        let dir = tempfile::tempdir().unwrap();
        let (write, read) = open(&dir.path().join("rdev.db")).await.unwrap();
        for pool in [&write, &read] {
            let journal: String = sqlx::query_scalar("PRAGMA journal_mode").fetch_one(pool).await.unwrap();
            assert_eq!(journal, "wal");
        }
        for (pragma, expected) in [
            ("PRAGMA synchronous", 2),
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
        let (_write, read) = open(&dir.path().join("rdev.db")).await.unwrap();
        assert!(sqlx::query("DELETE FROM tasks").execute(&read).await.is_err());
    }

    /// SQLite rolls back by itself then, so that the ROLLBACK after it fails.
    #[tokio::test]
    async fn a_full_disk_is_told_and_the_next_write_has_a_sound_connection() {
        let dir = tempfile::tempdir().unwrap();
        let db = Db::sqlite(&dir.path().join("rdev.db")).await.unwrap();
        let Db::Sqlite { write: pool, .. } = &db else { panic!("it is a file") };
        let add = async |name: String| -> Result<u64> {
            write!(&db, Commit::Durable, |tx| {
                execute!(&mut tx, "INSERT INTO turns (chore, taken_us) VALUES ($1, 1)", &name)
            })
        };
        for round in 0..3 {
            // The limit is the connection's own, and goes with it.
            sqlx::raw_sql("PRAGMA max_page_count = 1").execute(pool).await.unwrap();
            let full = add(format!("{round}{}", "x".repeat(1 << 20))).await.unwrap_err();
            assert!(matches!(full, Error::Unavailable { .. }), "{full:?}");
            add(round.to_string()).await.unwrap();
        }
        let kept: Vec<String> =
            sqlx::query_scalar("SELECT chore FROM turns ORDER BY chore").fetch_all(pool).await.unwrap();
        assert_eq!(kept, ["0", "1", "2"]);
    }
    #[tokio::test]
    async fn a_large_transaction_leaves_no_large_file_behind() {
        const LARGE: u64 = 48 << 20;
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("rdev.db");
        let db = Db::sqlite(&file).await.unwrap();
        let (ahead, kept) = (dir.path().join("rdev.db-wal"), JOURNAL_BYTES_KEPT.parse().unwrap());
        let add = async |name: String| -> Result<u64> {
            write!(&db, Commit::Visible, |tx| {
                execute!(&mut tx, "INSERT INTO turns (chore, taken_us) VALUES ($1, 1)", &name)
            })
        };
        add("x".repeat(LARGE as usize)).await.unwrap();
        assert!(std::fs::metadata(&ahead).unwrap().len() >= LARGE);
        // It was copied into the database at its commit; the next one begins the file anew.
        add("small".to_owned()).await.unwrap();
        assert!(std::fs::metadata(&ahead).unwrap().len() <= kept);
    }
}
