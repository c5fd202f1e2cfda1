//! Orphans: the processes of a run whose supervisor cannot end them, since it was killed, or cannot be
//! found because the run's folder is gone.
//!
//! The environment of a command names its run. A process with that mark, its descendants, and the members
//! of its session or process group belong to the run. A process escapes only by all three: it left the
//! session, lost its parent, and started with an environment of its own.

use std::collections::HashSet;
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::time::{Duration, Instant};

use rustix::process::getpid;

use crate::fault::Fault;
use crate::folder::{RunId, Runs};
use crate::processes::{Process, UniquePid, each, freeze_and_kill};

/// Time after which a surviving process counts as unkillable: it hangs in the kernel or belongs to
/// another user.
const PATIENCE: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(5);
/// Longest wait for a process that is starting a program: the kernel needs microseconds, unless a disk is slow.
const STARTING_MAX: Duration = Duration::from_millis(100);

/// Variables of a run's command.
const RUN_ID: &str = "RDEV_RUN_ID";
const RUNS_DIR: &str = "RDEV_RUNS_DIR";

/// Mark of the processes of a run.
#[derive(Debug)]
pub(crate) struct Mark {
    variables: [(&'static str, OsString); 2],
}

impl Mark {
    pub(crate) fn of(runs: &Runs, id: &RunId) -> Self {
        Self { variables: [(RUN_ID, id.to_string().into()), (RUNS_DIR, runs.real_path().into())] }
    }

    /// Returns the variables for the command's environment.
    pub(crate) fn variables(&self) -> impl Iterator<Item = (&'static str, &OsString)> {
        self.variables.iter().map(|(name, value)| (*name, value))
    }

    /// Tells whether the process started with the mark, as far as its environment is readable.
    fn is_on(&self, process: &Process) -> bool {
        let environment = environment(process);
        self.variables.iter().all(|(name, value)| {
            let is_set = |entry: &[u8]| {
                let rest = entry.strip_prefix(name.as_bytes()).and_then(|rest| rest.strip_prefix(b"="));
                rest == Some(value.as_bytes())
            };
            environment.split(|&byte| byte == 0).any(is_set)
        })
    }

    /// Returns every process of the run; those of earlier calls are `known`. Each is passed to `found`.
    fn processes(&self, known: &mut HashSet<UniquePid>, found: &mut dyn FnMut(&Process)) -> Vec<Process> {
        let mut all = Vec::new();
        each(|process| all.push(process));
        all.retain(|process| process.pid != getpid());
        let alive: HashSet<i32> = all.iter().map(|process| process.pid.as_raw_pid()).collect();
        let mut ours: HashSet<i32> = HashSet::new();
        let mut take = |process: &Process, ours: &mut HashSet<i32>| {
            if ours.insert(process.pid.as_raw_pid()) {
                found(process);
            }
        };
        let is_known = |process: &Process| known.contains(&process.unique_pid());
        let marked: Vec<_> = all.iter().filter(|process| is_known(process) || self.is_on(process)).collect();
        for process in &marked {
            take(process, &mut ours);
        }
        // A live leader is the parent of everything that it started.
        let leads_them = |leader: &&Process| marked.iter().any(|of| of.session == leader.pid.as_raw_pid());
        for supervisor in all.iter().filter(leads_them).filter(|leader| is_supervisor(leader)) {
            take(supervisor, &mut ours);
        }
        loop {
            let before = ours.len();
            // A leader that is gone was the supervisor, or of the run; any other is unrelated.
            let led = |leader: i32| ours.contains(&leader) || !alive.contains(&leader);
            let members = all.iter().filter(|process| ours.contains(&process.pid.as_raw_pid()));
            let (sessions, groups): (HashSet<i32>, HashSet<i32>) =
                members.map(|process| (process.session, process.group)).unzip();
            let belongs = |process: &&Process| {
                let Process { parent, group, session, .. } = **process;
                ours.contains(&parent)
                    || (sessions.contains(&session) && led(session))
                    || (groups.contains(&group) && led(group))
            };
            let more: Vec<_> = all.iter().filter(belongs).collect();
            for process in more {
                take(process, &mut ours);
            }
            if ours.len() == before {
                all.retain(|process| ours.contains(&process.pid.as_raw_pid()));
                known.extend(all.iter().map(Process::unique_pid));
                return all;
            }
        }
    }
}

/// Ends every process of a lost run, and returns when none is left.
///
/// # Errors
/// When a process cannot be ended.
pub(crate) fn end(runs: &Runs, id: &RunId) -> Result<(), Fault> {
    let mark = Mark::of(runs, id);
    let until = Instant::now() + PATIENCE;
    // The parent that told of a process may end before it: the kernel hangs up on a stopped group when the supervisor,
    // which is still ending, leaves it an orphan.
    let mut known = HashSet::new();
    loop {
        let left = freeze_and_kill(until, |found| mark.processes(&mut known, found));
        if left.is_empty() {
            return Ok(());
        }
        if Instant::now() >= until {
            let pids: Vec<String> = left.iter().map(|process| process.pid.to_string()).collect();
            let pids = pids.join(", ");
            return Err(Fault::failed(format!("processes of the lost run \"{id}\" cannot be ended: {pids}")));
        }
        std::thread::sleep(POLL);
    }
}

/// Reads the environment of a process. While a process starts a program it has none, and nothing else may tell that it
/// belongs to a run: its session is its own and its parent has ended. So the program's environment is waited for.
fn environment(process: &Process) -> Vec<u8> {
    let read = || std::fs::read(format!("/proc/{}/environ", process.pid)).unwrap_or_default();
    let until = Instant::now() + STARTING_MAX;
    loop {
        let environment = read();
        if !environment.is_empty() {
            return environment;
        }
        if !is_starting(process) || Instant::now() >= until {
            // The start may have ended since the first read.
            return read();
        }
        std::thread::yield_now();
    }
}

/// Tells whether the process is starting a program: it has a program, but neither arguments nor an environment yet.
fn is_starting(process: &Process) -> bool {
    let file = |name: &str| format!("/proc/{}/{name}", process.pid);
    let arguments = std::fs::read(file("cmdline"));
    arguments.is_ok_and(|arguments| arguments.is_empty()) && std::fs::read_link(file("exe")).is_ok()
}

/// Tells whether the process is a supervisor, by its arguments: `… supervise --runs DIR`.
fn is_supervisor(process: &Process) -> bool {
    folder_of_supervisor(process).is_some()
}

/// Tells whether the process is a supervisor of this folder of runs.
pub(crate) fn is_supervisor_of(runs: &Runs, process: &Process) -> bool {
    folder_of_supervisor(process).is_some_and(|folder| folder == runs.0.as_os_str().as_bytes())
}

fn folder_of_supervisor(process: &Process) -> Option<Vec<u8>> {
    let arguments = std::fs::read(format!("/proc/{}/cmdline", process.pid)).unwrap_or_default();
    let mut last = arguments.split(|&byte| byte == 0).rev().skip(1);
    let (folder, option, verb) = (last.next()?, last.next()?, last.next()?);
    (verb == b"supervise" && option == b"--runs").then(|| folder.to_owned())
}
