//! The frame: the unit of the journal and of the exec channel, byte for byte the same.
//!
//! A frame is a header of [`HEADER_BYTES`] bytes, little endian, and a payload:
//!
//! | bytes | field |
//! |---|---|
//! | 0..4 | length of the payload |
//! | 4..8 | CRC-32 of everything after this field |
//! | 8..16 | sequence number of its first event |
//! | 16..24 | time in microseconds since 1970-01-01 UTC |
//! | 24..28 | number of events in the frame (0: the frame takes no sequence number) |
//! | 28 | kind |
//! | 29, 30 | detail of the kind: stream and end, or the reason of a cut or loss |
//! | 31 | zero |
//!
//! One output frame holds as many whole lines as one read returned, so a sequence number costs a line no
//! bytes; the events of a frame are the pieces of its payload between newlines.

use bytes::{Buf, Bytes, BytesMut};

mod codes;
mod header;
mod parts;

pub(crate) use self::header::Header;
pub use self::parts::{Part, parts};

/// Length of a frame's header.
pub const HEADER_BYTES: usize = 32;
/// Longest line of one event; a longer one is split into pieces of at most this size.
pub const LINE_BYTES_MAX: usize = 64 * 1024;
/// Longest payload: a full piece of a line, its newline, and the bytes of one read.
pub const PAYLOAD_BYTES_MAX: usize = 128 * 1024;
/// Most events of one frame: the size of its rendering is bounded, however short the lines are.
pub const FRAME_EVENTS_MAX: u32 = 1024;
/// Version of this format and of the command line; a runner and a server of different versions refuse
/// each other.
pub const PROTOCOL_VERSION: u8 = 8;

/// Output of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// End of the payload of an output frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// A newline: the frame holds whole lines only.
    Newline,
    /// The middle of a line: the frame is one piece, and more of the line follows.
    Partial,
    /// The end of the output: one line without a newline.
    Eof,
}

/// Reason why output was not stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CutReason {
    /// The journal has reached its size limit.
    SizeLimit,
    /// The disk of the journal is full.
    DiskFull,
    /// The journal was damaged after it was written.
    Damaged,
    /// The supervisor is gone, with all output that was not read; reported by the reader, never in a
    /// journal.
    Lost,
}

/// Reason why the end of a run is unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// The supervisor is gone without an exit entry.
    Supervisor,
    /// The supervisor is gone with its container, and another of the container's runs had more memory.
    Beside,
    /// The journal's end is damaged.
    Journal,
}

/// End of the command's main process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// The process exited with this code.
    Exited(i32),
    /// This signal killed the process.
    Signaled(i32),
    /// Memory ran out: the kernel killed the process, or a child whose death it reported by this code.
    OomKilled(i32),
    /// The process never started: the system refused to execute the program with this error number.
    SpawnFailed(i32),
}

/// Cause for which the supervisor stopped a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopCause {
    /// The command was not stopped.
    None,
    /// The timeout.
    Timeout,
    /// A cancellation.
    Cancelled,
}

/// The last entry of a finished journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exit {
    /// End of the command's main process.
    pub ended: Ended,
    /// Cause for which the supervisor stopped it, if it did.
    pub cause: StopCause,
    /// Time from the start to the end of the command's main process, in microseconds.
    pub duration_us: u64,
    /// Number of processes that were alive after the main process had ended, and were killed.
    pub leftovers: u32,
}

/// Content of a frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// First frame of every attachment, never in the journal.
    Hello {
        /// [`PROTOCOL_VERSION`] of the runner.
        version: u8,
        /// True when this call started the command, false when it was started before.
        started: bool,
    },
    /// Output of the command.
    Output {
        /// The stream that was written to.
        stream: Stream,
        /// End of the bytes.
        end: End,
        /// The bytes, exactly as written.
        bytes: Bytes,
    },
    /// Output that was not stored; the frame's events are the missing lines.
    Cut {
        /// Reason.
        reason: CutReason,
        /// Number of missing bytes.
        bytes: u64,
    },
    /// The end of the command and of its journal.
    Exit(Exit),
    /// Sent during silence, so that an idle connection stays open; never in the journal.
    KeepAlive,
    /// No more frames follow, and the end is unknown; never in the journal.
    Lost(Loss),
}

