//! The position in a journal at which a frame is due, and what lies there.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use super::header::Header;
use crate::frame::check;

/// How much is read, and handed on, at once. No frame is longer.
pub(super) const BATCH_BYTES_MAX: usize = 256 * 1024;

/// The place at which a frame of the sequence is due.
#[derive(Debug, Clone, Copy)]
pub(super) struct Position {
    pub(super) offset: u64,
    /// Its first number; `None` at the beginning, where any may come.
    pub(super) due: Option<u64>,
}

/// The kind of bytes that lie where a frame is due.
#[derive(Debug)]
pub(super) enum Found {
    /// A frame of the sequence, as it was written.
    Sound(Header),
    /// The beginning of one, or nothing: more may come.
    Short,
    /// Bytes that are no frame of the sequence.
    Damaged,
}

impl Position {
    /// Looks at the bytes that begin here.
    pub(super) fn look(&self, bytes: &[u8]) -> Found {
        match self.header(bytes) {
            Err(found) => found,
            Ok(header) if header.total > bytes.len() => Found::Short,
            Ok(header) if check(&bytes[..header.total]).is_err() => Found::Damaged,
            Ok(header) => Found::Sound(header),
        }
    }

    /// The header that begins here, if it continues the sequence.
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

    /// As [`Position::look`], at the bytes of the file that begin here.
    pub(super) fn look_in(&self, file: &File) -> io::Result<Found> {
        let mut bytes = vec![0; BATCH_BYTES_MAX];
        let length = read_at(file, &mut bytes, self.offset)?;
        Ok(self.look(&bytes[..length]))
    }

    /// The position of the frame behind one with this header.
    pub(super) fn after(&self, header: &Header) -> Self {
        Self { offset: self.offset + header.total as u64, due: Some(header.next_seq()) }
    }
}

/// Fills the buffer, but for what the file does not have; how many bytes it had.
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
