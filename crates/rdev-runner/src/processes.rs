//! Processes of this machine, from /proc, and signals to many of them.

use std::collections::HashSet;
use std::fs::File;
use std::io::Read;
use std::time::Instant;

use memchr::memrchr;
use rustix::process::{Pid, Signal, getpgrp, kill_process, kill_process_group};

/// Enough for every field that matters, whatever the process is called.
const STAT_BYTES: usize = 512;
/// Flag `PF_EXITING` of a process that has begun to end. Then its files close, and at last it becomes a zombie.
const EXITING: u64 = 0x4;

/// One process that has not ended.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Process {
    pub(crate) pid: Pid,
    pub(crate) parent: i32,
    pub(crate) group: i32,
    pub(crate) session: i32,
    /// The process cannot fork: it is stopped, or hangs in the kernel with our stop pending.
    still: bool,
    /// The process is ending: nothing of its program runs any more.
    pub(crate) exiting: bool,
    /// Time of its start, in the kernel's clock ticks.
    pub(crate) started: u64,
}

/// Process id and time of the start: no other process ever has both.
pub(crate) type UniquePid = (Pid, u64);

impl Process {
    /// Reads a process; `None` for one that has ended.
    pub(crate) fn read(pid: Pid) -> Option<Self> {
        let mut stat = [0; STAT_BYTES];
        // A process that ends during the read has no file any more, which means the same.
        let n = File::open(format!("/proc/{pid}/stat")).and_then(|mut file| file.read(&mut stat)).ok()?;
        parse(pid, &stat[..n])
    }

    /// Returns what tells the process from every other one.
    pub(crate) fn unique_pid(&self) -> UniquePid {
        (self.pid, self.started)
    }
}

/// Sends a signal once to each of `processes`, which were found a moment ago.
pub(crate) fn send(processes: &[Process], signal: Signal) {
    let mut sender = Sender::new(signal);
    processes.iter().for_each(|process| sender.send(process));
}

/// Stops all processes that `find` finds, and then kills them; returns them. `find` passes each process
/// to its argument as soon as it is found.
///
/// Killing alone would never end a fork bomb under a process limit: each death makes room for a birth. A
/// stopped process keeps its slot and cannot fork, so the rounds converge. `until` is their latest end.
pub(crate) fn freeze_and_kill(
    until: Instant,
    mut find: impl FnMut(&mut dyn FnMut(&Process)) -> Vec<Process>,
) -> Vec<Process> {
    loop {
        let mut stop = Sender::new(Signal::STOP);
        let processes = find(&mut |process| stop.send(process));
        if processes.iter().all(|process| process.still) || Instant::now() >= until {
            send(&processes, Signal::KILL);
            return processes;
        }
    }
}

/// Sends one signal to many processes.
///
/// A group receives the signal at once, so that none of its members can fork a new one meanwhile. The
/// group of a descendant holds descendants only, except when it is our own.
struct Sender {
    signal: Signal,
    groups: HashSet<i32>,
    own: i32,
}

impl Sender {
    fn new(signal: Signal) -> Self {
        Self { signal, groups: HashSet::new(), own: getpgrp().as_raw_pid() }
    }

    fn send(&mut self, process: &Process) {
        // A process that cannot be signalled has ended, or belongs to another user; the next round checks
        // both.
        match Pid::from_raw(process.group) {
            Some(group) if process.group != self.own => {
                if self.groups.insert(process.group) {
                    kill_process_group(group, self.signal).ok();
                }
            }
            _ => {
                kill_process(process.pid, self.signal).ok();
            }
        }
    }
}

/// Passes every process that has not ended to `seen`.
pub(crate) fn each(mut seen: impl FnMut(Process)) {
    // Without /proc no process is visible; the container would not have started.
    let Ok(entries) = std::fs::read_dir("/proc") else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let pid = name.to_str().and_then(|name| name.parse().ok()).and_then(Pid::from_raw);
        if let Some(process) = pid.and_then(Process::read) {
            seen(process);
        }
    }
}

/// Reads the fields of a `stat` line; `None` for a process that has ended.
fn parse(pid: Pid, stat: &[u8]) -> Option<Process> {
    // The name before these fields may hold any bytes, blanks and brackets included.
    let fields = std::str::from_utf8(&stat[memrchr(b')', stat)? + 1..]).ok()?;
    let mut fields = fields.split_ascii_whitespace();
    let state = fields.next()?;
    let mut number = || fields.next()?.parse().ok();
    let (parent, group, session) = (number()?, number()?, number()?);
    let flags: u64 = fields.nth(2)?.parse().ok()?;
    let threads: u32 = fields.nth(10)?.parse().ok()?;
    let started = fields.nth(1)?.parse().ok()?;
    // A process whose first thread has ended before the others looks like a zombie and is none.
    let ended = matches!(state, "Z" | "X") && threads <= 1;
    (!ended).then_some(Process {
        pid,
        parent,
        group,
        session,
        still: matches!(state, "T" | "t" | "D"),
        exiting: flags & EXITING != 0 && threads <= 1,
        started,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(head: &str, flags: u64, threads: u32) -> Vec<u8> {
        format!("{head} 43 44 45 0 -1 {flags} 1 2 3 4 5 6 7 8 20 0 {threads} 0 99").into_bytes()
    }

    #[test]
    fn fields_are_found_behind_any_name_and_zombies_are_excluded() {
        let line = |head, threads| line(head, 0x40_0000, threads);
        let mut live = line("1 (a) R 7 (b)) S", 1);
        live[3] = 0xFF;
        let process = parse(Pid::INIT, &live).unwrap();
        assert_eq!((process.parent, process.group, process.session, process.started), (43, 44, 45, 99));
        assert!(!process.exiting);
        assert!(parse(Pid::INIT, &line("1 (gone) Z", 1)).is_none());
        assert!(parse(Pid::INIT, &line("1 (first thread gone) Z", 2)).is_some());
    }

    #[test]
    fn a_process_that_ends_is_told_by_its_flag() {
        assert!(parse(Pid::INIT, &line("1 (sh) R", 0x40_0004, 1)).unwrap().exiting);
    }
}
