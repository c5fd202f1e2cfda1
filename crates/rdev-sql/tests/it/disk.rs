//! The disk below a SQLite file: what is flushed to it, and what becomes of a store whose calls to it fail for a while.
//! Each is seen by strace, or on a file system of its own, which a test starts around itself.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use rdev_domain::{Error, Position, Result};
use rdev_ports::testing::{START, chunk, id, job, slots};
use rdev_ports::{EventLog, TaskLeases, TaskQueue};
use rdev_sql::SqlStore;
use tempfile::TempDir;

/// Names the folder in which a test that strace has started is to work.
const FOLDER: &str = "RDEV_TEST_FOLDER";
/// Faults that a store sees, and what goes well in a row after them.
const FAULTS_MIN: usize = 3;
const WELL_MIN: usize = 20;
/// A file system's bytes.
const SMALL_DISK: usize = 8 << 20;
/// Longest that a child takes to see a fault, and its end.
const CHILD_TIMEOUT: Duration = Duration::from_secs(60);

/// Runs one of the tests that are ignored, in a folder of its own, under strace.
fn under_strace(test: &str, options: &[&str]) -> (TempDir, Output) {
    let dir = tempfile::tempdir().unwrap();
    let mut strace = Command::new("strace");
    strace.args(["-f", "-y", "-o"]).arg(dir.path().join("trace")).args(options).arg("--");
    strace.arg(std::env::current_exe().unwrap()).args(["--exact", "--ignored", test]);
    let output = strace.env(FOLDER, dir.path()).output().expect("strace is installed");
    (dir, output)
}

#[expect(clippy::disallowed_methods, reason = "the test that has started this one says where it works")]
fn folder() -> PathBuf {
    std::env::var_os(FOLDER).expect("it is started by another test").into()
}

async fn open(folder: &Path) -> Result<SqlStore> {
    SqlStore::sqlite(&folder.join("rdev.db")).await
}

#[tokio::test]
#[ignore = "under strace, by what_was_stored_is_on_the_disk_after_one_flush"]
async fn store_and_flush() {
    let store = open(&folder()).await.unwrap();
    store.enqueue(&job("demo", 1), None).await.unwrap();
    let fence = store.claim(&id("worker-1"), slots(1), START, START).await.unwrap().remove(0).fence;
    store.start(&fence, "pod-1", None, START).await.unwrap();
    std::fs::write(folder().join("appending"), "").unwrap();
    store.append(&fence, vec![chunk(1, 3)], START).await.unwrap();
    std::fs::write(folder().join("flushing"), "").unwrap();
    store.flush().await.unwrap();
    std::fs::write(folder().join("flushed"), "").unwrap();
    store.close().await;
}

#[test]
fn what_was_stored_is_on_the_disk_after_one_flush() {
    let calls = "--trace=openat,pwrite64,fsync,fdatasync";
    let (dir, output) = under_strace("disk::store_and_flush", &[calls]);
    assert!(output.status.success(), "{output:?}");
    let trace = std::fs::read_to_string(dir.path().join("trace")).unwrap();
    let after = |name: &str| trace.find(&format!("/{name}\"")).unwrap_or_else(|| panic!("{name}: {trace}"));
    let (appending, flushing, flushed) = (after("appending"), after("flushing"), after("flushed"));
    let of_log = |part: &str, call: &str| -> Vec<usize> {
        let lines = part.lines().enumerate();
        let of_log = lines.filter(|(_, line)| line.contains(call) && line.contains("rdev.db-wal>"));
        of_log.map(|(number, _)| number).collect()
    };
    let (append, flush) = (&trace[appending..flushing], &trace[flushing..flushed]);
    assert!(!of_log(append, "pwrite64").is_empty(), "output is written at once: {append}");
    assert!(of_log(append, "sync(").is_empty(), "and waits for no disk: {append}");
    assert!(of_log(flush, "pwrite64").is_empty(), "nothing is written after its flush: {flush}");
    assert_eq!(of_log(flush, "sync(").len(), 1, "{flush}");
}

