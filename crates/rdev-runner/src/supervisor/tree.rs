//! The processes below this one. As this process is their subreaper, none can leave: whoever loses its
//! parent becomes our child, whatever session or group it is in.

use std::collections::HashSet;

use rustix::process::getpid;

use crate::processes::{Process, each};

/// Every process below this one that has not ended. Each is shown to `found` as soon as it is found.
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
    // Numbers come round, so a child may have been seen before its parent.
    loop {
        let before = tree.len();
        rest.retain(|&process| !take(process, &mut tree));
        if tree.len() == before {
            return tree;
        }
    }
}
