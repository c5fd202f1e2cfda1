//! Reading a journal that may still grow, and that a disk may have damaged.
//!
//! The writer takes back a frame that it could not finish. So nothing is remembered of a frame that is
//! not complete: it is read again from its beginning.
//!
//! Every frame that is handed on was checked. In the place of damaged ones a cut is handed on, up to the next sound
//! frame of the sequence. While the journal may grow, bytes at its end that are no frame may become one.

use std::fs::File;
use std::io;

use bytes::Bytes;

use super::damage::{self, Gap};
use super::header::Header;
use super::position::{BATCH_BYTES_MAX, Found, Position, read_at};
use crate::frame::{Frame, decode_all};

/// How much is read at once where only headers matter: long frames are jumped over, short ones come many
/// in a read.
const HOP_BYTES: usize = 4 * 1024;

/// A position in a journal, always at the beginning of a frame.
#[derive(Debug)]
pub(crate) struct Reader {
    file: File,
    at: Position,
    /// The frame that was passed last, by its header alone.
    hopped: Option<Position>,
    /// Events in damaged frames just before the position, and not handed on.
    gap: Option<Gap>,
    ended: bool,
    /// Nothing is written any more.
    settled: bool,
    buffer: Vec<u8>,
}

impl Reader {
    pub(crate) fn new(file: File) -> Self {
        let at = Position { offset: 0, due: None };
        Self { file, at, hopped: None, gap: None, ended: false, settled: false, buffer: Vec::new() }
    }

    /// The sequence number that comes after what was read or skipped.
    pub(crate) fn next_seq(&self) -> u64 {
        match &self.gap {
            Some(gap) => gap.first_seq,
            None => self.at.due.unwrap_or(1),
        }
    }

    /// Whether the exit entry was read or skipped: nothing can come any more.
    pub(crate) fn ended(&self) -> bool {
        self.ended
    }

    /// The writer is gone: what is no frame now will not become one.
    pub(crate) fn settle(&mut self) {
        self.settled = true;
    }

    /// Moves to the first frame that `wanted` accepts, or to the end of what is there. Of the others only headers are
    /// looked at, and they are checked where the next one is not found behind them.
    pub(crate) fn seek(&mut self, wanted: impl Fn(&Header) -> bool) -> io::Result<Option<Header>> {
        loop {
            while let Some(gap) = &mut self.gap {
                let header = gap.header();
                if wanted(&header) {
                    return Ok(Some(header));
                }
                self.take_gap();
            }
            if self.ended {
                return Ok(None);
            }
            let length = self.fill(HOP_BYTES)?;
            let mut at = 0;
            let found = loop {
                let header = match self.at.header(&self.buffer[at..length]) {
                    Ok(header) => header,
                    Err(found) => break found,
                };
                let is_here = at + header.total <= length;
                if !is_here && header.total <= HOP_BYTES && at > 0 {
                    break Found::Short;
                }
                if !is_here && self.length()? < self.at.offset + header.total as u64 {
                    break Found::Short;
                }
                if wanted(&header) {
                    match self.at.look_in(&self.file)? {
                        Found::Sound(_) => return Ok(Some(header)),
                        found => break found,
                    }
                }
                self.hopped = Some(self.at);
                self.pass(&header);
                at += header.total;
                if at >= length || self.ended {
                    break Found::Short;
                }
            };
            match found {
                // What was jumped over, or read so far.
                Found::Short | Found::Sound(_) if at > 0 => {}
                found => {
                    let stepped_back = self.step_back()?;
                    if (self.waits_at(&found) && !stepped_back) || !self.mend()? {
                        return Ok(None);
                    }
                }
            }
        }
    }

