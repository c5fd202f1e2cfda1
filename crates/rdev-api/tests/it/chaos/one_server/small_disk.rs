//! A disk that is small enough to be filled: a file system in memory, which only a test and what it starts can see.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::support::variable;

/// Names the folder in which the test works; the disk is in it.
const FOLDER: &str = "RDEV_TEST_FOLDER";
const BLOCK: usize = 64 << 10;
/// End of the server's log that is shown where something has gone wrong, in bytes.
const LOG_SHOWN: usize = 6_000;

/// The disk, of a test that [`on_small_disk`] has started.
#[derive(Debug)]
pub(super) struct SmallDisk {
    folder: PathBuf,
    /// Counts what is done to the disk.
    changes: AtomicU64,
    /// Something was refused since it is full.
    noticed: AtomicBool,
}

/// Runs one of the tests that are ignored with its temporary folders on a small disk of its own, which has room for a
/// database, programs and journals.
pub(super) fn on_small_disk(test: &str, bytes: usize) {
    let folder = tempfile::Builder::new().prefix("rdev-it-").tempdir().expect("a temporary folder");
    let disk = folder.path().join("disk");
    fs::create_dir(&disk).expect("a folder can be made");
    let mount = format!("mount -t tmpfs -o size={bytes} tmpfs \"$TMPDIR\" && exec \"$0\" \"$@\"");
    let output = Command::new("unshare")
        .args(["--mount", "--user", "--map-root-user", "sh", "-c", &mount])
        .arg(std::env::current_exe().expect("the test is a program"))
        .args(["--exact", "--ignored", "--nocapture", test])
        .env(FOLDER, folder.path())
        .env("TMPDIR", &disk)
        .output()
        .expect("unshare is installed");
    let said = String::from_utf8_lossy(&output.stdout);
    println!("{said}{}", String::from_utf8_lossy(&output.stderr));
    let log = fs::read_to_string(folder.path().join("log")).unwrap_or_default();
    let end = log.ceil_char_boundary(log.len().saturating_sub(LOG_SHOWN));
    let went_well = output.status.success() && said.contains("1 passed");
    assert!(went_well, "the end of the server's log: {}", &log[end..]);
}

impl SmallDisk {
    pub(super) fn given() -> Self {
        let folder = variable(FOLDER).expect("it is started by another test").into();
        Self { folder, changes: AtomicU64::new(0), noticed: AtomicBool::new(false) }
    }

    /// A path beside the disk, where there is always room.
    pub(super) fn beside(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Fills it to the last block.
    pub(super) fn fill(&self) {
        self.noticed.store(false, Ordering::SeqCst);
        self.changes.fetch_add(1, Ordering::SeqCst);
        let mut ballast = File::create(self.ballast()).expect("a file can be made");
        let mut block = vec![0; BLOCK];
        while !block.is_empty() {
            match ballast.write(&block) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::StorageFull => block.truncate(block.len() / 2),
                Err(error) => panic!("{error}"),
            }
        }
        self.changes.fetch_add(1, Ordering::SeqCst);
    }

    /// Gives the room back.
    pub(super) fn empty(&self) {
        self.changes.fetch_add(1, Ordering::SeqCst);
        fs::remove_file(self.ballast()).expect("it is full");
        self.changes.fetch_add(1, Ordering::SeqCst);
    }

    /// Another number after each change.
    pub(super) fn changes(&self) -> u64 {
        self.changes.load(Ordering::SeqCst)
    }

    pub(super) fn is_full(&self) -> bool {
        self.ballast().exists()
    }

    /// Somebody was refused.
    pub(super) fn notice(&self) {
        self.noticed.store(true, Ordering::SeqCst);
    }

    pub(super) fn was_noticed(&self) -> bool {
        self.noticed.load(Ordering::SeqCst)
    }

    fn ballast(&self) -> PathBuf {
        self.folder.join("disk").join("ballast")
    }
}