/// One entry of the journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Sequence number of the first event; for a frame without events the next number.
    pub first_seq: u64,
    /// Number of sequence numbers in the frame.
    pub count: u32,
    /// Time of the read, in microseconds since 1970-01-01 UTC.
    pub time_us: u64,
    /// Content.
    pub body: Body,
}

/// Error in bytes that are not a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrameError {
    /// The payload's length exceeds [`PAYLOAD_BYTES_MAX`].
    TooLong(u32),
    /// The checksum does not match.
    Checksum,
    /// The kind, or a detail of it, is unknown.
    Kind(u8),
    /// The payload does not have the shape of its kind.
    Payload(u8),
}

impl std::fmt::Display for FrameError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::TooLong(n) => write!(f, "a frame of {n} bytes; at most {PAYLOAD_BYTES_MAX} are accepted"),
            Self::Checksum => f.write_str("a frame's checksum does not match its bytes"),
            Self::Kind(k) => write!(f, "a frame of unknown kind {k}"),
            Self::Payload(k) => write!(f, "a frame of kind {k} with a malformed payload"),
        }
    }
}

impl std::error::Error for FrameError {}

const KIND_HELLO: u8 = 1;
pub(crate) const KIND_OUTPUT: u8 = 2;
pub(crate) const KIND_CUT: u8 = 3;
pub(crate) const KIND_EXIT: u8 = 4;
const KIND_KEEP_ALIVE: u8 = 5;
const KIND_LOST: u8 = 6;
pub(crate) const CUT_BYTES: usize = 8;
pub(crate) const EXIT_BYTES: usize = 18;

impl Frame {
    /// Returns the sequence number of the last event, or of the preceding event when the frame has none.
    pub fn last_seq(&self) -> u64 {
        self.first_seq.saturating_add(u64::from(self.count)).saturating_sub(1)
    }

    /// Appends the frame's bytes to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let mut small = [0_u8; EXIT_BYTES];
        let (kind, detail, payload): (u8, [u8; 2], &[u8]) = match &self.body {
            Body::Hello { version, started } => {
                small[0] = *version;
                small[1] = u8::from(*started);
                (KIND_HELLO, [0; 2], &small[..2])
            }
            Body::Output { stream, end, bytes } => (KIND_OUTPUT, [stream.code(), end.code()], bytes),
            Body::Cut { reason, bytes } => {
                small[..CUT_BYTES].copy_from_slice(&bytes.to_le_bytes());
                (KIND_CUT, [reason.code(), 0], &small[..CUT_BYTES])
            }
            Body::Exit(exit) => {
                small = exit.to_bytes();
                (KIND_EXIT, [0; 2], &small)
            }
            Body::KeepAlive => (KIND_KEEP_ALIVE, [0; 2], &[]),
            Body::Lost(loss) => (KIND_LOST, [loss.code(), 0], &[]),
        };
        encode_raw(out, self.first_seq, self.count, self.time_us, kind, detail, payload);
    }
}

/// Appends an output frame without building a [`Frame`] first: the supervisor's hot path.
pub fn encode_output(
    out: &mut Vec<u8>,
    first_seq: u64,
    count: u32,
    time_us: u64,
    stream: Stream,
    end: End,
    payload: &[u8],
) {
    encode_raw(out, first_seq, count, time_us, KIND_OUTPUT, [stream.code(), end.code()], payload);
}

pub(crate) fn encode_raw(
    out: &mut Vec<u8>,
    first_seq: u64,
    count: u32,
    time_us: u64,
    kind: u8,
    detail: [u8; 2],
    payload: &[u8],
) {
    debug_assert!(payload.len() <= PAYLOAD_BYTES_MAX);
    let mut header = [0_u8; HEADER_BYTES];
    header[0..4].copy_from_slice(&(payload.len() as u32).to_le_bytes());
    header[8..16].copy_from_slice(&first_seq.to_le_bytes());
    header[16..24].copy_from_slice(&time_us.to_le_bytes());
    header[24..28].copy_from_slice(&count.to_le_bytes());
    header[28] = kind;
    header[29..31].copy_from_slice(&detail);
    let mut crc = crc32fast::Hasher::new();
    crc.update(&header[8..]);
    crc.update(payload);
    header[4..8].copy_from_slice(&crc.finalize().to_le_bytes());
    out.extend_from_slice(&header);
    out.extend_from_slice(payload);
}

/// Decodes frames from a stream of bytes that arrives in pieces of any size.
#[derive(Debug, Default)]
pub struct Decoder {
    buffer: BytesMut,
}