    /// The next complete frames as they are in the file, at most [`BATCH_BYTES_MAX`] bytes, or a cut in the place of
    /// damaged ones. The exit entry comes alone, so that output before it need not wait for the disk.
    pub(crate) fn batch(&mut self) -> io::Result<Option<&[u8]>> {
        while self.gap.is_none() {
            let length = self.fill(BATCH_BYTES_MAX)?;
            let mut at = 0;
            let found = loop {
                match self.at.look(&self.buffer[at..length]) {
                    Found::Sound(header) if header.is_exit() && at > 0 => break Found::Short,
                    Found::Sound(header) => {
                        self.pass(&header);
                        at += header.total;
                        if self.ended {
                            // The writer may not have come to it yet, and nobody may hear of an end that a crash
                            // undoes. A disk that refuses has refused the writer too; the end is true all the same.
                            self.file.sync_data().ok();
                            break Found::Short;
                        }
                    }
                    other => break other,
                }
            };
            self.hopped = None;
            if at > 0 {
                return Ok(Some(&self.buffer[..at]));
            }
            if self.waits_at(&found) || !self.mend()? {
                return Ok(None);
            }
        }
        self.buffer.clear();
        if let Some(frame) = self.take_gap() {
            frame.encode(&mut self.buffer);
        }
        Ok(Some(&self.buffer))
    }

    /// The next frame, decoded, or a cut in the place of damaged ones.
    pub(crate) fn frame(&mut self) -> io::Result<Option<Frame>> {
        while self.gap.is_none() {
            let length = self.fill(BATCH_BYTES_MAX)?;
            match self.at.look(&self.buffer[..length]) {
                Found::Sound(header) => {
                    let raw = Bytes::copy_from_slice(&self.buffer[..header.total]);
                    self.pass(&header);
                    self.hopped = None;
                    let frame = decode_all(raw).next().transpose();
                    return frame.map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e.to_string()));
                }
                found if self.waits_at(&found) || !self.mend()? => return Ok(None),
                _ => {}
            }
        }
        Ok(self.take_gap())
    }

    /// Tells whether bytes are left that are no frame, nor the beginning of one, which a writer leaves that is killed.
    pub(crate) fn has_damaged_rest(&self) -> io::Result<bool> {
        Ok(matches!(self.at.look_in(&self.file)?, Found::Damaged))
    }

    /// Tells whether bytes are left.
    pub(crate) fn has_rest(&self) -> io::Result<bool> {
        Ok(self.length()? > self.at.offset)
    }

    /// Tells whether more may come of what was found.
    fn waits_at(&self, found: &Found) -> bool {
        !self.settled && matches!(found, Found::Short)
    }

    /// Moves to the next sound frame behind what is none. False: there is none, or not yet.
    fn mend(&mut self) -> io::Result<bool> {
        let Some((offset, header)) = damage::next_sound(&self.file, self.at)? else { return Ok(false) };
        // The writer may have written the frame anew that looked damaged.
        if matches!(self.at.look_in(&self.file)?, Found::Sound(_)) {
            return Ok(true);
        }
        let first_seq = self.next_seq();
        self.gap = Gap::between(first_seq, header.first_seq, offset - self.at.offset);
        self.at = Position { offset, due: Some(header.first_seq) };
        self.hopped = None;
        Ok(true)
    }

    /// Back to the frame that was passed last, if it is damaged: where the next one is, only a sound one says.
    fn step_back(&mut self) -> io::Result<bool> {
        let Some(hopped) = self.hopped.take() else { return Ok(false) };
        let is_damaged = !matches!(hopped.look_in(&self.file)?, Found::Sound(_));
        if is_damaged {
            self.at = hopped;
        }
        Ok(is_damaged)
    }

    fn take_gap(&mut self) -> Option<Frame> {
        let gap = self.gap.as_mut()?;
        let frame = gap.take();
        if gap.events == 0 {
            self.gap = None;
        }
        Some(frame)
    }

    fn fill(&mut self, want: usize) -> io::Result<usize> {
        if self.buffer.len() < want {
            // New memory from the system is zero already; growing would touch every page of it.
            self.buffer = vec![0; want];
        }
        read_at(&self.file, &mut self.buffer[..want], self.at.offset)
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn pass(&mut self, header: &Header) {
        self.at = self.at.after(header);
        self.ended = header.is_exit();
    }
}
