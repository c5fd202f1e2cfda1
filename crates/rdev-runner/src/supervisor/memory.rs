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
        let code = match ended {
            Ended::Signaled(KILLED) | Ended::Exited(KILLED_CODE) => KILLED_CODE,
            _ => return ended,
        };
        match (self.0, oom_kills()) {
            (Some(before), Some(now)) if now > before => Ended::OomKilled(code),
            _ => ended,
        }
    }
}
