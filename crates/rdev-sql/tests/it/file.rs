//! The content of the file outlives the process; a file that cannot be opened is named.

use std::time::Duration;

use rdev_domain::{Ending, Entry, Error, Job, Outcome, Position, Result, Seq, Timestamp};
use rdev_ports::testing::{START, chunk, id, idempotency_key, job, slots};
use rdev_ports::{Claim, Enqueued, EventLog, TaskLeases, TaskQueue};
use rdev_sql::SqlStore;
use sqlx::ConnectOptions;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode};

const LEASE_END: Timestamp = Timestamp::from_micros(START.as_micros() + 30_000_000);

async fn everything(store: &SqlStore) -> Result<(Vec<Job>, Vec<Entry>)> {
    let demo = rdev_ports::testing::target("demo");
    let jobs = store.jobs(&demo, &rdev_ports::JobFilter::default(), None, 100).await?;
    Ok((jobs, store.read_view(&rdev_ports::testing::log_of("demo"), Position::ZERO, 100).await?))
}

/// Stores a command that has ended, one that runs, and one that waits under an idempotency key.
async fn fill(store: &SqlStore) -> Result<Vec<Claim>> {
    for n in 1..=3 {
        store.enqueue(&job("demo", n), Some(&idempotency_key("key-1", &n.to_string(), 1))).await?;
    }
    let claims = store.claim(&id("worker-1"), slots(2), START, LEASE_END).await?;
    for claim in &claims {
        store.start(&claim.fence, "pod-1", None, START).await?;
        store.append(&claim.fence, vec![chunk(1, 3), chunk(4, 5)], START).await?;
    }
    let outcome = Outcome::without_process(Ending::TimedOut, "its time was up");
    store.finish(&claims[0].fence, Seq(6), outcome, START).await?;
    store.request_cancel(&rdev_ports::testing::target("demo"), &claims[1].fence.id, None, START).await?;
    Ok(claims)
}

#[tokio::test]
async fn reopening_the_file_keeps_everything() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("rdev.db");
    let store = SqlStore::sqlite(&file).await.unwrap();
    let claims = fill(&store).await.unwrap();
    let before = everything(&store).await.unwrap();
    store.close().await;

    let store = SqlStore::sqlite(&file).await.unwrap();
    assert_eq!(everything(&store).await.unwrap(), before);
    let renewal = store.renew(&id("worker-1"), &[claims[1].fence.clone()], LEASE_END).await.unwrap();
    assert_eq!(renewal.cancelled, [claims[1].fence.clone()], "claim and wish are kept");
    let key = idempotency_key("key-1", "3", 1);
    let Enqueued::Existing(third) = store.enqueue(&job("demo", 9), Some(&key)).await.unwrap() else {
        panic!("the idempotency key was forgotten");
    };
    assert_eq!(*third, job("demo", 3));
    let later = LEASE_END + Duration::from_secs(1);
    let attached = store.claim(&id("worker-2"), slots(1), later, later).await.unwrap();
    assert_eq!((&attached[0].fence.id, attached[0].last_seq), (&claims[1].fence.id, Seq(5)));
    let next = store.append(&attached[0].fence, vec![chunk(6, 6)], later).await.unwrap();
    assert!(next[0].position > before.1.last().unwrap().position);
}

#[tokio::test]
async fn a_file_that_cannot_be_opened_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let plain = dir.path().join("plain");
    std::fs::write(&plain, "no directory").unwrap();
    for (file, why) in [
        (dir.path().join("missing/rdev.db"), "No such file or directory"),
        (plain.join("rdev.db"), "Not a directory"),
        (dir.path().to_owned(), "Is a directory"),
    ] {
        let error = SqlStore::sqlite(&file).await.unwrap_err();
        let Error::Unavailable { system: "database", source } = error else {
            panic!("{}: {error:?}", file.display());
        };
        let message = format!("{source:#}");
        assert!(message.contains(&file.display().to_string()), "{message}");
        assert!(message.contains(why), "{message}");
    }
}

#[tokio::test]
async fn a_file_that_is_no_database_is_named_and_kept() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("notes.txt");
    let text = "not a database, but somebody's notes. ".repeat(100);
    std::fs::write(&file, &text).unwrap();
    let error = SqlStore::sqlite(&file).await.unwrap_err();
    let Error::Internal(source) = error else {
        panic!("{error:?}");
    };
    let message = format!("{source:#}");
    assert!(message.contains(&file.display().to_string()), "{message}");
    assert!(message.contains("file is not a database"), "{message}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), text);
}

#[tokio::test]
async fn a_transaction_that_a_power_cut_left_half_done_is_taken_back() {
    let dir = tempfile::tempdir().unwrap();
    let (before, file) = (dir.path().join("before.db"), dir.path().join("rdev.db"));
    let options = SqliteConnectOptions::new().filename(&before).create_if_missing(true);
    let mut connection = options.journal_mode(SqliteJournalMode::Delete).connect().await.unwrap();
    // Written beside the file once a page does not find room in memory, as the journal before it is.
    let half = "PRAGMA cache_size = 1; CREATE TABLE t (v BLOB); BEGIN; \
        INSERT INTO t WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100) \
        SELECT zeroblob(5000) FROM n;";
    sqlx::raw_sql(half).execute(&mut connection).await.unwrap();
    std::fs::copy(&before, &file).unwrap();
    std::fs::copy(dir.path().join("before.db-journal"), dir.path().join("rdev.db-journal")).unwrap();

    let store = SqlStore::sqlite(&file).await.unwrap();
    store.enqueue(&job("demo", 1), None).await.unwrap();
    let mut connection = SqliteConnectOptions::new().filename(&file).connect().await.unwrap();
    let rows: i64 = sqlx::query_scalar("SELECT count(*) FROM t").fetch_one(&mut connection).await.unwrap();
    assert_eq!(rows, 0);
}
