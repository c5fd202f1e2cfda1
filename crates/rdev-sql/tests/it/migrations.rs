//! Databases of earlier versions are brought up to date with everything that is in them.

use rdev_domain::{Ending, EntryBody, Error, Position, Seq, State, Status};
use rdev_ports::testing::{START, command, id, idempotency_key, new_command, slots};
use rdev_ports::{Enqueued, EventLog, NewCommand, TaskQueue};
use rdev_sql::SqlStore;
use sqlx::migrate::Migrator;

use crate::{On, Place, on_both, sqlite_connection};

on_both! {
    a_database_of_the_first_version_keeps_everything,
    what_is_pending_is_told_and_changes_nothing,
    a_database_of_a_later_version_is_refused,
}

static SQLITE: Migrator = sqlx::migrate!("../../migrations/sqlite");
static POSTGRES: Migrator = sqlx::migrate!("../../migrations/postgres");

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
    async fn of_version(&self, version: i64, rows: &str) {
        match self {
            Self::Sqlite(dir) => {
                let mut connection = sqlite_connection(dir).await;
                SQLITE.run_direct(Some(version), &mut connection, false).await.unwrap();
                sqlx::Connection::close(connection).await.unwrap();
                self.run(&rows.replace("BYTES'", "x'")).await;
            }
            Self::Postgres(database) => {
                let mut connection = database.connect().await;
                POSTGRES.run_direct(Some(version), &mut connection, false).await.unwrap();
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
    let demo = id("demo");
    let commands = store.commands(&demo, None, 10).await.unwrap();
    assert_eq!(commands[0], command("demo", 3));
    assert_eq!((commands[1].stream.as_str(), commands[1].cancel_requested), ("nightly", true));
    assert_eq!(commands[1].state, State::Running { started_at: START });
    let State::Ended { outcome, .. } = &commands[2].state else { panic!("{:?}", commands[2]) };
    assert_eq!((outcome.exit_code, outcome.message.as_deref()), (Some(3), Some("said")));
    assert!(matches!(outcome.ending, Ending::Failed(_)));

    let entries = store.read_home(&demo, Position::ZERO, 10).await.unwrap();
    let bodies: Vec<&EntryBody> = entries.iter().map(|entry| &entry.body).collect();
    assert_eq!(bodies[0], &EntryBody::Status(Status::Pending));
    assert_eq!(bodies[1], &EntryBody::Output(bytes::Bytes::from_static(&[0, 0xff])));
    assert_eq!(bodies[2], &EntryBody::Complete(outcome.clone()));
    assert_eq!((entries.len(), entries[3].last_seq), (4, Seq(5)));

    let again =
        NewCommand { idempotency: Some(idempotency_key("key-1", "a", 1)), ..new_command(command("demo", 9)) };
    assert!(matches!(store.enqueue(again).await, Ok(Enqueued::Before(first)) if first.id == commands[2].id));
    // What runs holds its key, also under the index that came later, and is claimed when its lease is over.
    let later = START + std::time::Duration::from_secs(31);
    let claims = store.claim(&id("worker-2"), slots(10), later, later).await.unwrap();
    assert_eq!(claims.len(), 1);
    assert!(claims[0].fence.attempt > 2, "a later claim has a higher number");
    assert_eq!(claims[0].last_seq, Seq(5));
    assert_eq!(claims[0].place_uid.as_deref(), Some("pod-1"));
}

async fn what_is_pending_is_told_and_changes_nothing(on: On) {
    let place = on.place().await;
    let all = place.pending().await;
    assert_eq!(all.len(), SQLITE.iter().count());
    assert_eq!(all[0], "0001 tasks and events");
    assert_eq!(place.pending().await, all, "a look has changed something");
    place.of_version(1, "").await;
    assert_eq!(place.pending().await, all[1..]);
    place.open().await.unwrap();
    assert!(place.pending().await.is_empty());
}

async fn a_database_of_a_later_version_is_refused(on: On) {
    let (store, place) = on.fresh().await;
    store.close().await;
    place
        .run(
            "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
             SELECT 9999, description, success, checksum, execution_time FROM _sqlx_migrations WHERE version = 1",
        )
        .await;
    let Err(Error::Internal(source)) = place.open().await else { panic!("it was opened") };
    assert!(format!("{source:#}").contains("9999"), "{source:#}");
}

#[test]
fn both_databases_have_the_same_migrations() {
    let names = |migrator: &Migrator| -> Vec<_> {
        migrator.iter().map(|migration| (migration.version, migration.description.clone())).collect()
    };
    assert_eq!(names(&SQLITE), names(&POSTGRES));
}
