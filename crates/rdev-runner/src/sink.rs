//! Output of a followed run: frames for a program, or plain text for a terminal.

use std::io;

use bytes::Bytes;
use rustix::stdio::{stderr, stdout};

use crate::clock::now_us;
use crate::frame::{Body, CutReason, Exit, Frame, Loss, PROTOCOL_VERSION, Stream, decode_all};
use crate::out::write_all;

/// The listener of one attachment.
#[derive(Debug)]
pub(crate) enum Sink {
    /// Frames on standard output, as they are in the journal.
    Frames,
    /// The command's outputs on ours; holds the exit entry once it was delivered.
    Text(Option<Exit>),
}

impl Sink {
    pub(crate) fn hello(&self, first_seq: u64, started: bool) -> io::Result<()> {
        let version = PROTOCOL_VERSION;
        self.unjournalled(first_seq, Body::Hello { version, started })
    }

    pub(crate) fn keep_alive(&self, next_seq: u64) -> io::Result<()> {
        self.unjournalled(next_seq, Body::KeepAlive)
    }

    pub(crate) fn lost(&self, next_seq: u64, loss: Loss) -> io::Result<()> {
        self.unjournalled(next_seq, Body::Lost(loss))
    }

    /// Writes whole frames, encoded.
    pub(crate) fn frames(&mut self, raw: &[u8]) -> io::Result<()> {
        match self {
            Self::Frames => write_all(stdout(), raw),
            Self::Text(exit) => {
                for frame in decode_all(Bytes::copy_from_slice(raw)) {
                    let frame =
                        frame.map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e.to_string()))?;
                    write_text(frame, exit)?;
                }
                Ok(())
            }
        }
    }

    /// Writes a frame that is not in the journal; text output omits it.
    fn unjournalled(&self, first_seq: u64, body: Body) -> io::Result<()> {
        match self {
            Self::Text(_) => Ok(()),
            Self::Frames => {
                let frame = Frame { first_seq, count: 0, time_us: now_us(), body };
                let mut raw = Vec::new();
                frame.encode(&mut raw);
                write_all(stdout(), &raw)
            }
        }
    }
}

fn write_text(frame: Frame, end: &mut Option<Exit>) -> io::Result<()> {
    match frame.body {
        Body::Output { stream, bytes, .. } => match stream {
            Stream::Stdout => write_all(stdout(), &bytes),
            Stream::Stderr => write_all(stderr(), &bytes),
        },
        Body::Cut { reason, bytes } => {
            let why = match reason {
                CutReason::SizeLimit => "the journal has reached its limit",
                CutReason::DiskFull => "the disk is full",
                CutReason::Damaged => "the journal is damaged",
                CutReason::Lost => "the supervisor is gone",
            };
            let count = frame.count;
            let note = format!("rdev-runner: {count} lines ({bytes} bytes) are missing: {why}\n");
            write_all(stderr(), note.as_bytes())
        }
        Body::Exit(exit) => {
            *end = Some(exit);
            Ok(())
        }
        Body::Hello { .. } | Body::KeepAlive | Body::Lost(_) => Ok(()),
    }
}
