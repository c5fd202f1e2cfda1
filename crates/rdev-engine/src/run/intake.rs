//! From the bytes of an exec channel to chunks for the log.

use bytes::{BufMut, Bytes, BytesMut};
use rdev_domain::{Chunk, Seq};
use rdev_runner::frame::{Body, Decoder, Exit, Frame, FrameError, Loss, PROTOCOL_VERSION};

/// A chunk is closed when it holds this much: a row that is read, and shown, in one piece.
const CHUNK_BYTES: usize = 64 * 1024;
/// A chunk is closed when it holds this many events.
const CHUNK_EVENTS: u64 = 1024;

/// Takes the channel's bytes, checks that the events follow one another, and packs them into chunks.
pub(crate) struct FrameIntake {
    decoder: Decoder,
    /// Whether the runner has said hello: it speaks of the command.
    heard: bool,
    /// Number of the last event that was taken.
    last_seq: Seq,
    open: BytesMut,
    open_first: Seq,
    chunks: Vec<Chunk>,
}

/// How the runner's report ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Last {
    /// The command ended; the number is its complete event's.
    Exit(Exit, Seq),
    /// Its end is not known.
    Lost(Loss),
}

/// A report that cannot be used: the connection is to be made anew.
#[derive(Debug, thiserror::Error)]
pub(crate) enum IntakeError {
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error("the runner speaks protocol version {0}, this server {PROTOCOL_VERSION}")]
    Version(u8),
    #[error("event {got} came where {want} was due")]
    Order { want: u64, got: u64 },
}

impl FrameIntake {
    pub(crate) fn after(last_seq: Seq) -> Self {
        Self {
            decoder: Decoder::default(),
            heard: false,
            last_seq,
            open: BytesMut::new(),
            open_first: last_seq.next(),
            chunks: Vec::new(),
        }
    }

    /// Takes bytes as they came. `watch` sees every frame. Returns the end, when it is among them.
    pub(crate) fn push(
        &mut self,
        bytes: &[u8],
        mut watch: impl FnMut(&Frame),
    ) -> Result<Option<Last>, IntakeError> {
        self.decoder.push(bytes);
        while let Some((frame, raw)) = self.decoder.next_frame()? {
            watch(&frame);
            match frame.body {
                Body::Hello { version: PROTOCOL_VERSION, .. } => self.heard = true,
                Body::KeepAlive => {}
                Body::Hello { version, .. } => return Err(IntakeError::Version(version)),
                Body::Output { .. } | Body::Cut { .. } => self.keep(&frame, &raw)?,
                // Its number may be beyond the next one: what was between is gone, and shows as a gap.
                Body::Exit(exit) => {
                    let (want, got) = (self.last_seq.next().0, frame.first_seq);
                    // Stores count to this number.
                    if !(want..=i64::MAX.unsigned_abs()).contains(&got) {
                        return Err(IntakeError::Order { want, got });
                    }
                    return Ok(Some(Last::Exit(exit, Seq(got))));
                }
                Body::Lost(loss) => return Ok(Some(Last::Lost(loss))),
            }
        }
        Ok(None)
    }

    /// Whether the runner has spoken of the command.
    pub(crate) fn heard(&self) -> bool {
        self.heard
    }

    /// Whether something is there that is not stored.
    pub(crate) fn waits(&self) -> bool {
        !self.chunks.is_empty() || !self.open.is_empty()
    }

    /// Whether a chunk is complete: waiting for more would gather nothing.
    pub(crate) fn is_full(&self) -> bool {
        !self.chunks.is_empty()
    }

    /// The chunks that are due, with what is left open closed.
    pub(crate) fn take(&mut self) -> Vec<Chunk> {
        self.close();
        std::mem::take(&mut self.chunks)
    }

    fn keep(&mut self, frame: &Frame, raw: &Bytes) -> Result<(), IntakeError> {
        let want = self.last_seq.next().0;
        if frame.first_seq != want {
            return Err(IntakeError::Order { want, got: frame.first_seq });
        }
        let events = frame.last_seq().saturating_add(1).saturating_sub(self.open_first.0);
        if !self.open.is_empty() && (events > CHUNK_EVENTS || self.open.len() + raw.len() > CHUNK_BYTES) {
            self.close();
        }
        self.open.put_slice(raw);
        self.last_seq = Seq(frame.last_seq());
        Ok(())
    }