impl Decoder {
    /// Adds received bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// Returns the number of bytes of the incomplete frame.
    pub fn pending(&self) -> usize {
        self.buffer.len()
    }

    /// Returns the next complete frame with its encoded bytes, or `None` until more bytes arrive.
    pub fn next_frame(&mut self) -> Result<Option<(Frame, Bytes)>, FrameError> {
        let Some(raw) = self.next_raw()? else { return Ok(None) };
        Ok(Some((decode(&raw)?, raw)))
    }

    /// Returns the next complete frame of any kind: its kind, the first detail of it, and the payload.
    pub(crate) fn next_checked(&mut self) -> Result<Option<(u8, u8, Bytes)>, FrameError> {
        let Some(raw) = self.next_raw()? else { return Ok(None) };
        check(&raw)?;
        Ok(Some((raw[28], raw[29], raw.slice(HEADER_BYTES..))))
    }

    fn next_raw(&mut self) -> Result<Option<Bytes>, FrameError> {
        let total = frame_bytes(&self.buffer)?.filter(|total| self.buffer.len() >= *total);
        Ok(total.map(|total| self.buffer.split_to(total).freeze()))
    }
}

/// Returns the total length of the frame at the beginning of `bytes`, once its header is complete.
pub fn frame_bytes(bytes: &[u8]) -> Result<Option<usize>, FrameError> {
    let Some(length) = bytes.first_chunk::<4>() else {
        return Ok(None);
    };
    let length = u32::from_le_bytes(*length);
    if length as usize > PAYLOAD_BYTES_MAX {
        return Err(FrameError::TooLong(length));
    }
    Ok((bytes.len() >= HEADER_BYTES).then_some(HEADER_BYTES + length as usize))
}

/// Decodes the frames in `bytes` one after the other; the last must be complete.
pub fn decode_all(mut bytes: Bytes) -> impl Iterator<Item = Result<Frame, FrameError>> {
    std::iter::from_fn(move || {
        if bytes.is_empty() {
            return None;
        }
        let frame = match frame_bytes(&bytes) {
            Ok(Some(total)) if total <= bytes.len() => decode(&bytes.split_to(total)),
            Ok(_) => Err(FrameError::Payload(0)),
            Err(error) => Err(error),
        };
        if frame.is_err() {
            bytes.clear();
        }
        Some(frame)
    })
}

/// Checks that a whole frame is intact.
pub(crate) fn check(raw: &[u8]) -> Result<(), FrameError> {
    let checksum = (&raw[4..8]).get_u32_le();
    if crc32fast::hash(&raw[8..]) == checksum { Ok(()) } else { Err(FrameError::Checksum) }
}

/// Decodes exactly one frame; the payload shares the memory of `raw`.
fn decode(raw: &Bytes) -> Result<Frame, FrameError> {
    check(raw)?;
    let mut header = &raw[8..HEADER_BYTES];
    let first_seq = header.get_u64_le();
    let time_us = header.get_u64_le();
    let count = header.get_u32_le();
    let (kind, detail) = (header[0], [header[1], header[2]]);
    let mut payload = raw.slice(HEADER_BYTES..);
    let need = |n: usize| {
        if payload.len() == n { Ok(()) } else { Err(FrameError::Payload(kind)) }
    };
    let body = match kind {
        KIND_HELLO => {
            need(2)?;
            Body::Hello { version: payload[0], started: payload[1] != 0 }
        }
        KIND_OUTPUT => {
            let stream = Stream::from_code(detail[0]).ok_or(FrameError::Kind(kind))?;
            let end = End::from_code(detail[1]).ok_or(FrameError::Kind(kind))?;
            Body::Output { stream, end, bytes: payload }
        }
        KIND_CUT => {
            need(CUT_BYTES)?;
            let reason = CutReason::from_code(detail[0]).ok_or(FrameError::Kind(kind))?;
            Body::Cut { reason, bytes: payload.get_u64_le() }
        }
        KIND_EXIT => {
            need(EXIT_BYTES)?;
            Body::Exit(Exit::from_bytes(payload).ok_or(FrameError::Payload(kind))?)
        }
        KIND_KEEP_ALIVE => Body::KeepAlive,
        KIND_LOST => Body::Lost(Loss::from_code(detail[0]).ok_or(FrameError::Kind(kind))?),
        other => return Err(FrameError::Kind(other)),
    };
    Ok(Frame { first_seq, count, time_us, body })
}
