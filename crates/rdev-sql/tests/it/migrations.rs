//! Databases of earlier versions are brought up to date with everything that is in them.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rdev_domain::{Ending, EntryBody, Error, JobState, JobStatus, Outcome, Position, Seq};
use rdev_ports::testing::{START, id, idempotency_key, job, slots};
use rdev_ports::{Enqueued, EventLog, TaskLeases, TaskQueue};
use rdev_sql::SqlStore;
use sqlx::Connection;
use sqlx::migrate::Migrator;

use crate::{On, Place, on_both, sqlite_connection};

on_both! {
    a_database_of_the_first_version_keeps_everything,
    what_is_pending_is_told_and_changes_nothing,
    an_older_program_runs_on_a_later_schema_unless_that_forbids_it,
    what_an_older_program_cannot_use_it_does_not_touch,
    a_log_that_was_put_back_gives_no_position_twice,
}

/// Reads the migrations of a database from their folder.
async fn migrations(database: &str) -> Migrator {
    let folder = format!("{}/../../migrations/{database}", env!("CARGO_MANIFEST_DIR"));
    Migrator::new(Path::new(&folder)).await.unwrap()
}

/// A row of each kind in every table of version 1: of one key a command that has ended, one that runs and one
/// that waits, and one that was cancelled; their entries, and an idempotency key.
const ROWS_1: &str = r#"
INSERT INTO tasks (id, project, stream, kind, request, timeout_us, created_by, created_us, concurrency_key, status,
                   attempt, lease_owner, lease_until_us, place_uid, last_seq, started_us, ended_us, exit_code, reason,
                   message, duration_us, cancel_requested)
VALUES
('cmd-00000000000000000000000000000001', 'demo', 'cmd-00000000000000000000000000000001', 'shell',
 '{"type":"shell","command":"echo 1","env":{}}', 60000000, 'key-1', 1769284800000000, 'workspace', 'failed',
 1, NULL, 0, 'pod-1', 4, 1769284800000000, 1769284801000000, 3, 'exit_code', 'said', 1000000, FALSE),
('cmd-00000000000000000000000000000002', 'demo', 'nightly', 'shell',
 '{"type":"shell","command":"echo 2","env":{}}', 60000000, 'key-1', 1769284800000000, 'workspace', 'running',
 2, 'worker-1', 1769284830000000, 'pod-1', 5, 1769284800000000, NULL, NULL, NULL, NULL, NULL, TRUE),
('cmd-00000000000000000000000000000003', 'demo', 'cmd-00000000000000000000000000000003', 'shell',
 '{"type":"shell","command":"echo 3","env":{}}', 60000000, 'key-1', 1769284800000000, 'workspace', 'pending',
 0, NULL, 0, NULL, 0, NULL, NULL, NULL, NULL, NULL, NULL, FALSE);
INSERT INTO events (task_id, project, kind, first_seq, last_seq, at_us, body) VALUES
('cmd-00000000000000000000000000000001', 'demo', 'status', 0, 0, 1769284800000000, BYTES'70656e64696e67'),
('cmd-00000000000000000000000000000001', 'demo', 'output', 1, 3, 1769284800000000, BYTES'00ff'),
('cmd-00000000000000000000000000000001', 'demo', 'complete', 4, 4, 1769284801000000, BYTES''),
('cmd-00000000000000000000000000000002', 'demo', 'output', 1, 5, 1769284800000000, BYTES'01');
INSERT INTO idempotency_keys (key_id, value, fingerprint, task_id, created_us) VALUES
('key-1', 'a', BYTES'0101010101010101010101010101010101010101010101010101010101010101',
 'cmd-00000000000000000000000000000001', 1769284800000000);
"#;

impl Place {
    /// Makes a database as an earlier version has left it.
    pub(crate) async fn of_version(&self, version: i64, rows: &str) {
        match self {
            Self::Sqlite(dir) => {
                let mut connection = sqlite_connection(dir).await;
                migrations("sqlite").await.run_direct(Some(version), &mut connection, false).await.unwrap();
                sqlx::Connection::close(connection).await.unwrap();
                self.run(&rows.replace("BYTES'", "x'")).await;
            }
            Self::Postgres(database) => {
                let mut connection = database.connect().await;
                migrations("postgres").await.run_direct(Some(version), &mut connection, false).await.unwrap();
                self.run(&rows.replace("BYTES'", "'\\x")).await;
            }
        }
    }

    async fn pending(&self) -> Vec<String> {
        match self {
            Self::Sqlite(dir) => SqlStore::pending_sqlite(&dir.path().join("rdev.db")).await.unwrap(),
            Self::Postgres(database) => SqlStore::pending_postgres(&database.url()).await.unwrap(),
        }
    }
}