    fn close(&mut self) {
        if !self.open.is_empty() {
            let (first_seq, last_seq) = (self.open_first, self.last_seq);
            self.chunks.push(Chunk { first_seq, last_seq, frames: self.open.split().freeze() });
        }
        self.open_first = self.last_seq.next();
    }
}

#[cfg(test)]
mod tests {
    use rdev_runner::frame::{End, Ended, StopCause, Stream, decode_all};

    use super::*;

    fn lines(first_seq: u64, count: u32, line: &str) -> Frame {
        let bytes = Bytes::from(line.repeat(count as usize));
        Frame {
            first_seq,
            count,
            time_us: 7,
            body: Body::Output { stream: Stream::Stdout, end: End::Newline, bytes },
        }
    }

    fn encoded(frames: &[Frame]) -> Vec<u8> {
        let mut bytes = Vec::new();
        frames.iter().for_each(|frame| frame.encode(&mut bytes));
        bytes
    }

    fn frame(first_seq: u64, count: u32, body: Body) -> Frame {
        Frame { first_seq, count, time_us: 7, body }
    }

    #[test]
    fn chunks_hold_whole_frames_in_order_and_are_bounded() {
        let frames: Vec<Frame> = (0..100).map(|n| lines(1 + n * 100, 100, "some words\n")).collect();
        for step in [1, 1000, 1 << 20] {
            let mut intake = FrameIntake::after(Seq::ZERO);
            for bytes in encoded(&frames).chunks(step) {
                assert_eq!(intake.push(bytes, |_| ()).unwrap(), None);
            }
            let chunks = intake.take();
            assert!(!intake.waits());
            assert_eq!(chunks.last().unwrap().last_seq, Seq(10_000));
            let mut next = Seq(1);
            for chunk in &chunks {
                assert_eq!(chunk.first_seq, next);
                assert!(chunk.last_seq.0 - chunk.first_seq.0 < CHUNK_EVENTS);
                assert!(chunk.frames.len() <= CHUNK_BYTES);
                next = chunk.last_seq.next();
            }
            let all = chunks.into_iter().flat_map(|chunk| decode_all(chunk.frames));
            assert!(all.map(Result::unwrap).eq(frames.clone()));
        }
    }

    #[test]
    fn what_does_not_follow_is_refused_and_what_came_before_is_kept() {
        let mut intake = FrameIntake::after(Seq(4));
        let bytes = encoded(&[lines(5, 1, "a\n"), lines(7, 1, "b\n")]);
        assert!(matches!(intake.push(&bytes, |_| ()), Err(IntakeError::Order { want: 6, got: 7 })));
        let chunks = intake.take();
        assert_eq!((chunks[0].first_seq, chunks[0].last_seq), (Seq(5), Seq(5)));
    }

    #[test]
    fn the_end_is_told_with_its_number_and_a_foreign_version_is_refused() {
        let exit = Exit { ended: Ended::Exited(3), cause: StopCause::None, duration_us: 5, leftovers: 0 };
        let hello = |version| frame(1, 0, Body::Hello { version, started: true });
        let bytes = encoded(&[hello(PROTOCOL_VERSION), lines(1, 2, "x\n"), frame(3, 1, Body::Exit(exit))]);
        let mut intake = FrameIntake::after(Seq::ZERO);
        assert_eq!(intake.push(&bytes, |_| ()).unwrap(), Some(Last::Exit(exit, Seq(3))));
        assert_eq!(intake.take().len(), 1);
        for number in [0, 2, u64::MAX] {
            let mut intake = FrameIntake::after(Seq(2));
            let bytes = encoded(&[frame(number, 1, Body::Exit(exit))]);
            assert!(
                matches!(intake.push(&bytes, |_| ()), Err(IntakeError::Order { want: 3, .. })),
                "{number}"
            );
        }
        for loss in [Loss::Supervisor, Loss::Journal] {
            let lost = encoded(&[frame(1, 0, Body::Lost(loss))]);
            assert_eq!(FrameIntake::after(Seq::ZERO).push(&lost, |_| ()).unwrap(), Some(Last::Lost(loss)));
        }
        let foreign = encoded(&[hello(PROTOCOL_VERSION + 1)]);
        assert!(matches!(FrameIntake::after(Seq::ZERO).push(&foreign, |_| ()), Err(IntakeError::Version(_))));
    }
}
