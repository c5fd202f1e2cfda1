//! Parts of frames that follow one another.

use bytes::Bytes;

use super::{FrameError, Header};

/// Frames that follow one another, undecoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Number of the first event.
    pub first_seq: u64,
    /// Number of the last event.
    pub last_seq: u64,
    /// The frames.
    pub frames: Bytes,
}

/// Splits whole frames into parts of at most `events_max` events; a frame with more is a part by itself. Reads the headers
/// alone, and checks no sum.
///
/// # Errors
/// When the bytes are no whole frames.
pub fn parts(mut frames: Bytes, events_max: u32) -> Result<Vec<Part>, FrameError> {
    let (mut parts, mut open) = (Vec::new(), None::<(u64, u64)>);
    let mut end = 0;
    while end < frames.len() {
        let rest = &frames[end..];
        let header = Header::read(rest)?.filter(|header| header.total <= rest.len());
        let header = header.ok_or(FrameError::Payload(0))?;
        let (first, last) = (header.first_seq, header.next_seq().saturating_sub(1));
        open = match open {
            Some((begun, before)) if last.saturating_sub(begun) >= events_max.into() => {
                parts.push(Part { first_seq: begun, last_seq: before, frames: frames.split_to(end) });
                end = 0;
                Some((first, last))
            }
            Some((begun, _)) => Some((begun, last)),
            None => Some((first, last)),
        };
        end += header.total;
    }
    parts.extend(open.map(|(first_seq, last_seq)| Part { first_seq, last_seq, frames }));
    Ok(parts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::{End, Stream, encode_output};

    #[test]
    fn parts_are_all_frames_in_their_order() {
        let mut bytes = Vec::new();
        let counts = [3, 3, 4, 20, 1, 9, 1];
        let mut first = 7;
        for count in counts {
            encode_output(
                &mut bytes,
                first,
                count,
                1,
                Stream::Stdout,
                End::Newline,
                &b"x\n".repeat(count as usize),
            );
            first += u64::from(count);
        }
        let whole = Bytes::from(bytes);
        let split = parts(whole.clone(), 10).unwrap();
        let numbers: Vec<_> = split.iter().map(|part| (part.first_seq, part.last_seq)).collect();
        assert_eq!(numbers, [(7, 16), (17, 36), (37, 46), (47, 47)]);
        assert_eq!(split.iter().flat_map(|part| part.frames.to_vec()).collect::<Vec<_>>(), whole);
        assert_eq!(parts(whole.clone(), 100).unwrap().len(), 1);
        assert_eq!(parts(Bytes::new(), 10).unwrap(), []);
        for cut in [1, 31, 33, whole.len() - 1] {
            assert!(parts(whole.slice(..cut), 10).is_err(), "{cut}");
        }
    }
}
