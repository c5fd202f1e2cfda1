//! The command line.

mod args;
mod exec;
mod help;

use std::ffi::OsString;
use std::process::ExitCode;
use std::time::Duration;

use rustix::stdio::stderr;

use crate::attach::{Followed, follow};
use crate::fault::{EXIT_LOST, EXIT_USAGE, Fault};
use crate::folder::{RunId, Runs};
use crate::frame::{Ended, Exit, Loss, StopCause};
use crate::identity::IdentityMatch;
use crate::out::{say, write_all};
use crate::sink::Sink;
use crate::spec::{Mode, RunRequest};
use crate::start::WaitingSupervisor;
use crate::{cancel, collect, drain, gc, identity, list, orphans, supervisor};
use args::{Action, Follow, Request};

/// Exit code of `--text` for a command stopped by its timeout, as in `timeout(1)`.
const EXIT_TIMEOUT: u8 = 124;
/// Minimum age at which the mark of a removed run is deleted: a request to start that run may still be in
/// flight.
const MARKS_KEPT: Duration = Duration::from_secs(24 * 3600);
const EXIT_NOT_EXECUTABLE: u8 = 126;
const EXIT_NOT_FOUND: u8 = 127;
const ERRNO_NOT_FOUND: i32 = rustix::io::Errno::NOENT.raw_os_error();

/// Runs this program with the arguments after its name.
///
/// A program that embeds the runner calls this when it sees `self_args` at the beginning of its own
/// arguments, and passes the rest as `args`: supervisors are started as `/proc/self/exe self_args…`.
pub fn main(self_args: &[&str], args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let code = args::parse(args).and_then(|request| perform(self_args, request));
    ExitCode::from(code.unwrap_or_else(|fault| {
        let hint = if fault.code == EXIT_USAGE { "; try --help" } else { "" };
        // Without standard error the exit code alone reports the fault.
        write_all(stderr(), format!("rdev-runner: {}{hint}\n", fault.message).as_bytes()).ok();
        fault.code
    }))
}

fn perform(self_args: &[&str], request: Request) -> Result<u8, Fault> {
    let runs = &request.runs;
    if let Some(identity) = &request.identity {
        let named = identity::check(runs, identity)?;
        // Runs started under a former identity stay reachable by id. Files outside the folder of runs may
        // belong to another job now.
        if named == IdentityMatch::Former && matches!(request.action, Action::Collect(..) | Action::Exec(..))
        {
            return Err(Fault::other_identity(format!(
                "the files of {identity:?} now belong to the next pod"
            )));
        }
    }
    match request.action {
        Action::Help => print(help::TEXT)?,
        Action::Version => print(concat!("rdev-runner ", env!("CARGO_PKG_VERSION"), "\n"))?,
        Action::Run(id, following, command) => {
            let request = RunRequest {
                id: id.to_string(),
                after: following.after,
                mode: Mode::Start,
                identity: String::new(),
                spec: command.into_spec()?,
            };
            let waiting = WaitingSupervisor::spawn(self_args, runs).map_err(Fault::before_the_start)?;
            let started = waiting.start(runs, &id, &request)?;
            drop(request);
            return attach_to_known(runs, &id, following, started);
        }
        Action::RunRequest { text } => {
            // The supervisor is started before the request arrives, so nothing is left to start then.
            let waiting = WaitingSupervisor::spawn(self_args, runs).map_err(Fault::before_the_start)?;
            let Some(request) = args::request()? else { return Ok(0) };
            let id = args::request_id(&request)?;
            let named = identity::check(runs, &request.identity).map_err(Fault::before_the_start)?;
            let may_start = named == IdentityMatch::Current && request.mode == Mode::Start;
            let following = args::Follow { after: request.after, text };
            let started = may_start && waiting.start(runs, &id, &request)?;
            drop(request);
            return attach_to_known(runs, &id, following, started);
        }
        Action::Attach(id, following) => return attach(runs, &id, following, false),
        Action::Cancel(id) => cancel::cancel(runs, &id)?,
        Action::List => list::list(runs)?,
        Action::ListUncollected(limit) => list::uncollected(runs, limit)?,
        Action::Collect(folder, patterns) => collect::collect(&folder, &patterns)?,
        Action::Drain(wait) => drain::drain(runs, wait)?,
        Action::Identity(claim) => identity::print(runs, &claim)?,
        Action::Gc(ids, age) => {
            // One unreadable run must not keep the space of the others.
            let mut done: Vec<Result<(), Fault>> = ids.iter().map(|id| gc::shrink(runs, id)).collect();
            if let Some(age) = age {
                done.push(gc::remove_older(runs, age));
                done.push(gc::remove_marks(runs, age.max(MARKS_KEPT)));
                done.push(gc::remove_scratch(runs));
            }
            done.into_iter().collect::<Result<(), Fault>>()?;
        }
        Action::Exec(limits, argv) => return Err(exec::exec(limits, &argv)),
        Action::Supervise => supervisor::supervise(runs)?,
    }
    Ok(0)
}

fn print(text: &str) -> Result<(), Fault> {
    say(text).map_err(|e| Fault::io("cannot write to standard output", e))
}

fn attach(runs: &Runs, id: &RunId, following: Follow, started: bool) -> Result<u8, Fault> {
    let mut sink = if following.text { Sink::Text(None) } else { Sink::Frames };
    match follow(runs, id, following.after, started, &mut sink)? {
        Followed::Lost(Loss::Supervisor | Loss::Beside) if following.text => Err(Fault::lost(id)),
        Followed::Lost(Loss::Journal) if following.text => Err(Fault::damaged(id)),
        Followed::Lost(_) => Ok(EXIT_LOST),
        Followed::Disconnected => Ok(0),
        Followed::ToTheEnd => Ok(match sink {
            Sink::Text(Some(exit)) => code_of(&exit),
            Sink::Text(None) | Sink::Frames => 0,
        }),
    }
}

/// Attaches to a run that was started, now or before. A missing folder is reported as the loss of its
/// supervisor.
fn attach_to_known(runs: &Runs, id: &RunId, following: Follow, started: bool) -> Result<u8, Fault> {
    if !started && runs.find(id)?.is_none() {
        return gone(runs, id, following);
    }
    attach(runs, id, following, started)
}

fn gone(runs: &Runs, id: &RunId, following: Follow) -> Result<u8, Fault> {
    orphans::end(runs, id)?;
    if following.text {
        return Err(Fault::lost(id));
    }
    let cannot = |error| Fault::io(format!("cannot report the loss of \"{id}\""), error);
    let next = following.after + 1;
    Sink::Frames
        .hello(next, false)
        .and_then(|()| Sink::Frames.lost(next, Loss::Supervisor))
        .map_err(cannot)?;
    Ok(EXIT_LOST)
}

/// Returns the exit code that a shell would report.
fn code_of(exit: &Exit) -> u8 {
    match (exit.cause, exit.ended) {
        (StopCause::Timeout, _) => EXIT_TIMEOUT,
        (_, Ended::Exited(code) | Ended::OomKilled(code)) => code as u8,
        (_, Ended::Signaled(signal)) => 128 + signal as u8,
        (_, Ended::SpawnFailed(ERRNO_NOT_FOUND)) => EXIT_NOT_FOUND,
        (_, Ended::SpawnFailed(_)) => EXIT_NOT_EXECUTABLE,
    }
}
