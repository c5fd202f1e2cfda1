//! Reading a journal that may still grow.
//!
//! The writer takes back a frame that it could not finish. So nothing is remembered of a frame that is
//! not complete: it is read again from its beginning.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use bytes::Bytes;

use super::header::Header;
use crate::frame::{Frame, decode_all};

/// How much is read, and handed on, at once.
const BATCH_BYTES_MAX: usize = 256 * 1024;
/// How much is read at once where only headers matter: long frames are jumped over, short ones come many
/// in a read.
const HOP_BYTES: usize = 4 * 1024;

/// A position in a journal, always at the beginning of a frame.
#[derive(Debug)]
pub(crate) struct Reader {
    file: File,
    offset: u64,
    next_seq: u64,
    ended: bool,
    buffer: Vec<u8>,
}

impl Reader {
    pub(crate) fn new(file: File) -> Self {
        Self { file, offset: 0, next_seq: 1, ended: false, buffer: Vec::new() }
    }

    /// The sequence number that comes after what was read or skipped.
    pub(crate) fn next_seq(&self) -> u64 {
        self.next_seq
    }

    /// Whether the exit entry was read or skipped: nothing can come any more.
    pub(crate) fn ended(&self) -> bool {
        self.ended
    }

    /// Moves to the first frame that `wanted` accepts, or to the end of what is there.
    pub(crate) fn seek(&mut self, wanted: impl Fn(&Header) -> bool) -> io::Result<Option<Header>> {
        loop {
            let length = self.fill(HOP_BYTES)?;
            let mut at = 0;
            while let Some(header) = self.header(at, length) {
                if header.total > HOP_BYTES && !self.reaches(&header, at)? {
                    return Ok(None);
                }
                if header.total <= HOP_BYTES && at + header.total > length {
                    break;
                }
                if wanted(&header) {
                    self.offset += at as u64;
                    return Ok(Some(header));
                }
                self.pass(&header);
                at += header.total;
                if at >= length {
                    break;
                }
            }
            if at == 0 {
                return Ok(None);
            }
            self.offset += at as u64;
        }
    }

    /// The next complete frames as they are in the file, at most [`BATCH_BYTES_MAX`] bytes. The exit
    /// entry comes alone, so that output before it need not wait for the disk.
    pub(crate) fn batch(&mut self) -> io::Result<Option<&[u8]>> {
        let length = self.fill(BATCH_BYTES_MAX)?;
        let mut at = 0;
        while let Some(header) = self.header(at, length) {
            if at + header.total > length || (header.is_exit() && at > 0) {
                break;
            }
            self.pass(&header);
            at += header.total;
            if self.ended {
                // The writer may not have come to it yet, and nobody may hear of an end that a crash undoes.
                // A disk that refuses has refused the writer too; the end is true all the same.
                self.file.sync_data().ok();
                break;
            }
        }
        self.offset += at as u64;
        Ok((at > 0).then(|| &self.buffer[..at]))
    }

    /// The next frame, decoded.
    pub(crate) fn frame(&mut self) -> io::Result<Option<Frame>> {
        let length = self.fill(BATCH_BYTES_MAX)?;
        let Some(header) = self.header(0, length) else {
            return Ok(None);
        };
        if header.total > length {
            return Ok(None);
        }
        let raw = Bytes::copy_from_slice(&self.buffer[..header.total]);
        self.pass(&header);
        self.offset += header.total as u64;
        let frame = decode_all(raw).next().transpose();
        frame.map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e.to_string()))
    }

    fn fill(&mut self, want: usize) -> io::Result<usize> {
        if self.buffer.len() < want {
            // New memory from the system is zero already; growing would touch every page of it.
            self.buffer = vec![0; want];
        }
        loop {
            match self.file.read_at(&mut self.buffer[..want], self.offset) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => return other,
            }
        }
    }

    /// The header at `at`. What is none is taken for a frame that is not complete: only the end of a
    /// journal whose writer or machine died can look so.
    fn header(&self, at: usize, length: usize) -> Option<Header> {
        let header = Header::read(&self.buffer[at..length]).ok().flatten()?;
        // A journal whose output was dropped jumps forward to its exit entry; nothing goes back.
        (header.first_seq >= self.next_seq).then_some(header)
    }

    /// Whether the file holds all of a frame that is longer than what was read.
    fn reaches(&self, header: &Header, at: usize) -> io::Result<bool> {
        Ok(self.file.metadata()?.len() >= self.offset + (at + header.total) as u64)
    }

    fn pass(&mut self, header: &Header) {
        self.next_seq = header.next_seq();
        self.ended = header.is_exit();
    }
}
