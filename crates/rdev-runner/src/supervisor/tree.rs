//! The processes below this one. As this process is their subreaper, none can leave: whoever loses its
//! parent becomes our child, whatever session or group it is in.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::Read;

use memchr::memrchr;
use rustix::process::{Pid, Signal, getpgrp, getpid, kill_process, kill_process_group};

/// Rounds of stopping what has appeared since the round before; a tree that still grows is looked at again later.
const FREEZE_ROUNDS_MAX: usize = 50;

/// One process that has not ended.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Process {
    pub(crate) pid: Pid,
    parent: i32,
    group: i32,
}

/// Every process below this one that has not ended.
pub(crate) fn descendants() -> Vec<Process> {
    let mut children: HashMap<i32, Vec<Process>> = HashMap::new();
    for process in all() {
        children.entry(process.parent).or_default().push(process);
    }
    let mut found = children.remove(&getpid().as_raw_pid()).unwrap_or_default();
    let mut at = 0;
    while let Some(process) = found.get(at) {
        found.extend(children.remove(&process.pid.as_raw_pid()).unwrap_or_default());
        at += 1;
    }
    found
}

/// Sends a signal once to each of `processes`, which were found a moment ago.
///
/// Groups go first and at once, so that none of their members can fork a new one meanwhile. A group of a
/// descendant holds descendants only, except our own.
pub(crate) fn send(processes: &[Process], signal: Signal) {
    let own = getpgrp().as_raw_pid();
    let groups: HashSet<i32> = processes.iter().map(|p| p.group).filter(|&g| g != own).collect();
    // Whoever cannot be signalled has ended, or belongs to another user; both are looked at again.
    for group in groups.iter().filter_map(|&g| Pid::from_raw(g)) {
        kill_process_group(group, signal).ok();
    }
    for process in processes.iter().filter(|p| p.group == own) {
        kill_process(process.pid, signal).ok();
    }
}

/// Stops the whole tree and then kills it; gives what was found.
///
/// Killing alone would never end a fork bomb under a process limit: each death makes room for a birth.
/// A stopped process keeps its place and cannot fork, so the rounds come to an end.
pub(crate) fn freeze_and_kill() -> HashSet<Pid> {
    let mut frozen = HashSet::new();
    for _ in 0..FREEZE_ROUNDS_MAX {
        let mut fresh = descendants();
        fresh.retain(|process| frozen.insert(process.pid));
        if fresh.is_empty() {
            break;
        }
        send(&fresh, Signal::STOP);
    }
    send(&descendants(), Signal::KILL);
    frozen
}

fn all() -> Vec<Process> {
    let Ok(entries) = std::fs::read_dir("/proc") else {
        return Vec::new();
    };
    let mut stat = Vec::new();
    let mut found = Vec::new();
    for entry in entries.flatten() {
        let name = entry.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse().ok()).and_then(Pid::from_raw) else {
            continue;
        };
        stat.clear();
        // A process that ends while we look is not there any more, which is what it says.
        if File::open(entry.path().join("stat")).is_ok_and(|mut file| file.read_to_end(&mut stat).is_ok()) {
            found.extend(parse(pid, &stat));
        }
    }
    found
}

/// Reads state, parent and group from a `stat` line; `None` for a process that has ended.
fn parse(pid: Pid, stat: &[u8]) -> Option<Process> {
    // The name before these fields may hold any bytes, blanks and brackets included.
    let fields = std::str::from_utf8(&stat[memrchr(b')', stat)? + 1..]).ok()?;
    let mut fields = fields.split_ascii_whitespace();
    let state = fields.next()?;
    let (parent, group) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    let threads: u32 = fields.nth(14)?.parse().ok()?;
    // A process whose first thread has ended before the others looks like a zombie and is none.
    let ended = matches!(state, "Z" | "X") && threads <= 1;
    (!ended).then_some(Process { pid, parent, group })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_behind_any_name_and_zombies_are_told_apart() {
        let rest = "43 44 45 0 -1 4194304 1 2 3 4 5 6 7 8 20 0";
        let line = |head: &str, threads: u32| format!("{head} {rest} {threads} 0 99").into_bytes();
        let mut live = line("1 (a) R 7 (b)) S", 1);
        live[3] = 0xFF;
        let process = parse(Pid::INIT, &live).unwrap();
        assert_eq!((process.parent, process.group), (43, 44));
        assert!(parse(Pid::INIT, &line("1 (gone) Z", 1)).is_none());
        assert!(parse(Pid::INIT, &line("1 (first thread gone) Z", 2)).is_some());
    }
}
