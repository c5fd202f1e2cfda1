//! Waits until the folder of runs is no longer needed, before its pod stops.

use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::fault::Fault;
use crate::folder::Runs;
use crate::out::say;

/// Pause between two checks.
const CHECK_EVERY: Duration = Duration::from_millis(500);

/// Returns when no run is running and every ended run is collected, or this time after the last end:
/// perhaps no collector exists.
///
/// Checks names and sockets only: the runs may belong to another version of the runner.
pub(crate) fn drain(runs: &Runs, wait: Duration) -> Result<(), Fault> {
    let mut over_since = Instant::now();
    loop {
        let mut left = Vec::new();
        for (id, run) in runs.all()? {
            match run.connect() {
                Ok(Some(_)) => {
                    over_since = Instant::now();
                    left.push(id);
                }
                // A run that cannot be asked must not block for ever.
                Ok(None) | Err(_) if !run.is_collected() => left.push(id),
                Ok(None) | Err(_) => {}
            }
        }
        if left.is_empty() {
            return Ok(());
        }
        if over_since.elapsed() >= wait {
            let ids = left.iter().map(|id| format!("{id}: ended, and not collected\n")).collect::<String>();
            return say(&ids).map_err(|e| Fault::io("cannot write to standard output", e));
        }
        sleep(CHECK_EVERY);
    }
}
