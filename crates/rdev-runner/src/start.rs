//! Starting a run: a supervisor of its own, which answers with one word when the command is its to run.

use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use crate::fault::Fault;
use crate::folder::{RunId, Runs};
use crate::spec::Spec;
use crate::supervisor::{EXISTS, STARTED};

/// Starts the run unless its id is known. True: this call has started it.
///
/// `self_args` make our own executable this program.
pub(crate) fn start(self_args: &[&str], runs: &Runs, id: &RunId, spec: &Spec) -> Result<bool, Fault> {
    if runs.find(id)?.is_some() {
        return Ok(false);
    }
    let cannot = |error| Fault::io("cannot start the supervisor", error);
    let mut supervisor = Command::new(Path::new("/proc/self/exe"))
        .args(self_args)
        .args(["supervise", "--id", &id.to_string(), "--runs"])
        .arg(&runs.0)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(cannot)?;
    // Should it have failed before it read this, then what it says is the better reason.
    let sent = supervisor.stdin.take().map(|mut pipe| pipe.write_all(&spec.encode()));
    let mut answer = Vec::new();
    if let Some(mut pipe) = supervisor.stdout.take() {
        pipe.read_to_end(&mut answer).map_err(cannot)?;
    }
    match answer.as_slice() {
        STARTED => Ok(true),
        EXISTS => Ok(false),
        _ => {
            let mut reason = String::new();
            if let Some(mut pipe) = supervisor.stderr.take() {
                pipe.read_to_string(&mut reason).map_err(cannot)?;
            }
            sent.unwrap_or(Ok(())).or_else(|e| if reason.is_empty() { Err(cannot(e)) } else { Ok(()) })?;
            let reason = reason.trim().trim_start_matches("rdev-runner: ");
            Err(Fault::failed(if reason.is_empty() {
                "the supervisor ended before it started the command"
            } else {
                reason
            }))
        }
    }
}
