//! States of all runs.

use std::fmt::Write;

use crate::fault::Fault;
use crate::folder::{Run, Runs};
use crate::frame::{Body, Ended, Exit, Frame, Header, StopCause};
use crate::journal::Reader;
use crate::out::say;

/// State of a run.
#[derive(Debug)]
pub(crate) enum State {
    Running,
    /// Ended, with its exit entry.
    Exited(Box<Frame>, Exit),
    Lost,
}

/// Returns the state of the run, and the next sequence number.
pub(crate) fn state(run: &Run) -> Result<(State, u64), Fault> {
    let cannot = |error| Fault::io(format!("cannot read {}", run.journal_path().display()), error);
    let mut reader = Reader::new(run.open_journal()?);
    // The supervisor may write its exit entry and exit between the first read and the connection to it.
    for _ in 0..2 {
        if reader.seek(Header::is_exit).map_err(cannot)?.is_some()
            && let Some(frame) = reader.frame().map_err(cannot)?
            && let Body::Exit(exit) = frame.body
        {
            return Ok((State::Exited(Box::new(frame), exit), reader.next_seq()));
        }
        if run.connect().map_err(cannot)?.is_some() {
            return Ok((State::Running, reader.next_seq()));
        }
        reader.settle();
    }
    Ok((State::Lost, reader.next_seq()))
}

pub(crate) fn list(runs: &Runs) -> Result<(), Fault> {
    let mut text = String::from("id\tstate\tstarted\tnext_seq\texit\n");
    for (id, run) in runs.all()? {
        // One unreadable run must not hide the others.
        let (state, next_seq, exit) = match state(&run) {
            Ok((State::Running, next)) => ("running", next, "-".to_owned()),
            Ok((State::Exited(_, exit), next)) => ("exited", next, describe(&exit)),
            Ok((State::Lost, next)) => ("lost", next, "-".to_owned()),
            Err(fault) => ("unreadable", 0, fault.message),
        };
        writeln!(text, "{id}\t{state}\t{}\t{next_seq}\t{exit}", run.started_us())
            .map_err(|e| Fault::failed(e.to_string()))?;
    }
    say(&text).map_err(|e| Fault::io("cannot write the list", e))
}

/// Prints the ids of ended runs that are not collected: `limit` at most, sorted. Reads no journal.
pub(crate) fn uncollected(runs: &Runs, limit: usize) -> Result<(), Fault> {
    let mut text = String::new();
    // Runs without an answer appear in the full list only.
    let is_over = |run: &Run| matches!(run.connect(), Ok(None));
    let over = runs.all()?.into_iter().filter(|(_, run)| !run.is_collected() && is_over(run));
    for (id, _) in over.take(limit) {
        writeln!(text, "{id}").map_err(|e| Fault::failed(e.to_string()))?;
    }
    say(&text).map_err(|e| Fault::io("cannot write the list", e))
}

fn describe(exit: &Exit) -> String {
    match (exit.cause, exit.ended) {
        (StopCause::Timeout, _) => "timeout".to_owned(),
        (StopCause::Cancelled, _) => "cancelled".to_owned(),
        (StopCause::None, Ended::Exited(code)) => format!("exit {code}"),
        (StopCause::None, Ended::Signaled(signal)) => format!("signal {signal}"),
        (StopCause::None, Ended::OomKilled(code)) => format!("out of memory, exit {code}"),
        (StopCause::None, Ended::SpawnFailed(errno)) => format!("spawn failed {errno}"),
    }
}
