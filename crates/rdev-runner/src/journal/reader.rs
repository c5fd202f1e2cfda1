//! Reads a journal that may still grow, and that a disk may have damaged.
//!
//! The writer removes a frame that it could not finish. So the reader remembers nothing of an incomplete
//! frame: it reads the frame again from its beginning.
//!
//! Every delivered frame was checked. Damaged frames are replaced by a cut up to the next intact frame of
//! the sequence. While the journal may grow, bytes at its end that are no frame may become one.

use std::fs::File;
use std::io;

use bytes::Bytes;

use super::damage::{self, Gap};
use super::position::{BATCH_BYTES_MAX, Found, Position, read_at};
use crate::frame::Header;
use crate::frame::{Frame, decode_all};

/// Bytes of one read where only headers matter: long frames are skipped, short ones fit together into one
/// read.
const HOP_BYTES: usize = 4 * 1024;

/// Position in a journal, always at the beginning of a frame.
#[derive(Debug)]
pub(crate) struct Reader {
    file: File,
    at: Position,
    /// The last skipped frame, known by its header alone.
    hopped: Option<Position>,
    /// Events in damaged frames just before the position, not delivered yet.
    gap: Option<Gap>,
    ended: bool,
    /// True once no writer exists.
    settled: bool,
    buffer: Vec<u8>,
}

impl Reader {
    pub(crate) fn new(file: File) -> Self {
        let at = Position { offset: 0, due: None };
        Self { file, at, hopped: None, gap: None, ended: false, settled: false, buffer: Vec::new() }
    }

    /// Returns the sequence number after the frames read or skipped.
    pub(crate) fn next_seq(&self) -> u64 {
        match &self.gap {
            Some(gap) => gap.first_seq,
            None => self.at.due.unwrap_or(1),
        }
    }

    /// Tells whether the exit entry was read or skipped: no frame follows it.
    pub(crate) fn ended(&self) -> bool {
        self.ended
    }

    /// Records that the writer is gone: bytes that are no frame now will not become one.
    pub(crate) fn settle(&mut self) {
        self.settled = true;
    }

    /// Moves to the first frame that `wanted` accepts, or to the end of the file. Reads only the headers
    /// of the others, and checks those that are not followed by a frame.
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
                    match self.at.classify_in(&self.file)? {
                        Found::Intact(_) => return Ok(Some(header)),
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
                // Frames skipped or read so far.
                Found::Short | Found::Intact(_) if at > 0 => {}
                found => {
                    let stepped_back = self.step_back()?;
                    if (self.waits_at(&found) && !stepped_back) || !self.mend()? {
                        return Ok(None);
                    }
                }
            }
        }
    }

    /// Returns the next complete frames as they are in the file, at most [`BATCH_BYTES_MAX`] bytes, or a
    /// cut in place of damaged ones. The exit entry is returned alone, so output before it need not wait
    /// for the disk.
    pub(crate) fn batch(&mut self) -> io::Result<Option<&[u8]>> {
        while self.gap.is_none() {
            let length = self.fill(BATCH_BYTES_MAX)?;
            let mut at = 0;
            let found = loop {
                match self.at.classify(&self.buffer[at..length]) {
                    Found::Intact(header) if header.is_exit() && at > 0 => break Found::Short,
                    Found::Intact(header) => {
                        self.pass(&header);
                        at += header.total;
                        if self.ended {
                            // The writer may not have flushed yet, and an end that a crash undoes must
                            // not be reported. A disk that refuses the flush has refused the writer too;
                            // the end is true nevertheless.
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

    /// Returns the next frame, decoded, or a cut in place of damaged ones.
    pub(crate) fn frame(&mut self) -> io::Result<Option<Frame>> {
        while self.gap.is_none() {
            let length = self.fill(BATCH_BYTES_MAX)?;
            match self.at.classify(&self.buffer[..length]) {
                Found::Intact(header) => {
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

    /// Tells whether bytes remain that are neither a frame nor the beginning of one; a killed writer
    /// leaves such a beginning.
    pub(crate) fn has_damaged_rest(&self) -> io::Result<bool> {
        Ok(matches!(self.at.classify_in(&self.file)?, Found::Damaged))
    }

    /// Tells whether bytes remain.
    pub(crate) fn has_rest(&self) -> io::Result<bool> {
        Ok(self.length()? > self.at.offset)
    }

    /// Tells whether bytes of this kind may still become a frame.
    fn waits_at(&self, found: &Found) -> bool {
        !self.settled && matches!(found, Found::Short)
    }

    /// Moves to the next intact frame after damage. Returns false when none exists, or not yet.
    fn mend(&mut self) -> io::Result<bool> {
        let Some((offset, header)) = damage::next_intact(&self.file, self.at)? else { return Ok(false) };
        // The writer may have rewritten the frame that looked damaged.
        if matches!(self.at.classify_in(&self.file)?, Found::Intact(_)) {
            return Ok(true);
        }
        let first_seq = self.next_seq();
        self.gap = Gap::between(first_seq, header.first_seq, offset - self.at.offset);
        self.at = Position { offset, due: Some(header.first_seq) };
        self.hopped = None;
        Ok(true)
    }

    /// Moves back to the last skipped frame, if it is damaged: only an intact frame marks the position of
    /// the next one.
    fn step_back(&mut self) -> io::Result<bool> {
        let Some(hopped) = self.hopped.take() else { return Ok(false) };
        let is_damaged = !matches!(hopped.classify_in(&self.file)?, Found::Intact(_));
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
            // New memory from the system is already zero; growing a buffer would touch every page.
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
