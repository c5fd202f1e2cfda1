//! Ends the processes of a pod, also those that have left their parents and sessions.

use std::fs;
use std::io;
use std::time::{Duration, Instant};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

/// Variables of every process: its cluster, pod and container.
pub(crate) const CLUSTER: &str = "K8S_DOUBLE";
pub(crate) const POD: &str = "K8S_DOUBLE_POD";
pub(crate) const CONTAINER: &str = "K8S_DOUBLE_CONTAINER";

/// Time after which a process counts as unkillable: it hangs in the kernel.
const KILL_TIMEOUT: Duration = Duration::from_secs(10);
const KILL_PAUSE: Duration = Duration::from_millis(1);

/// Kills every process whose environment has this variable, until none is left.
pub(crate) fn kill_marked(name: &str, value: &str) {
    let mark = format!("{name}={value}").into_bytes();
    let started = Instant::now();
    while kill_once(&mark) > 0 {
        if started.elapsed() > KILL_TIMEOUT {
            tracing::error!(name, value, "processes of a pod do not end");
            return;
        }
        std::thread::sleep(KILL_PAUSE);
    }
}

fn kill_once(mark: &[u8]) -> usize {
    let Ok(entries) = fs::read_dir("/proc") else { return 0 };
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok());
    pids.filter(|pid| kill_if_marked(*pid, mark).unwrap_or(false)).count()
}

fn kill_if_marked(pid: i32, mark: &[u8]) -> io::Result<bool> {
    let Some(id) = Pid::from_raw(pid) else { return Ok(false) };
    // Opened before the environment is read: the process id cannot have been reused since.
    let process = pidfd_open(id, PidfdFlags::empty())?;
    // Empty for a process that has ended but is not reaped yet.
    let environment = fs::read(format!("/proc/{pid}/environ"))?;
    let marked = environment.split(|byte| *byte == 0).any(|entry| entry == mark);
    if marked {
        pidfd_send_signal(&process, Signal::KILL)?;
    }
    Ok(marked)
}
