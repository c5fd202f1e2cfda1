//! Hiding of secrets in output, before anything else reads or stores the output.

use bytes::Bytes;
use rdev_runner::frame::{Body, Frame, PAYLOAD_BYTES_MAX, Stream};

/// Hook between the runner's frames and all that is done with them.
pub(crate) trait Mask: Send + Sync {
    /// Bytes that stand in the place of a frame's output; `None` where nothing is to hide, and the frame stays as it came.
    /// They have as many newlines as the output, since each line has its number, and are at most
    /// [`PAYLOAD_BYTES_MAX`] long.
    fn mask(&self, stream: Stream, output: &Bytes) -> Option<Bytes>;
}

/// Mask that hides nothing.
pub(crate) struct NoMask;

impl Mask for NoMask {
    fn mask(&self, _: Stream, _: &Bytes) -> Option<Bytes> {
        None
    }
}

/// Frame with what is hidden in it, and its bytes, encoded again; `None` where the frame stays as it came.
pub(crate) fn masked(mask: &dyn Mask, frame: &Frame) -> Option<(Frame, Bytes)> {
    let Body::Output { stream, end, bytes } = &frame.body else { return None };
    let replaced = mask.mask(*stream, bytes)?;
    let bytes = if fits(bytes, &replaced) { replaced } else { all_hidden(bytes) };
    let body = Body::Output { stream: *stream, end: *end, bytes };
    let masked = Frame { body, ..frame.clone() };
    let mut raw = Vec::new();
    masked.encode(&mut raw);
    Some((masked, raw.into()))
}

/// Tells whether the lines keep their numbers.
fn fits(output: &[u8], replaced: &[u8]) -> bool {
    let newlines = |bytes: &[u8]| bytes.iter().filter(|byte| **byte == b'\n').count();
    replaced.len() <= PAYLOAD_BYTES_MAX
        && newlines(output) == newlines(replaced)
        && output.ends_with(b"\n") == replaced.ends_with(b"\n")
}

/// Hides all of a mask's output that broke its promise: showing the original would be worse.
fn all_hidden(output: &[u8]) -> Bytes {
    tracing::error!("a mask has changed the number of lines: all of the output is hidden");
    output.iter().map(|byte| if *byte == b'\n' { b'\n' } else { b'*' }).collect()
}
