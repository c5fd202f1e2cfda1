//! Memory of runs: how much their processes have, and what is kept of that with a run, for when it was lost with its
//! container and somebody asks whose doing it was.

use std::collections::HashMap;
use std::fs;

use rustix::process::{Pid, getpid};

use crate::folder::{Run, Runs};
use crate::processes::{Process, each};
use crate::remains::is_supervisor_of;

/// It is written anew when it has grown by so much: a tenth.
const GROWTH_PART: u64 = 10;

/// The most memory that the processes of a run have had at a time, as far as it was seen.
#[derive(Debug)]
pub(crate) struct Kept(u64);

impl Kept {
    /// Begins with none.
    pub(crate) fn begin(run: &Run) -> Self {
        run.keep_memory(0, container().unwrap_or_default());
        Self(0)
    }

    /// Keeps it with the run, if it is more.
    pub(crate) fn raise(&mut self, run: &Run, bytes: u64) {
        if bytes > self.0.saturating_add(self.0 / GROWTH_PART) {
            self.0 = bytes;
            run.keep_memory(bytes, container().unwrap_or_default());
        }
    }
}

/// Tells whether another run that went with the same container had more memory than this one.
pub(crate) fn another_had_more(runs: &Runs, run: &Run) -> bool {
    let Some((bytes, container)) = run.kept_memory() else { return false };
    let others = runs.all().unwrap_or_default().into_iter().map(|(_, run)| run);
    let mut lost = others.filter(|other| other.has_socket() && matches!(other.connect(), Ok(None)));
    lost.any(|other| other.kept_memory().is_some_and(|(more, of)| of == container && more > bytes))
}

/// Tells this container from others, before and after it: the time at which its first process started, in ticks.
fn container() -> Option<u64> {
    let stat = fs::read_to_string("/proc/1/stat").ok()?;
    stat.rsplit(')').next()?.split_whitespace().nth(19)?.parse().ok()
}

/// Bytes of all processes below this one.
pub(crate) fn below_this() -> u64 {
    by_supervisor(|process| process.pid == getpid()).values().sum()
}

/// Tells whether no other supervisor of this folder has more below it. Of those with the same one is taken.
pub(crate) fn is_largest(runs: &Runs) -> bool {
    let all = by_supervisor(|process| process.pid == getpid() || is_supervisor_of(runs, process));
    let largest = all.into_iter().max_by_key(|&(pid, bytes)| (bytes, pid));
    largest.is_some_and(|(pid, _)| pid == getpid().as_raw_pid())
}

/// Bytes of all processes below each of those that are `wanted`.
fn by_supervisor(wanted: impl Fn(&Process) -> bool) -> HashMap<i32, u64> {
    let mut all = HashMap::new();
    each(|process| {
        all.insert(process.pid.as_raw_pid(), process);
    });
    let mut sums: HashMap<i32, u64> =
        all.values().filter(|process| wanted(process)).map(|process| (process.pid.as_raw_pid(), 0)).collect();
    for process in all.values() {
        let mut above = process.parent;
        // As deep as there are processes: numbers that were given anew meanwhile could make a circle.
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

/// Memory of a process that no file stands behind.
fn bytes_of(pid: Pid) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let of = |line: &str| {
        let rest = line.strip_prefix("RssAnon:").or_else(|| line.strip_prefix("RssShmem:"))?;
        rest.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()
    };
    status.lines().filter_map(of).sum::<u64>() * 1024
}
