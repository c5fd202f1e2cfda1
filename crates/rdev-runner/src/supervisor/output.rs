//! The command's pipes: what it writes, and what it is given to read.

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
    /// Since when a line without its newline waits, and nothing comes.
    still_since: Option<Instant>,
}

/// A line that has been still for so long is shown as far as it has come.
const STILL: Duration = Duration::from_secs(1);

/// What one read gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Taken {
    Bytes,
    /// Nothing now.
    Nothing,
    /// The output has ended.
    End,
}

impl Output {
    pub(crate) fn new(stream: Stream, pipe: OwnedFd) -> Self {
        Self { stream, pipe: Some(pipe), lines: Lines::new(), still_since: None }
    }

    pub(crate) fn pipe(&self) -> Option<&OwnedFd> {
        self.pipe.as_ref()
    }

    /// Reads once and hands to the journal what is complete.
    pub(crate) fn take(&mut self, journal: &mut Journal) -> Taken {
        let Some(pipe) = &self.pipe else {
            return Taken::End;
        };
        match rustix::io::read(pipe, self.lines.space()) {
            Ok(n) if n > 0 => {
                let stream = self.stream;
                self.lines.push(n, |end, count, bytes| journal.output(stream, end, count, bytes));
                // A progress bar goes on before it has been still: it counts from its first bytes.
                let since = self.still_since.filter(|_| self.lines.redraws()).unwrap_or_else(Instant::now);
                self.still_since = self.lines.waits().then_some(since);
                Taken::Bytes
            }
            Err(Errno::AGAIN | Errno::INTR) => Taken::Nothing,
            // A pipe has no other errors that time would heal.
            Ok(_) | Err(_) => {
                self.close(journal);
                Taken::End
            }
        }
    }

    /// When [`Output::show_still`] has something to do.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.still_since.map(|since| since + STILL)
    }

    /// Hands to the journal what there is of a line that has been still.
    pub(crate) fn show_still(&mut self, now: Instant, journal: &mut Journal) {
        if self.deadline().is_some_and(|at| at <= now) {
            let stream = self.stream;
            self.still_since = None;
            self.lines.emit_still(|end, count, bytes| journal.output(stream, end, count, bytes));
        }
    }

    /// Nothing more is taken: the line that had no newline is the last.
    pub(crate) fn close(&mut self, journal: &mut Journal) {
        let stream = self.stream;
        self.still_since = None;
        self.pipe = None;
        self.lines.finish(|end, count, bytes| journal.output(stream, end, count, bytes));
    }
}

/// What the command reads on its standard input.
#[derive(Debug)]
pub(crate) struct Input {
    /// `None` when all of it is written, or nobody wants it.
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

    /// Writes what the pipe takes, and closes it after the last byte.
    pub(crate) fn feed(&mut self) {
        while let Some(pipe) = &self.pipe {
            let rest = &self.bytes[self.written..];
            let written = if rest.is_empty() { Ok(0) } else { rustix::io::write(pipe, rest) };
            match written {
                Ok(n) if n > 0 => self.written += n,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return,
                // All is written, or the command does not read on, which is its right.
                Ok(_) | Err(_) => {
                    self.pipe = None;
                    self.bytes = Vec::new();
                }
            }
        }
    }
}
