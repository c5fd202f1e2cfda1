//! Orders that must hold at every step, wherever a cut comes.

use std::path::Path;

use super::Accepted;
use super::disk::Disk;
use super::trace::{Call, Step};

/// Holds what is about to be told, done or freed to be on the disk.
pub(super) fn hold(disk: &Disk, step: &Step, accepted: &[Accepted], effects: &Path) {
    match step {
        Step::Done(Call::Send { bytes, .. }) if bytes.starts_with(b"HTTP/1.1 202 ") => {
            let answer = String::from_utf8_lossy(bytes);
            for Accepted { task, id } in accepted.iter().filter(|accepted| answer.contains(&accepted.id)) {
                assert!(is_stored(disk, id), "{task:?} is accepted before it is on the disk");
            }
        }
        Step::Done(Call::Write { path, bytes, .. }) if path == effects => {
            let number = String::from_utf8_lossy(bytes);
            let of = |accepted: &&Accepted| accepted.task.number.to_string() == number.trim();
            let Accepted { task, id } = accepted.iter().find(of).expect("it was accepted");
            let started = disk.kept_names("data/runs").any(|run| run.starts_with(id.as_str()));
            assert!(started, "{task:?} runs before its start is on the disk");
        }
        Step::Done(Call::Rename { to, .. }) if to.ends_with("journal") => {
            let run = to.parent().and_then(Path::file_name).unwrap_or_default().to_string_lossy();
            for Accepted { task, .. } in accepted.iter().filter(|accepted| run.starts_with(&accepted.id)) {
                let stored = task.output().all(|line| is_stored(disk, &line));
                assert!(stored, "the journal of {task:?} is freed before its copy is on the disk");
            }
        }
        _ => {}
    }
}

/// Tells whether SQLite will find a text.
fn is_stored(disk: &Disk, text: &str) -> bool {
    let files = ["data/rdev.db", "data/rdev.db-wal"].into_iter().filter_map(|file| disk.kept(file));
    files.into_iter().any(|bytes| String::from_utf8_lossy(bytes).contains(text))
}
