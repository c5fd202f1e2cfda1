//! Transactions on a SQLite file that meet a full disk, or are large, and the file after its close.

use rdev_domain::{Error, Result};
use sqlx::ConnectOptions;
use sqlx::sqlite::SqliteConnectOptions;

use super::{Commit, Db, execute, sqlite, write};

/// SQLite rolls back by itself then, so that the ROLLBACK after it fails.
#[tokio::test]
async fn a_full_disk_is_told_and_the_next_write_has_a_sound_connection() {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::sqlite(&dir.path().join("rdev.db")).await.unwrap();
    let Db::Sqlite { write: pool, .. } = &db else { panic!("it is a file") };
    let add = async |name: String| -> Result<u64> {
        write!(&db, Commit::Durable, |tx| {
            execute!(&mut tx, "INSERT INTO periodic_leases (job_name, acquired_us) VALUES ($1, 1)", &name)
        })
    };
    for round in 0..3 {
        // The limit is the connection's own, and goes with it.
        sqlx::raw_sql("PRAGMA max_page_count = 1").execute(pool).await.unwrap();
        let full = add(format!("{round}{}", "x".repeat(1 << 20))).await.unwrap_err();
        assert!(matches!(full, Error::Unavailable { .. }), "{full:?}");
        add(round.to_string()).await.unwrap();
    }
    let kept: Vec<String> = sqlx::query_scalar("SELECT job_name FROM periodic_leases ORDER BY job_name")
        .fetch_all(pool)
        .await
        .unwrap();
    assert_eq!(kept, ["0", "1", "2"]);
}

#[tokio::test]
async fn a_large_transaction_leaves_no_large_file_behind() {
    const LARGE: u64 = 48 << 20;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("rdev.db");
    let db = Db::sqlite(&file).await.unwrap();
    let (ahead, kept) = (dir.path().join("rdev.db-wal"), sqlite::JOURNAL_BYTES_KEPT.parse().unwrap());
    let add = async |name: String| -> Result<u64> {
        write!(&db, Commit::Visible, |tx| {
            execute!(&mut tx, "INSERT INTO periodic_leases (job_name, acquired_us) VALUES ($1, 1)", &name)
        })
    };
    add("x".repeat(LARGE as usize)).await.unwrap();
    assert!(std::fs::metadata(&ahead).unwrap().len() >= LARGE);
    // It was copied into the database at its commit; the next one begins the file anew.
    add("small".to_owned()).await.unwrap();
    assert!(std::fs::metadata(&ahead).unwrap().len() <= kept);
}

#[tokio::test]
async fn a_closed_file_has_everything_though_another_has_it_open() {
    let dir = tempfile::tempdir().unwrap();
    let (file, copy) = (dir.path().join("rdev.db"), dir.path().join("copy.db"));
    let db = Db::sqlite(&file).await.unwrap();
    let other = SqliteConnectOptions::new().filename(&file).read_only(true);
    let mut reader = other.connect().await.unwrap();
    let before: i64 =
        sqlx::query_scalar("SELECT COUNT(*) FROM periodic_leases").fetch_one(&mut reader).await.unwrap();
    let added: Result<u64> = write!(&db, Commit::Visible, |tx| {
        execute!(&mut tx, "INSERT INTO periodic_leases (job_name, acquired_us) VALUES ('kept', 1)")
    });
    assert_eq!((before, added.unwrap()), (0, 1));
    db.close().await;
    std::fs::copy(&file, &copy).unwrap();
    let mut copied = SqliteConnectOptions::new().filename(&copy).connect().await.unwrap();
    let kept: String =
        sqlx::query_scalar("SELECT job_name FROM periodic_leases").fetch_one(&mut copied).await.unwrap();
    assert_eq!(kept, "kept");
}
