//! Items that `rdev-runner collect` writes: files on their way out of a pod.
//!
//! Frames of [`crate::frame`] with kinds of their own, and zeroes for numbers and time: every piece has a
//! checksum, every file its length, and a stream without a final [`Item::Done`] was cut.

use bytes::{Buf, Bytes};

use crate::frame::{self, FrameError, PAYLOAD_BYTES_MAX};

/// Most files of one collection.
pub const FILES_MAX: usize = 256;
/// Most bytes of one collection.
pub const BYTES_MAX: u64 = 16 * 1024 * 1024;
/// Longest path, in bytes: the kernel's limit, with every byte that is not text written as three.
pub const PATH_BYTES_MAX: usize = 3 * 4096;

/// One item of a collection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item {
    /// A file begins; its bytes follow.
    File {
        /// Path in the folder.
        path: String,
        /// Number of bytes that follow.
        size: u64,
    },
    /// Bytes of the file.
    Piece(Bytes),
    /// A file that is not sent.
    Not {
        /// The file, or the pattern without a file.
        path: String,
        /// Size of the file in bytes.
        size: u64,
        /// Reason.
        why: Why,
    },
    /// End of the collection.
    Done,
}

/// Reason why a file is not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// No file matches the pattern.
    Missing,
    /// The collection would exceed [`BYTES_MAX`].
    TooLarge,
    /// The collection would exceed [`FILES_MAX`].
    TooMany,
    /// The path is not a regular file of the folder, or cannot be read.
    Unreadable,
    /// The folder has more entries than the search visits.
    Unsearched,
}

// Kinds beyond those of the journal.
const KIND_FILE: u8 = 16;
const KIND_PIECE: u8 = 17;
const KIND_NOT: u8 = 18;
const KIND_DONE: u8 = 19;

impl Item {
    /// Appends the item's bytes to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let named = |size: &u64, path: &str| [&size.to_le_bytes(), path.as_bytes()].concat();
        match self {
            Self::File { path, size } => put(out, KIND_FILE, 0, &named(size, path)),
            Self::Piece(bytes) => put(out, KIND_PIECE, 0, bytes),
            Self::Not { path, size, why } => put(out, KIND_NOT, why.code(), &named(size, path)),
            Self::Done => put(out, KIND_DONE, 0, &[]),
        }
    }
}

/// Appends a piece without copying it first.
pub(crate) fn encode_piece(out: &mut Vec<u8>, bytes: &[u8]) {
    put(out, KIND_PIECE, 0, bytes);
}

fn put(out: &mut Vec<u8>, kind: u8, detail: u8, payload: &[u8]) {
    frame::encode_raw(out, 0, 0, 0, kind, [detail, 0], payload);
}

/// Decodes items from a stream of bytes that arrives in pieces of any size.
#[derive(Debug, Default)]
pub struct Decoder(frame::Decoder);

impl Decoder {
    /// Adds received bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        self.0.push(bytes);
    }

    /// Returns the next item, or `None` until more bytes arrive.
    pub fn next_item(&mut self) -> Result<Option<Item>, FrameError> {
        let Some((kind, detail, payload)) = self.0.next_checked()? else { return Ok(None) };
        let item = match kind {
            KIND_FILE => named(kind, payload).map(|(path, size)| Item::File { path, size })?,
            KIND_PIECE => Item::Piece(payload),
            KIND_NOT => {
                let why = Why::from_code(detail).ok_or(FrameError::Kind(kind))?;
                named(kind, payload).map(|(path, size)| Item::Not { path, size, why })?
            }
            KIND_DONE => Item::Done,
            other => return Err(FrameError::Kind(other)),
        };
        Ok(Some(item))
    }
}

fn named(kind: u8, mut payload: Bytes) -> Result<(String, u64), FrameError> {
    if !(8..=8 + PATH_BYTES_MAX).contains(&payload.len()) {
        return Err(FrameError::Payload(kind));
    }
    let size = payload.get_u64_le();
    let path = String::from_utf8(payload.to_vec()).map_err(|_| FrameError::Payload(kind))?;
    Ok((path, size))
}

impl Why {
    fn code(self) -> u8 {
        match self {
            Self::Missing => 1,
            Self::TooLarge => 2,
            Self::TooMany => 3,
            Self::Unreadable => 4,
            Self::Unsearched => 5,
        }
    }

    fn from_code(code: u8) -> Option<Self> {
        [Self::Missing, Self::TooLarge, Self::TooMany, Self::Unreadable, Self::Unsearched]
            .into_iter()
            .find(|w| w.code() == code)
    }
}

const _: () = assert!(8 + PATH_BYTES_MAX <= PAYLOAD_BYTES_MAX);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_come_back_however_they_are_cut() {
        let items = [
            Item::File { path: "dist/ä b".to_owned(), size: 3 },
            Item::Piece(Bytes::from_static(b"\0\xff\n")),
            Item::Not { path: "*.xml".to_owned(), size: 0, why: Why::Missing },
            Item::Not { path: "big".to_owned(), size: u64::MAX, why: Why::TooLarge },
            Item::Done,
        ];
        let mut bytes = Vec::new();
        items.iter().for_each(|item| item.encode(&mut bytes));
        for step in [1, 7, bytes.len()] {
            let (mut decoder, mut seen) = (Decoder::default(), Vec::new());
            for piece in bytes.chunks(step) {
                decoder.push(piece);
                while let Some(item) = decoder.next_item().unwrap() {
                    seen.push(item);
                }
            }
            assert_eq!(seen, items);
        }
        bytes[40] ^= 1;
        let mut decoder = Decoder::default();
        decoder.push(&bytes);
        assert_eq!(decoder.next_item(), Err(FrameError::Checksum));
    }

    #[test]
    fn a_journals_frame_is_no_item() {
        let body = crate::frame::Body::KeepAlive;
        let mut bytes = Vec::new();
        crate::frame::Frame { first_seq: 1, count: 0, time_us: 1, body }.encode(&mut bytes);
        let mut decoder = Decoder::default();
        decoder.push(&bytes);
        assert_eq!(decoder.next_item(), Err(FrameError::Kind(5)));
    }
}
