//! Pipes of the command: its outputs and its input.

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::io::Errno;

use super::lines::Lines;
use crate::frame::Stream;
use crate::journal::Journal;

/// One of the command's two outputs.
#[derive(Debug)]
pub(crate) struct Output {
    stream: Stream,
    /// `None` after its end.
    pipe: Option<OwnedFd>,
    lines: Lines,
    /// Start of the time for which an incomplete line is idle.
    idle_since: Option<Instant>,
}

/// Time after which an idle incomplete line is emitted.
const IDLE_LINE: Duration = Duration::from_secs(1);

/// Result of one read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Taken {
    Bytes,
    /// No bytes now.
    Nothing,
    /// The output has ended.
    End,
}

impl Output {
    pub(crate) fn new(stream: Stream, pipe: OwnedFd) -> Self {
        Self { stream, pipe: Some(pipe), lines: Lines::new(), idle_since: None }
    }

    pub(crate) fn pipe(&self) -> Option<&OwnedFd> {
        self.pipe.as_ref()
    }

    /// Reads once and passes complete lines to the journal.
    pub(crate) fn take(&mut self, journal: &mut Journal) -> Taken {
        let Some(pipe) = &self.pipe else {
            return Taken::End;
        };
        match rustix::io::read(pipe, self.lines.space()) {
            Ok(n) if n > 0 => {
                let stream = self.stream;
                self.lines.push(n, |end, count, bytes| journal.output(stream, end, count, bytes));
                // A progress bar redraws before it becomes idle: its time counts from its first bytes.
                let since = self.idle_since.filter(|_| self.lines.redraws()).unwrap_or_else(Instant::now);
                self.idle_since = self.lines.waits().then_some(since);
                Taken::Bytes
            }
            Err(Errno::AGAIN | Errno::INTR) => Taken::Nothing,
            // No other error of a pipe is transient.
            Ok(_) | Err(_) => {
                self.close(journal);
                Taken::End
            }
        }
    }

    /// Returns when [`Output::emit_idle`] is due.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.idle_since.map(|since| since + IDLE_LINE)
    }

    /// Passes an idle incomplete line to the journal.
    pub(crate) fn emit_idle(&mut self, now: Instant, journal: &mut Journal) {
        if self.deadline().is_some_and(|at| at <= now) {
            let stream = self.stream;
            self.idle_since = None;
            self.lines.emit_idle(|end, count, bytes| journal.output(stream, end, count, bytes));
        }
    }

    /// Ends the output: a line without a newline is the last.
    pub(crate) fn close(&mut self, journal: &mut Journal) {
        let stream = self.stream;
        self.idle_since = None;
        self.pipe = None;
        self.lines.finish(|end, count, bytes| journal.output(stream, end, count, bytes));
    }
}

/// Standard input of the command.
#[derive(Debug)]
pub(crate) struct Input {
    /// `None` when everything is written, or the command does not read.
    pipe: Option<OwnedFd>,
    bytes: Vec<u8>,
    written: usize,
}

impl Input {
    pub(crate) fn new(pipe: Option<OwnedFd>, bytes: Vec<u8>) -> Self {
        let mut input = Self { pipe, bytes, written: 0 };
        input.feed();
        input
    }

    pub(crate) fn pipe(&self) -> Option<&OwnedFd> {
        self.pipe.as_ref()
    }

    /// Writes as much as the pipe takes, and closes it after the last byte.
    pub(crate) fn feed(&mut self) {
        while let Some(pipe) = &self.pipe {
            let rest = &self.bytes[self.written..];
            let written = if rest.is_empty() { Ok(0) } else { rustix::io::write(pipe, rest) };
            match written {
                Ok(n) if n > 0 => self.written += n,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return,
                // Everything is written, or the command has stopped reading.
                Ok(_) | Err(_) => {
                    self.pipe = None;
                    self.bytes = Vec::new();
                }
            }
        }
    }
}
