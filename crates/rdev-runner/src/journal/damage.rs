//! Damaged frames: finds where the sequence continues, and counts the missing events.

use std::fs::File;
use std::io;

use super::position::{BATCH_BYTES_MAX, Found, Position, read_at};
use crate::clock::now_us;
use crate::frame::Header;
use crate::frame::{Body, CutReason, Frame, HEADER_BYTES, KIND_CUT, check};

/// Events that were in damaged frames.
#[derive(Debug)]
pub(super) struct Gap {
    pub(super) first_seq: u64,
    pub(super) events: u64,
    bytes: u64,
}

impl Gap {
    /// Returns the gap; `None` where no number is missing.
    pub(super) fn between(first_seq: u64, next_seq: u64, bytes: u64) -> Option<Self> {
        let events = next_seq.checked_sub(first_seq).filter(|&events| events > 0)?;
        Some(Self { first_seq, events, bytes })
    }

    /// Returns the header of the next cut.
    pub(super) fn header(&self) -> Header {
        Header { total: 0, first_seq: self.first_seq, count: self.count(), kind: KIND_CUT, reserved: 0 }
    }

    /// Returns a cut of as many events as one frame can hold.
    pub(super) fn take(&mut self) -> Frame {
        let (first_seq, count) = (self.first_seq, self.count());
        self.first_seq += u64::from(count);
        self.events -= u64::from(count);
        let body = Body::Cut { reason: CutReason::Damaged, bytes: std::mem::take(&mut self.bytes) };
        Frame { first_seq, count, time_us: now_us(), body }
    }

    fn count(&self) -> u32 {
        u32::try_from(self.events).unwrap_or(u32::MAX)
    }
}

/// Returns the next intact frame at or after a position without one, and its offset. Numbers never
/// decrease.
///
/// Output may contain the bytes of frames, such as those of a printed journal. So where the damaged
/// frame's own length leads to a frame that continues the sequence, no other is considered.
pub(super) fn next_intact(file: &File, at: Position) -> io::Result<Option<(u64, Header)>> {
    let mut window = vec![0; BATCH_BYTES_MAX];
    let length = read_at(file, &mut window, at.offset)?;
    if let Ok(damaged) = at.header(&window[..length])
        && let next = at.after(&damaged)
        && let Found::Intact(header) = next.classify_in(file)?
    {
        return Ok(Some((next.offset, header)));
    }
    let due = at.due.unwrap_or_default();
    let mut from = at.offset;
    loop {
        let length = read_at(file, &mut window, from)?;
        let mut hop = length.saturating_sub(HEADER_BYTES) + 1;
        for start in 0..hop {
            let bytes = &window[start..length];
            let Ok(Some(header)) = Header::read(bytes) else { continue };
            if !header.is_plausible() || header.first_seq < due {
                continue;
            }
            if header.total > bytes.len() && start > 0 {
                // A window that begins here holds the whole frame, if the file does.
                hop = start;
                break;
            }
            if header.total <= bytes.len() && check(&bytes[..header.total]).is_ok() {
                return Ok(Some((from + start as u64, header)));
            }
        }
        if length < HEADER_BYTES {
            return Ok(None);
        }
        from += hop as u64;
    }
}
