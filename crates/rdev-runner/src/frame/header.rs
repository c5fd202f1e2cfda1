//! Header fields of a frame, readable without its payload.

use bytes::Buf;

use super::{
    CUT_BYTES, EXIT_BYTES, FRAME_EVENTS_MAX, FrameError, HEADER_BYTES, KIND_CUT, KIND_EXIT, KIND_OUTPUT,
    frame_bytes,
};

#[derive(Debug, Clone, Copy)]
pub(crate) struct Header {
    /// Length of header and payload.
    pub(crate) total: usize,
    pub(crate) first_seq: u64,
    pub(crate) count: u32,
    pub(crate) kind: u8,
    /// Zero in every header.
    pub(crate) reserved: u8,
}

impl Header {
    /// Reads the header at the beginning of `bytes`; `None` when it is incomplete.
    pub(crate) fn read(bytes: &[u8]) -> Result<Option<Self>, FrameError> {
        let Some(total) = frame_bytes(bytes)? else {
            return Ok(None);
        };
        let (mut first_seq, mut fields) = (&bytes[8..16], &bytes[24..HEADER_BYTES]);
        Ok(Some(Self {
            total,
            first_seq: first_seq.get_u64_le(),
            count: fields.get_u32_le(),
            kind: fields.get_u8(),
            reserved: bytes[HEADER_BYTES - 1],
        }))
    }

    /// Tells whether a writer can have produced this header.
    pub(crate) fn is_plausible(&self) -> bool {
        let payload = self.total - HEADER_BYTES;
        let fits = match self.kind {
            KIND_OUTPUT => (1..=FRAME_EVENTS_MAX).contains(&self.count),
            KIND_CUT => self.count > 0 && payload == CUT_BYTES,
            KIND_EXIT => self.count == 1 && payload == EXIT_BYTES,
            _ => false,
        };
        fits && self.reserved == 0
    }

    pub(crate) fn is_exit(&self) -> bool {
        self.kind == KIND_EXIT
    }

    /// Returns the sequence number after this frame.
    pub(crate) fn next_seq(&self) -> u64 {
        self.first_seq.saturating_add(u64::from(self.count))
    }
}