/// Reads and writes until that has failed and gone well again, several times.
#[tokio::test]
#[ignore = "under strace, by a_disk_that_fails_for_a_while_needs_no_restart"]
async fn work_through_faults() {
    let folder = folder();
    let working = async {
        let store = loop {
            match open(&folder).await {
                Ok(store) => break store,
                Err(Error::Unavailable { .. }) => {}
                Err(error) => panic!("{error:?}"),
            }
        };
        let (mut stored, mut faults, mut well) = (Vec::new(), 0, 0);
        for n in 1.. {
            let new = job("demo", n);
            let accepted = async {
                store.enqueue(&new, None).await?;
                store.settled().await
            };
            let written = accepted.await.map(|()| stored.push(new.id));
            let read = store
                .read_view(&rdev_ports::testing::log_of("demo"), Position::ZERO, 1_000_000)
                .await
                .map(|_| ());
            for done in [written, read, store.check().await] {
                match done {
                    Ok(()) => well += 1,
                    Err(Error::Unavailable { .. }) => (faults, well) = (faults + 1, 0),
                    Err(error) => panic!("after {faults} faults: {error:?}"),
                }
            }
            if faults >= FAULTS_MIN && well >= WELL_MIN {
                break;
            }
        }
        for id in stored {
            assert_eq!(store.last_seq(&id).await.unwrap(), Some(rdev_domain::Seq::ZERO), "{id} was accepted");
        }
        store.close().await;
    };
    tokio::time::timeout(CHILD_TIMEOUT, working).await.expect("the fault is seen, and its end");
}

#[test]
fn a_disk_that_fails_for_a_while_needs_no_restart() {
    // Strace counts the calls of each thread, which is those of a connection: one that is opened anew has some more
    // before its faults come. Those of the first are behind its opening.
    for (call, error, when) in [
        ("pwrite64", "EIO", "600..650"),
        ("pwrite64", "ENOSPC", "600..650"),
        ("pread64", "EIO", "100..110"),
        ("fsync,fdatasync", "EIO", "30..32"),
    ] {
        let inject = format!("--inject={call}:error={error}:when={when}");
        let trace = format!("--trace={call}");
        let (dir, output) = under_strace("disk::work_through_faults", &[&trace, &inject]);
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{call} {error}: {said}");
        assert!(said.contains("1 passed"), "{call} {error}: {said}");
        let trace = std::fs::read_to_string(dir.path().join("trace")).unwrap();
        assert!(trace.contains("(INJECTED)"), "{call} {error} never failed");
    }
}

#[tokio::test]
#[ignore = "on a small file system, by a_full_file_system_needs_room_and_no_restart"]
async fn fill_and_free() {
    let (store, demo) = (open(&folder()).await.unwrap(), rdev_ports::testing::target("demo"));
    store.enqueue(&job("demo", 1), None).await.unwrap();
    let filler = folder().join("filler");
    let full = std::fs::write(&filler, vec![0; SMALL_DISK]).unwrap_err();
    assert_eq!(full.kind(), std::io::ErrorKind::StorageFull);
    let mut accepted = 1;
    // The file of writes ahead may have room of its own.
    let refused = loop {
        match store.enqueue(&job("demo", accepted + 1), None).await {
            Ok(_) => accepted += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(refused, Error::Unavailable { .. }), "{refused:?}");
    for _ in 0..3 {
        let refused = store.enqueue(&job("demo", accepted + 1), None).await.unwrap_err();
        assert!(matches!(refused, Error::Unavailable { .. }), "{refused:?}");
        assert_eq!(
            store.jobs(&demo, &rdev_ports::JobFilter::default(), None, 1000).await.unwrap().len() as u64,
            accepted
        );
    }
    // The disk has everything that was stored, though it takes nothing more.
    store.flush().await.unwrap();
    let told = async { while store.check().await.is_ok() {} };
    tokio::time::timeout(CHILD_TIMEOUT, told).await.expect("it is not sound any more");

    std::fs::remove_file(filler).unwrap();
    store.check().await.unwrap();
    store.enqueue(&job("demo", accepted + 1), None).await.unwrap();
    assert_eq!(
        store.jobs(&demo, &rdev_ports::JobFilter::default(), None, 1000).await.unwrap().len() as u64,
        accepted + 1
    );
}

#[test]
fn a_full_file_system_needs_room_and_no_restart() {
    let dir = tempfile::tempdir().unwrap();
    let mount = format!("mount -t tmpfs -o size={SMALL_DISK} tmpfs \"${FOLDER}\" && exec \"$0\" \"$@\"");
    let output = Command::new("unshare")
        .args(["--mount", "--user", "--map-root-user", "sh", "-c", &mount])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "--ignored", "disk::fill_and_free"])
        .env(FOLDER, dir.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("1 passed"), "{output:?}");
}
