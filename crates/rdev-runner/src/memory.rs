//! Memory of runs: measures their processes, and stores the peak with each run, so that the run that
//! exhausted a container can be named after all of them were lost.

use std::collections::HashMap;
use std::fs;

use rustix::process::{Pid, getpid};

use crate::folder::{Run, Runs};
use crate::orphans::is_supervisor_of;
use crate::processes::{Process, each};

/// The record is rewritten after growth by this part: a tenth.
const GROWTH_PART: u64 = 10;

/// The peak memory of the processes of a run, as far as it was observed.
#[derive(Debug)]
pub(crate) struct PeakMemory(u64);

impl PeakMemory {
    /// Begins with zero.
    pub(crate) fn begin(run: &Run) -> Self {
        run.store_peak_memory(0, container().unwrap_or_default());
        Self(0)
    }

    /// Stores a new peak with the run.
    pub(crate) fn raise(&mut self, run: &Run, bytes: u64) {
        if bytes > self.0.saturating_add(self.0 / GROWTH_PART) {
            self.0 = bytes;
            run.store_peak_memory(bytes, container().unwrap_or_default());
        }
    }
}

/// Tells whether another run lost with the same container had more memory than this one.
pub(crate) fn another_had_more(runs: &Runs, run: &Run) -> bool {
    let Some((bytes, container)) = run.peak_memory() else { return false };
    let others = runs.all().unwrap_or_default().into_iter().map(|(_, run)| run);
    let mut lost = others.filter(|other| other.has_socket() && matches!(other.connect(), Ok(None)));
    lost.any(|other| other.peak_memory().is_some_and(|(more, of)| of == container && more > bytes))
}

/// Returns a mark of this container, distinct from those before and after it: the start time of its first
/// process, in ticks.
fn container() -> Option<u64> {
    Process::read(Pid::INIT).map(|first| first.started)
}

/// Returns the bytes of all processes below this one.
pub(crate) fn below_this() -> u64 {
    by_supervisor(|process| process.pid == getpid()).values().sum()
}

/// Tells whether no other supervisor of this folder has more memory below it. Equal ones are ordered by
/// process id.
pub(crate) fn is_largest(runs: &Runs) -> bool {
    let all = by_supervisor(|process| process.pid == getpid() || is_supervisor_of(runs, process));
    let largest = all.into_iter().max_by_key(|&(pid, bytes)| (bytes, pid));
    largest.is_some_and(|(pid, _)| pid == getpid().as_raw_pid())
}

/// Returns the bytes of all processes below each of the `wanted` ones.
fn by_supervisor(wanted: impl Fn(&Process) -> bool) -> HashMap<i32, u64> {
    let mut all = HashMap::new();
    each(|process| {
        all.insert(process.pid.as_raw_pid(), process);
    });
    let mut sums: HashMap<i32, u64> =
        all.values().filter(|process| wanted(process)).map(|process| (process.pid.as_raw_pid(), 0)).collect();
    for process in all.values() {
        let mut above = process.parent;
        // Bounded by the number of processes: reused process ids could form a circle.
        for _ in 0..all.len() {
            if let Some(sum) = sums.get_mut(&above) {
                *sum += bytes_of(process.pid);
                break;
            }
            match all.get(&above) {
                Some(parent) => above = parent.parent,
                None => break,
            }
        }
    }
    sums
}

/// Returns the memory of a process that is not backed by files.
fn bytes_of(pid: Pid) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let of = |line: &str| {
        let rest = line.strip_prefix("RssAnon:").or_else(|| line.strip_prefix("RssShmem:"))?;
        rest.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()
    };
    status.lines().filter_map(of).sum::<u64>() * 1024
}
