//! Whether the kernel ended processes here because memory ran out: its own count tells.

use std::fs;
use std::path::PathBuf;

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
        Self(count())
    }

    /// The command's end, with a lack of memory named where that was the reason.
    pub(super) fn name(&self, ended: Ended) -> Ended {
        let code = match ended {
            Ended::Signaled(KILLED) | Ended::Exited(KILLED_CODE) => KILLED_CODE,
            _ => return ended,
        };
        match (self.0, count()) {
            (Some(before), Some(now)) if now > before => Ended::OomKilled(code),
            _ => ended,
        }
    }
}

/// How many processes of our control group were killed for memory; `None` where the kernel does not tell.
fn count() -> Option<u64> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    let mut files = Vec::new();
    for line in groups.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let (controllers, path) = (fields.next()?, fields.next()?.trim_start_matches('/'));
        let (root, file) = match controllers {
            "" => ("/sys/fs/cgroup", "memory.events"),
            "memory" => ("/sys/fs/cgroup/memory", "memory.oom_control"),
            _ => continue,
        };
        // In a container the group's own folder is the root that we see, and the path may be the node's.
        files.push(PathBuf::from(root).join(path).join(file));
        files.push(PathBuf::from(root).join(file));
    }
    files.iter().find_map(|file| {
        let text = fs::read_to_string(file).ok()?;
        text.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok())
    })
}
