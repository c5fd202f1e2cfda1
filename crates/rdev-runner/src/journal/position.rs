//! Position in a journal at which a frame is due, and the bytes found there.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use crate::frame::Header;
use crate::frame::check;

/// Most bytes of one read and one delivery. No frame is longer.
pub(super) const BATCH_BYTES_MAX: usize = 256 * 1024;

/// Position at which a frame of the sequence is due.
#[derive(Debug, Clone, Copy)]
pub(super) struct Position {
    pub(super) offset: u64,
    /// First number of the frame; `None` at the beginning, where any number may follow.
    pub(super) due: Option<u64>,
}

/// Kind of the bytes at a position.
#[derive(Debug)]
pub(super) enum Found {
    /// An intact frame of the sequence.
    Intact(Header),
    /// The beginning of a frame, or nothing: more may follow.
    Short,
    /// Bytes that are no frame of the sequence.
    Damaged,
}

impl Position {
    /// Classifies the bytes that begin here.
    pub(super) fn classify(&self, bytes: &[u8]) -> Found {
        match self.header(bytes) {
            Err(found) => found,
            Ok(header) if header.total > bytes.len() => Found::Short,
            Ok(header) if check(&bytes[..header.total]).is_err() => Found::Damaged,
            Ok(header) => Found::Intact(header),
        }
    }

    /// Returns the header that begins here, if it continues the sequence.
    pub(super) fn header(&self, bytes: &[u8]) -> Result<Header, Found> {
        match Header::read(bytes) {
            Ok(None) => Err(Found::Short),
            Ok(Some(header))
                if header.is_plausible() && self.due.is_none_or(|due| header.first_seq == due) =>
            {
                Ok(header)
            }
            Ok(Some(_)) | Err(_) => Err(Found::Damaged),
        }
    }

    /// Classifies the bytes of the file that begin here.
    pub(super) fn classify_in(&self, file: &File) -> io::Result<Found> {
        let mut bytes = vec![0; BATCH_BYTES_MAX];
        let length = read_at(file, &mut bytes, self.offset)?;
        Ok(self.classify(&bytes[..length]))
    }

    /// Returns the position after the frame with this header.
    pub(super) fn after(&self, header: &Header) -> Self {
        Self { offset: self.offset + header.total as u64, due: Some(header.next_seq()) }
    }
}

/// Fills the buffer as far as the file reaches; returns the number of bytes read.
pub(super) fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut length = 0;
    while length < buffer.len() {
        match file.read_at(&mut buffer[length..], offset + length as u64) {
            Ok(0) => break,
            Ok(n) => length += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(length)
}
