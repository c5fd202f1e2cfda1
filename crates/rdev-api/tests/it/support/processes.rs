//! Looking at processes, and ending those that a test has left behind.

use std::collections::HashSet;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// Longest time that killed processes may take to go.
const GOING: Duration = Duration::from_secs(10);

/// Memory of a process, measured against a beginning.
#[derive(Debug)]
pub(crate) struct Memory {
    pid: u32,
    resident_before: u64,
}

impl Memory {
    /// Begins to watch: what it has now counts as its own, the peak is forgotten.
    pub(crate) fn watch(pid: u32) -> Self {
        fs::write(format!("/proc/{pid}/clear_refs"), "5").expect("the peak can be reset");
        Self { pid, resident_before: status_bytes(pid, "VmRSS") }
    }

    /// Returns the largest growth since the beginning, in bytes.
    pub(crate) fn grown(&self) -> u64 {
        status_bytes(self.pid, "VmHWM").saturating_sub(self.resident_before)
    }
}

fn status_bytes(pid: u32, field: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("the process lives");
    let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    let kib: u64 = line
        .and_then(|line| line.trim().strip_suffix(" kB"))
        .and_then(|kib| kib.parse().ok())
        .unwrap_or_else(|| panic!("no {field} in {status}"));
    kib * 1024
}

/// Tells whether there is such a process, and it is more than an entry that waits to be taken note of.
pub(super) fn lives(pid: &str) -> bool {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

pub(super) fn signal(pid: u32, signal: Signal) {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).expect("a process number");
    // One that is gone has what it was to get.
    kill_process(pid, signal).ok();
}

/// Every process that was started for this data folder: its environment says so, also that of supervisors
/// that have left everything else behind, and of what their commands have started; or it works there.
pub(super) fn of_data_dir(data_dir: &Path) -> HashSet<u32> {
    let variable = [b"RDEV_RUNS_DIR=", data_dir.join("runs").as_os_str().as_bytes()].concat();
    let own = std::process::id();
    let numbers = fs::read_dir("/proc").expect("/proc can be read").filter_map(|entry| {
        let pid: u32 = entry.ok()?.file_name().to_str()?.parse().ok()?;
        let folder = PathBuf::from(format!("/proc/{pid}"));
        let environment = fs::read(folder.join("environ")).unwrap_or_default();
        let here = environment.split(|byte| *byte == 0).any(|entry| entry == variable)
            || fs::read_link(folder.join("cwd")).is_ok_and(|cwd| cwd.starts_with(data_dir));
        (here && pid != own && lives(&pid.to_string())).then_some(pid)
    });
    numbers.collect()
}

/// Returns the number of processes that work in this folder.
pub(super) fn working_in(folder: &Path) -> usize {
    let entries = fs::read_dir("/proc").expect("/proc can be read").flatten();
    let there = |path: PathBuf| fs::read_link(path.join("cwd")).is_ok_and(|cwd| cwd.starts_with(folder));
    entries.filter(|entry| there(entry.path())).count()
}

/// Kills until nothing is left: what is killed may be starting something.
pub(super) fn end_all(data_dir: &Path) {
    let until = Instant::now() + GOING;
    loop {
        let left = of_data_dir(data_dir);
        if left.is_empty() || Instant::now() > until {
            return;
        }
        left.into_iter().for_each(|pid| signal(pid, Signal::KILL));
        std::thread::sleep(Duration::from_millis(10));
    }
}
