//! Frees disk space.

use std::io::{self, Write};
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use crate::clock::now_us;
use crate::fault::Fault;
use crate::folder::{Run, RunId, Runs, create};
use crate::list::{State, state};
use crate::orphans;
use crate::out::say;

/// Minimum age at which the scratch folder of a dead process is removed: the process may only be
/// invisible.
const SCRATCH_AGE: Duration = Duration::from_secs(60);

/// Removes the output of one finished run, and keeps its exit entry, so its id stays taken. A missing run
/// has nothing to remove.
pub(crate) fn shrink(runs: &Runs, id: &RunId) -> Result<(), Fault> {
    let Some(run) = runs.find(id)? else { return report(&format!("{id}: not found\n")) };
    let mut entry = Vec::new();
    match state(&run)?.0 {
        State::Running => return report(&format!("{id}: still running, kept\n")),
        State::Exited(frame, _) => frame.encode(&mut entry),
        // None of its processes may go on, whether or not the loss was reported.
        State::Lost => orphans::end(runs, id)?,
    }
    let size = std::fs::metadata(run.journal_path()).map_or(0, |journal| journal.len());
    replace(&run, &entry)
        .and_then(|()| run.mark_collected())
        .map_err(|e| Fault::io(format!("cannot shrink \"{id}\""), e))?;
    report(&format!("{id}: {} bytes of output removed\n", size.saturating_sub(entry.len() as u64)))
}

/// Replaces the journal atomically; a reader of the old one can read to its end.
fn replace(run: &Run, bytes: &[u8]) -> io::Result<()> {
    let new = run.path().join("journal.new");
    // A collector that was killed here may have left a file.
    std::fs::remove_file(&new).ok();
    let mut file = create(&new)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&new, run.journal_path())?;
    run.sync_names()
}

/// Removes every collected run that ended longer than `age` ago: the requester knows its end. An
/// uncollected run stays, however old it is.
pub(crate) fn remove_older(runs: &Runs, age: Duration) -> Result<(), Fault> {
    let limit_us = now_us().saturating_sub(u64::try_from(age.as_micros()).unwrap_or(u64::MAX));
    for (id, run) in runs.all()? {
        if !run.is_collected() {
            continue;
        }
        let ended_us = match state(&run)?.0 {
            State::Running => continue,
            State::Exited(frame, _) => frame.time_us,
            State::Lost => modified_us(&run.journal_path()),
        };
        if ended_us < limit_us {
            // Renamed to a scratch name first: a half removed run must not count as a run.
            let scratch = runs.scratch(&id);
            std::fs::rename(run.path(), &scratch)
                .and_then(|()| std::fs::remove_dir_all(&scratch))
                .map_err(|e| Fault::io(format!("cannot remove {}", run.path().display()), e))?;
            report(&format!("{id}: removed\n"))?;
        }
    }
    Ok(())
}

/// Removes the marks of runs that are gone, when they are older than `age`: no request for such a start is
/// pending any more.
pub(crate) fn remove_marks(runs: &Runs, age: Duration) -> Result<(), Fault> {
    for mark in runs.all_marks_alone()? {
        let age_us = now_us().saturating_sub(modified_us(&mark));
        if u128::from(age_us) > age.as_micros() {
            std::fs::remove_file(&mark)
                .map_err(|e| Fault::io(format!("cannot remove {}", mark.display()), e))?;
        }
    }
    Ok(())
}

/// Removes folders that killed starters and removers have left.
pub(crate) fn remove_scratch(runs: &Runs) -> Result<(), Fault> {
    for (pid, path) in runs.all_scratch()? {
        let age_us = now_us().saturating_sub(modified_us(&path));
        let alive = Path::new("/proc").join(pid.to_string()).exists();
        if !alive && u128::from(age_us) > SCRATCH_AGE.as_micros() {
            std::fs::remove_dir_all(&path)
                .map_err(|e| Fault::io(format!("cannot remove {}", path.display()), e))?;
            report(&format!("{}: unfinished, removed\n", path.display()))?;
        }
    }
    Ok(())
}

fn modified_us(path: &Path) -> u64 {
    let modified = std::fs::metadata(path).and_then(|meta| meta.modified());
    let since = modified.ok().and_then(|at| at.duration_since(UNIX_EPOCH).ok());
    since.map_or(0, |since| since.as_micros() as u64)
}

fn report(line: &str) -> Result<(), Fault> {
    say(line).map_err(|e| Fault::io("cannot write the report", e))
}
