//! The processes below this one. This process is their subreaper, so none can leave: an orphan becomes
//! our child, whatever session or group it is in.

use std::collections::HashSet;

use rustix::process::getpid;

use crate::processes::{Process, each};

/// Returns every process below this one that has not ended. Each is passed to `found` at once.
pub(crate) fn descendants(mut found: impl FnMut(&Process)) -> Vec<Process> {
    let mut known = HashSet::from([getpid().as_raw_pid()]);
    let mut tree = Vec::new();
    let mut rest = Vec::new();
    let mut take = |process: Process, tree: &mut Vec<Process>| {
        let ours = known.contains(&process.parent);
        if ours {
            known.insert(process.pid.as_raw_pid());
            found(&process);
            tree.push(process);
        }
        ours
    };
    each(|process| {
        if !take(process, &mut tree) {
            rest.push(process);
        }
    });
    // Process ids wrap around, so a child may be listed before its parent.
    loop {
        let before = tree.len();
        rest.retain(|&process| !take(process, &mut tree));
        if tree.len() == before {
            return tree;
        }
    }
}
