//! Followers of the log on Postgres, where a lower position may appear after a higher one.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rdev_domain::{Ending, EntryBody, Outcome, Position, Seq};
use rdev_ports::testing::{START, chunk, id, job, slots};
use rdev_ports::{
    EventLog, FollowedBatch, Follower, LogFollower, ProjectRecords, PruneRule, Rest, Retention, StepReport,
    TaskLeases, TaskQueue,
};
use rdev_sql::SqlStore;
use rdev_sql::testing::PostgresDatabase;
use sqlx::{AssertSqlSafe, PgConnection};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::{On, Place};

const FOLLOWER: Follower = Follower::new("test");
/// Longest wait for positions to be settled.
const PATIENCE: Duration = Duration::from_secs(30);

async fn fresh() -> (SqlStore, Place) {
    On::Postgres.fresh().await
}

fn database(place: &Place) -> &PostgresDatabase {
    let Place::Postgres(database) = place else { panic!("Postgres was asked for") };
    database
}

async fn run(connection: &mut PgConnection, sql: &str) {
    sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(connection).await.unwrap();
}

/// Stores an entry of the `n`th job in the transaction of a connection, and returns its position.
async fn store_entry(connection: &mut PgConnection, n: u64) -> Position {
    let sql = "INSERT INTO entries (job_id, log, kind, first_seq, last_seq, at_us, body)
         SELECT id, target, 'status', 0, 0, 0, convert_to('pending', 'UTF8') FROM jobs WHERE id = $1
         RETURNING position";
    let id = job("demo", n).id;
    let position: i64 = sqlx::query_scalar(sql).bind(id.as_str()).fetch_one(connection).await.unwrap();
    Position(position as u64)
}

fn positions(batch: &FollowedBatch) -> Vec<Position> {
    batch.entries.iter().map(|told| told.entry.position).collect()
}

