//! Whether the kernel ended processes here because memory ran out: its own count tells.

use crate::cgroup::oom_kills;
use crate::frame::Ended;

/// SIGKILL, as a process's own death and as a shell's report of a child's.
const KILLED: i32 = 9;
const KILLED_CODE: i32 = 128 + KILLED;

/// The count at the start of a command.
#[derive(Debug)]
pub(super) struct OomKills(Option<u64>);

impl OomKills {
    /// Begins to watch.
    pub(super) fn watch() -> Self {
        Self(oom_kills())
    }

    /// The command's end, with a lack of memory named where that was the reason.
    pub(super) fn name(&self, ended: Ended) -> Ended {
        match (self.0, oom_kills()) {
            (Some(before), Some(now)) if now > before => killed(ended),
            _ => ended,
        }
    }
}

/// The end of a command of which processes were killed for their memory.
pub(super) fn killed(ended: Ended) -> Ended {
    match ended {
        Ended::Signaled(KILLED) | Ended::Exited(KILLED_CODE) => Ended::OomKilled(KILLED_CODE),
        other => other,
    }
}
