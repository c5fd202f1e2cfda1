//! Detects processes that the kernel killed for lack of memory, by the kernel's own count.

use crate::cgroup::oom_kills;
use crate::frame::Ended;

/// SIGKILL, as a process's own death and as a shell's report of a child's.
const KILLED: i32 = 9;
const KILLED_CODE: i32 = 128 + KILLED;

/// The kernel's count at the start of a command.
#[derive(Debug)]
pub(super) struct OomKills(Option<u64>);

impl OomKills {
    /// Reads the count.
    pub(super) fn watch() -> Self {
        Self(oom_kills())
    }

    /// Returns the command's end, marked where a lack of memory was the cause.
    pub(super) fn name(&self, ended: Ended) -> Ended {
        match (self.0, oom_kills()) {
            (Some(before), Some(now)) if now > before => killed(ended),
            _ => ended,
        }
    }
}

/// Returns the end of a command whose processes were killed for lack of memory.
pub(super) fn killed(ended: Ended) -> Ended {
    match ended {
        Ended::Signaled(KILLED) | Ended::Exited(KILLED_CODE) => Ended::OomKilled(KILLED_CODE),
        other => other,
    }
}