/// Reads until nothing is unsettled, and returns the last batch.
async fn settled(store: &SqlStore, after: Position) -> FollowedBatch {
    let reading = async {
        loop {
            let batch = store.read(FOLLOWER, after, 1000).await.unwrap();
            if batch.rest == Rest::Nothing {
                return batch;
            }
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, reading).await.expect("the writers have ended")
}

#[tokio::test]
async fn a_follower_waits_for_a_lower_position_and_gets_both_in_order() {
    let (store, place) = fresh().await;
    for n in 1..=2 {
        store.enqueue(&job("demo", n), None).await.unwrap();
    }
    let begin = store.open(FOLLOWER, START).await.unwrap();
    let [mut slow, mut fast] = [database(&place).connect().await, database(&place).connect().await];
    run(&mut slow, "BEGIN").await;
    let lower = store_entry(&mut slow, 1).await;
    let higher = store_entry(&mut fast, 2).await;
    assert!(lower < higher);
    // However often it looks: the higher one is visible, and is not read.
    for _ in 0..5 {
        let batch = store.read(FOLLOWER, begin, 10).await.unwrap();
        assert_eq!((batch.entries.len(), batch.next, batch.rest), (0, begin, Rest::Unsettled));
    }
    // Others wait for nobody.
    store.enqueue(&job("demo", 3), None).await.unwrap();
    run(&mut slow, "COMMIT").await;
    let told = positions(&settled(&store, begin).await);
    assert_eq!((told.len(), &told[..2]), (3, &[lower, higher][..]));
}

#[tokio::test]
async fn what_was_rolled_back_holds_a_follower_up_until_then() {
    let (store, place) = fresh().await;
    store.enqueue(&job("demo", 1), None).await.unwrap();
    let begin = store.open(FOLLOWER, START).await.unwrap();
    let [mut slow, mut fast, mut next] = [
        database(&place).connect().await,
        database(&place).connect().await,
        database(&place).connect().await,
    ];
    run(&mut slow, "BEGIN").await;
    store_entry(&mut slow, 1).await;
    let higher = store_entry(&mut fast, 1).await;
    assert_eq!(store.read(FOLLOWER, begin, 10).await.unwrap().rest, Rest::Unsettled);
    // One that begins to write later holds up only what lies beyond it.
    run(&mut next, "BEGIN").await;
    store_entry(&mut next, 1).await;
    run(&mut slow, "ROLLBACK").await;
    let batch = store.read(FOLLOWER, begin, 10).await.unwrap();
    assert_eq!((positions(&batch), batch.rest), (vec![higher], Rest::Unsettled));
    drop(next);
    assert_eq!(positions(&settled(&store, begin).await), [higher]);
}

#[tokio::test]
async fn a_new_follower_begins_after_those_who_write_at_that_moment() {
    let (store, place) = fresh().await;
    store.enqueue(&job("demo", 1), None).await.unwrap();
    let mut slow = database(&place).connect().await;
    run(&mut slow, "BEGIN").await;
    let lower = store_entry(&mut slow, 1).await;
    let opening = tokio::spawn({
        let store = store.clone();
        async move { store.open(FOLLOWER, START).await.unwrap() }
    });
    // It looks every 10 ms.
    sleep(Duration::from_millis(100)).await;
    assert!(!opening.is_finished());
    run(&mut slow, "COMMIT").await;
    let begin = timeout(PATIENCE, opening).await.unwrap().unwrap();
    assert!(begin >= lower);
    assert_eq!(settled(&store, begin).await.entries, []);
}

#[tokio::test]
async fn output_is_counted_when_it_is_settled() {
    let (store, place) = fresh().await;
    store.enqueue(&job("demo", 1), None).await.unwrap();
    let claim = store.claim(&id("worker-1"), slots(1), START, START).await.unwrap().remove(0);
    store.start(&claim.fence, "pod-1", None, START).await.unwrap();
    let mut slow = database(&place).connect().await;
    run(&mut slow, "BEGIN").await;
    run(
        &mut slow,
        "INSERT INTO entries (job_id, log, kind, first_seq, last_seq, at_us, body)
         SELECT id, 'other', 'output', 1, 1, 0, convert_to('x', 'UTF8') FROM jobs",
    )
    .await;
    store.append(&claim.fence, vec![chunk(1, 1)], START).await.unwrap();
    let prune = async || {
        let mut done = 0;
        for _ in 0..10 {
            done += store.prune(PruneRule::Output { bytes_max: 0 }).await.unwrap().done;
        }
        done
    };
    assert_eq!(prune().await, 0);
    run(&mut slow, "COMMIT").await;
    assert_eq!(prune().await, 2);
}

/// Cancels the `n`th job, which waits.
async fn cancel(store: &SqlStore, n: u64) {
    let job = job("demo", n);
    store.request_cancel(&job.target(), &job.id, None, START).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_deletion_waits_for_a_job_that_another_transaction_has_locked() {
    let (store, place) = fresh().await;
    for n in 1..=2 {
        store.enqueue(&job("demo", n), None).await.unwrap();
        cancel(&store, n).await;
    }
    let mut other = database(&place).connect().await;
    run(&mut other, "BEGIN").await;
    run(&mut other, "SELECT id FROM jobs ORDER BY id LIMIT 1 FOR UPDATE").await;
    let remove = async || store.remove_records(&id("demo"), START).await.unwrap();
    assert_eq!(remove().await, StepReport { done: 1, more: true });
    assert_eq!(remove().await, StepReport { done: 0, more: true });
    run(&mut other, "COMMIT").await;
    assert_eq!(remove().await, StepReport { done: 1, more: true });
    assert_eq!(remove().await, StepReport { done: 0, more: false });
}

/// Writers of one kind: commands that are accepted, started, written and ended through the store, in two processes.
async fn write_commands(store: SqlStore, numbers: std::ops::Range<u64>) -> u64 {
    let mut written = 0;
    for n in numbers {
        let new = job(&format!("p{}", n % 3), n);
        store.enqueue(&new, None).await.unwrap();
        written += 1;
        for claim in store.claim(&id("worker-1"), slots(4), START, START + PATIENCE).await.unwrap() {
            store.start(&claim.fence, "pod-1", None, START).await.unwrap();
            store.append(&claim.fence, vec![chunk(1, 1)], START).await.unwrap();
            let outcome = Outcome::without_process(Ending::Completed, "done");
            store.finish(&claim.fence, Seq(2), outcome, START).await.unwrap();
            written += 2;
        }
    }
    written
}

/// Writers of the other kind: transactions that take a while, of which every second one is rolled back.
async fn write_slowly(mut connection: PgConnection, count: u64) -> u64 {
    let mut written = 0;
    for n in 0..count {
        run(&mut connection, "BEGIN").await;
        store_entry(&mut connection, 1).await;
        sleep(Duration::from_millis(n % 7)).await;
        store_entry(&mut connection, 1).await;
        run(&mut connection, if n % 2 == 0 { "COMMIT" } else { "ROLLBACK" }).await;
        written += if n % 2 == 0 { 2 } else { 0 };
    }
    written
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_writers_a_follower_reads_every_entry_once_and_in_order() {
    let (store, place) = fresh().await;
    store.enqueue(&job("demo", 1), None).await.unwrap();
    let begin = store.open(FOLLOWER, START).await.unwrap();
    let mut writing = JoinSet::new();
    for n in 0..6 {
        let store = if n % 2 == 0 { store.clone() } else { place.open().await.unwrap() };
        writing.spawn(write_commands(store, 100 * (n + 1)..100 * (n + 1) + 40));
        writing.spawn(write_slowly(database(&place).connect().await, 60));
    }
    let are_done = Arc::new(AtomicBool::new(false));
    let following = tokio::spawn({
        let (store, are_done) = (store.clone(), are_done.clone());
        async move {
            let (mut cursor, mut told, mut batches) = (begin, Vec::new(), 0);
            loop {
                let is_last = are_done.load(Ordering::SeqCst);
                let batch = store.read(FOLLOWER, cursor, 50).await.unwrap();
                assert!(batch.next >= cursor);
                batches += u32::from(!batch.entries.is_empty() && !is_last);
                told.extend(positions(&batch));
                if batch.next > cursor {
                    assert!(store.advance(FOLLOWER, cursor, batch.next, START).await.unwrap());
                }
                cursor = batch.next;
                if is_last && batch.rest == Rest::Nothing {
                    return (told, batches);
                }
            }
        }
    });
    let written: u64 = timeout(2 * PATIENCE, writing.join_all()).await.unwrap().into_iter().sum();
    are_done.store(true, Ordering::SeqCst);
    let (told, batches) = timeout(PATIENCE, following).await.unwrap().unwrap();
    assert!(told.is_sorted_by(|a, b| a < b), "each is read once, in order");
    let mut connection = database(&place).connect().await;
    let stored: Vec<i64> = sqlx::query_scalar(
        "SELECT position FROM entries WHERE kind <> 'output' AND position > $1 ORDER BY position",
    )
    .bind(begin.0 as i64)
    .fetch_all(&mut connection)
    .await
    .unwrap();
    let told: Vec<i64> = told.into_iter().map(|position| position.0 as i64).collect();
    assert_eq!(told, stored);
    assert_eq!(stored.len() as u64, written);
    assert!(batches > 5, "it has read beside the writers");
    let is_output = |body: &EntryBody| matches!(body, EntryBody::Output(_));
    let all = store.read_view(&rdev_ports::testing::log_of("p1"), Position::ZERO, 1000).await.unwrap();
    let outputs: HashSet<_> = all.iter().filter(|entry| is_output(&entry.body)).map(|e| e.position).collect();
    assert!(!outputs.is_empty() && outputs.iter().all(|output| !told.contains(&(output.0 as i64))));
}