async fn a_database_of_the_first_version_keeps_everything(on: On) {
    let place = on.place().await;
    place.of_version(1, ROWS_1).await;
    let store = place.open().await.unwrap();
    let demo = rdev_ports::testing::target("demo");
    let jobs = store.jobs(&demo, &rdev_ports::JobFilter::default(), None, 10).await.unwrap();
    assert_eq!(jobs[0], job("demo", 3));
    assert_eq!((jobs[1].stream.as_str(), jobs[1].cancel_requested), ("nightly", true));
    assert_eq!(jobs[1].state, JobState::running(START));
    let JobState::Ended { outcome, .. } = &jobs[2].state else { panic!("{:?}", jobs[2]) };
    assert_eq!((outcome.exit_code, outcome.message.as_deref()), (Some(3), Some("said")));
    assert!(matches!(outcome.ending, Ending::Failed(_)));

    let entries = store.read_view(&rdev_ports::testing::log_of("demo"), Position::ZERO, 10).await.unwrap();
    let bodies: Vec<&EntryBody> = entries.iter().map(|entry| &entry.body).collect();
    assert_eq!(bodies[0], &EntryBody::Status(JobStatus::Pending));
    assert_eq!(bodies[1], &EntryBody::Output(bytes::Bytes::from_static(&[0, 0xff])));
    assert_eq!(bodies[2], &EntryBody::Complete(outcome.clone()));
    assert_eq!((entries.len(), entries[3].last_seq), (4, Seq(5)));

    let key = idempotency_key("key-1", "a", 1);
    let again = store.enqueue(&job("demo", 9), Some(&key)).await;
    assert!(matches!(again, Ok(Enqueued::Existing(first)) if first.id == jobs[2].id));
    // What runs holds its key, also under the index that came later, and is claimed when its lease is over.
    let later = START + std::time::Duration::from_secs(31);
    let claims = store.claim(&id("worker-2"), slots(10), later, later).await.unwrap();
    assert_eq!(claims.len(), 1);
    assert!(claims[0].fence.token > 2, "a later claim has a higher number");
    assert_eq!(claims[0].last_seq, Seq(5));
    assert_eq!(claims[0].pod_uid.as_deref(), Some("pod-1"));
}

async fn what_is_pending_is_told_and_changes_nothing(on: On) {
    let place = on.place().await;
    let all = place.pending().await;
    assert_eq!(all.len(), migrations("sqlite").await.iter().count());
    assert_eq!(all[0], "0001 tasks and events");
    assert_eq!(place.pending().await, all, "a look has changed something");
    place.of_version(1, "").await;
    assert_eq!(place.pending().await, all[1..]);
    place.open().await.unwrap();
    assert!(place.pending().await.is_empty());
}

const LATER: &str = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
     SELECT 9999, description, success, checksum, execution_time FROM _sqlx_migrations WHERE version = 1";

/// Two programs share a database while one replaces the other, forward or back.
async fn an_older_program_runs_on_a_later_schema_unless_that_forbids_it(on: On) {
    let (newer, place) = on.fresh().await;
    let demo = rdev_ports::testing::target("demo");
    newer.enqueue(&job("demo", 1), None).await.unwrap();
    place.run(LATER).await;
    place.run("CREATE TABLE later (what TEXT NOT NULL)").await;
    place.run("ALTER TABLE jobs ADD COLUMN later TEXT NOT NULL DEFAULT ''").await;
    let older = place.open().await.unwrap();
    older.enqueue(&job("demo", 2), None).await.unwrap();
    let claims = older.claim(&id("w"), slots(2), START, START).await.unwrap();
    for claim in &claims {
        newer.start(&claim.fence, "pod-1", None, START).await.unwrap();
        let outcome = Outcome::without_process(Ending::Cancelled, "");
        older.finish(&claim.fence, Seq(1), outcome, START).await.unwrap();
    }
    assert_eq!(newer.jobs(&demo, &rdev_ports::JobFilter::default(), None, 9).await.unwrap().len(), 2);
    older.close().await;

    place.run("UPDATE schema_compatibility SET oldest_program = 9999").await;
    let Err(Error::Internal(source)) = place.open().await else { panic!("it was opened") };
    assert!(format!("{source:#}").contains("knows migration 9999"), "{source:#}");
}

async fn what_an_older_program_cannot_use_it_does_not_touch(on: On) {
    let place = on.place().await;
    place.of_version(6, "").await;
    place.run(LATER).await;
    place.run("CREATE TABLE schema_compatibility (oldest_program BIGINT NOT NULL)").await;
    place.run("INSERT INTO schema_compatibility VALUES (9999)").await;
    let pending = place.pending().await;
    assert!(!pending.is_empty());
    assert!(matches!(place.open().await, Err(Error::Internal(_))));
    assert_eq!(place.pending().await, pending);
    if let Place::Sqlite(dir) = &place {
        assert_eq!(copies(dir.path()), [] as [String; 0]);
    }
}

