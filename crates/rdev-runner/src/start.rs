//! Starts a run: a supervisor of its own, which answers with one word once the command belongs to it.

use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::fault::Fault;
use crate::folder::{RunId, Runs};
use crate::spec::RunRequest;
use crate::supervisor::{EXISTS, STARTED};

/// A supervisor that waits for its request. Dropped without one, it ends.
pub(crate) struct WaitingSupervisor {
    supervisor: Child,
}

impl WaitingSupervisor {
    /// Starts a supervisor. `self_args` make our own executable this program.
    pub(crate) fn spawn(self_args: &[&str], runs: &Runs) -> Result<Self, Fault> {
        let supervisor = Command::new(Path::new("/proc/self/exe"))
            .args(self_args)
            .args(["supervise", "--runs"])
            .arg(&runs.0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(cannot)?;
        Ok(Self { supervisor })
    }

    /// Starts the run unless its id is known. Returns true when this call has started it.
    pub(crate) fn start(mut self, runs: &Runs, id: &RunId, request: &RunRequest) -> Result<bool, Fault> {
        if runs.find(id)?.is_some() {
            return Ok(false);
        }
        // When the supervisor failed before it read the request, its own message is the better reason.
        let sent = self.supervisor.stdin.take().map(|mut pipe| pipe.write_all(&request.encode()));
        let mut answer = Vec::new();
        if let Some(mut pipe) = self.supervisor.stdout.take() {
            pipe.read_to_end(&mut answer).map_err(cannot)?;
        }
        match answer.as_slice() {
            STARTED => Ok(true),
            EXISTS => Ok(false),
            _ => {
                let mut reason = String::new();
                if let Some(mut pipe) = self.supervisor.stderr.take() {
                    pipe.read_to_string(&mut reason).map_err(cannot)?;
                }
                sent.unwrap_or(Ok(()))
                    .or_else(|e| if reason.is_empty() { Err(cannot(e)) } else { Ok(()) })?;
                let reason = reason.trim().trim_start_matches("rdev-runner: ");
                let fault = Fault::failed(if reason.is_empty() {
                    "the supervisor ended before it started the command"
                } else {
                    reason
                });
                // A run without its folder has not begun, and its supervisor is gone.
                Err(if matches!(runs.find(id), Ok(None)) { fault.before_the_start() } else { fault })
            }
        }
    }
}

fn cannot(error: std::io::Error) -> Fault {
    Fault::io("cannot start the supervisor", error)
}
