//! Waiting until nobody needs the folder of runs any more: before its pod goes.

use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::fault::Fault;
use crate::folder::Runs;
use crate::out::say;

/// Pause between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Returns when no run is running and each that is over was collected, or so long after the last one was seen to run:
/// nobody may be there to collect.
///
/// Only names are looked at, and sockets asked: the runs may be of a runner of another version.
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
                // One that cannot be asked is not waited for without end.
                Ok(None) | Err(_) if !run.is_collected() => left.push(id),
                Ok(None) | Err(_) => {}
            }
        }
        if left.is_empty() {
            return Ok(());
        }
        if over_since.elapsed() >= wait {
            let ids = left.iter().map(|id| format!("{id}: over, and not collected\n")).collect::<String>();
            return say(&ids).map_err(|e| Fault::io("cannot write to standard output", e));
        }
        sleep(LOOK_EVERY);
    }
}