/// The names of the copies in a folder, and of what looks like one.
fn copies(folder: &Path) -> Vec<String> {
    let names = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
    let mut names: Vec<_> = names.map(|name| name.into_string().unwrap()).collect();
    names.retain(|name| name.contains("before"));
    names.sort();
    names
}

#[tokio::test]
async fn without_a_copy_nothing_is_migrated() {
    let place = On::Sqlite.place().await;
    let Place::Sqlite(dir) = &place else { panic!("it is a file") };
    place.of_version(1, ROWS_1).await;
    let pending = place.pending().await;
    let in_the_way = dir.path().join("rdev.db.before-0002");
    std::fs::create_dir(&in_the_way).unwrap();
    let Err(Error::Unavailable { source, .. }) = place.open().await else { panic!("it was opened") };
    let message = format!("{source:#}");
    assert!(message.contains("cannot copy it to") && message.contains("rdev.db.before-0002 "), "{message}");
    assert_eq!(place.pending().await, pending);
    assert_eq!(copies(dir.path()), ["rdev.db.before-0002"], "what there is of a copy takes no room");
    std::fs::remove_dir(in_the_way).unwrap();
    place.open().await.unwrap();
}

#[tokio::test]
async fn a_file_is_copied_before_it_is_migrated_and_two_copies_stay() {
    let place = On::Sqlite.place().await;
    let Place::Sqlite(dir) = &place else { panic!("it is a file") };
    place.of_version(1, ROWS_1).await;
    for old in ["0000", "0001", "work"] {
        std::fs::write(dir.path().join(format!("rdev.db.before-{old}")), "older").unwrap();
    }
    place.open().await.unwrap().close().await;
    let kept = ["rdev.db.before-0001", "rdev.db.before-0002", "rdev.db.before-work"];
    assert_eq!(copies(dir.path()), kept);
    let copy = dir.path().join(kept[1]);
    assert_eq!(std::fs::metadata(&copy).unwrap().permissions().mode() & 0o777, 0o600);
    let mut copy = sqlx::SqliteConnection::connect(copy.to_str().unwrap()).await.unwrap();
    let newest: i64 =
        sqlx::query_scalar("SELECT MAX(version) FROM _sqlx_migrations").fetch_one(&mut copy).await.unwrap();
    assert_eq!(newest, 1);
    // One that is up to date is not copied.
    place.open().await.unwrap().close().await;
    assert_eq!(copies(dir.path()), kept);
}

/// Stores a command; the position of its first entry comes back.
async fn accepted(store: &SqlStore, number: u64) -> Position {
    match store.enqueue(&job("demo", number), None).await {
        Ok(Enqueued::New(entry)) => entry.position,
        other => panic!("{other:?}"),
    }
}

async fn a_log_that_was_put_back_gives_no_position_twice(on: On) {
    let (store, place) = on.fresh().await;
    accepted(&store, 1).await;
    store.close().await;
    // What came later had been given while the server ran, and after another start of it.
    let backup = place.backup().await;
    let mut known = Position::ZERO;
    for n in 2..9 {
        let store = place.open().await.unwrap();
        known = accepted(&store, n).await;
        store.close().await;
    }
    place.put_back(backup).await;
    let store = place.open().await.unwrap();
    let next = accepted(&store, 9).await;
    assert!(next > known, "{next:?} after {known:?}");
    assert!(next.0 < 1 << 53, "{next:?} is no whole number in JavaScript");
}

/// A database as it was: the file, or as far as positions go.
enum Backup {
    File(Vec<u8>),
    Sequence(i64),
}

impl Place {
    async fn backup(&self) -> Backup {
        match self {
            Self::Sqlite(dir) => Backup::File(std::fs::read(dir.path().join("rdev.db")).unwrap()),
            Self::Postgres(database) => {
                let mut connection = database.connect().await;
                let last = "SELECT last_value FROM entries_position_seq";
                Backup::Sequence(sqlx::query_scalar(last).fetch_one(&mut connection).await.unwrap())
            }
        }
    }

    async fn put_back(&self, backup: Backup) {
        match (self, backup) {
            (Self::Sqlite(dir), Backup::File(bytes)) => {
                std::fs::write(dir.path().join("rdev.db"), bytes).unwrap();
            }
            (Self::Postgres(database), Backup::Sequence(last)) => {
                let deleted = format!("DELETE FROM entries WHERE position > {last}");
                database.run(&format!("{deleted}; SELECT setval('entries_position_seq', {last})")).await;
            }
            _ => panic!("it is of another place"),
        }
    }
}

#[tokio::test]
async fn both_databases_have_the_same_migrations() {
    let names = |migrator: &Migrator| -> Vec<_> {
        migrator.iter().map(|migration| (migration.version, migration.description.clone())).collect()
    };
    assert_eq!(names(&migrations("sqlite").await), names(&migrations("postgres").await));
}
