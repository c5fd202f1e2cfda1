//! Intake of frames, a pipe from the bytes of an exec channel to chunks for the log: decode, mask, observe, chunk.

use bytes::{BufMut, Bytes, BytesMut};
use rdev_domain::{Chunk, Seq};
use rdev_runner::frame::{Body, Decoder, Exit, Frame, FrameError, Loss, PROTOCOL_VERSION};

use super::mask::{Mask, masked};

/// Most bytes of a chunk: a row that is read in one piece. One larger frame is a chunk by itself.
const CHUNK_BYTES: usize = 64 * 1024;
/// Most events of a chunk: as many as have room in it where lines are short. Readers render a part of it at a time.
const CHUNK_EVENTS: u64 = 8 * 1024;

/// Decodes the bytes of a channel, hides secrets, shows each frame to an observer, checks that the events follow one
/// another, and packs them into chunks. A frame in which nothing was hidden is stored byte for byte as it came.
pub(crate) struct FrameIntake {
    decoder: Decoder,
    mask: Box<dyn Mask>,
    /// The runner has sent its hello: it speaks of the job.
    has_hello: bool,
    /// Number of the last event that was packed.
    last_seq: Seq,
    open: BytesMut,
    open_first: Seq,
    chunks: Vec<Chunk>,
}

/// End of the runner's report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Last {
    /// The job ended; the complete event has this number.
    Exit(Exit, Seq),
    /// The end of the job is not known.
    Lost(Loss),
}

/// Error of a report that cannot be used: the connection is made anew.
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
    /// Begins after the event of this number.
    pub(crate) fn after(last_seq: Seq, mask: Box<dyn Mask>) -> Self {
        Self {
            decoder: Decoder::default(),
            mask,
            has_hello: false,
            last_seq,
            open: BytesMut::new(),
            open_first: last_seq.next(),
            chunks: Vec::new(),
        }
    }

    /// Decodes bytes as they came. `observe` sees every frame, as it is stored. Returns the end of the report, if it is among them.
    pub(crate) fn push(
        &mut self,
        bytes: &[u8],
        mut observe: impl FnMut(&Frame),
    ) -> Result<Option<Last>, IntakeError> {
        self.decoder.push(bytes);
        while let Some(decoded) = self.decoder.next_frame()? {
            let (frame, raw) = masked(&*self.mask, &decoded.0).unwrap_or(decoded);
            observe(&frame);
            if let Some(last) = self.chunk(&frame, &raw)? {
                return Ok(Some(last));
            }
        }
        Ok(None)
    }

    /// Packs a frame into the open chunk. Returns the end of the report, if the frame tells it.
    fn chunk(&mut self, frame: &Frame, raw: &Bytes) -> Result<Option<Last>, IntakeError> {
        match frame.body {
            Body::Hello { version: PROTOCOL_VERSION, .. } => self.has_hello = true,
            Body::KeepAlive => {}
            Body::Hello { version, .. } => return Err(IntakeError::Version(version)),
            Body::Output { .. } | Body::Cut { .. } => self.pack(frame, raw)?,
            // Its number may be beyond the next one: the events between are lost, and read as a gap.
            Body::Exit(exit) => {
                let (want, got) = (self.last_seq.next().0, frame.first_seq);
                // Stores count up to this number.
                if !(want..=i64::MAX.unsigned_abs()).contains(&got) {
                    return Err(IntakeError::Order { want, got });
                }
                return Ok(Some(Last::Exit(exit, Seq(got))));
            }
            Body::Lost(loss) => return Ok(Some(Last::Lost(loss))),
        }
        Ok(None)
    }

    /// Tells whether the runner has sent its hello.
    pub(crate) fn has_hello(&self) -> bool {
        self.has_hello
    }

    /// Tells whether there is output that is not stored.
    pub(crate) fn has_output(&self) -> bool {
        !self.chunks.is_empty() || !self.open.is_empty()
    }

    /// Tells whether a chunk is full: waiting for more output would gather nothing.
    pub(crate) fn is_full(&self) -> bool {
        !self.chunks.is_empty()
    }

    /// Returns all chunks, the open one closed.
    pub(crate) fn take(&mut self) -> Vec<Chunk> {
        self.close();
        std::mem::take(&mut self.chunks)
    }

    fn pack(&mut self, frame: &Frame, raw: &Bytes) -> Result<(), IntakeError> {
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
    use crate::run::mask::NoMask;

    fn intake_after(last_seq: Seq) -> FrameIntake {
        FrameIntake::after(last_seq, Box::new(NoMask))
    }

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
            let mut intake = intake_after(Seq::ZERO);
            for bytes in encoded(&frames).chunks(step) {
                assert_eq!(intake.push(bytes, |_| ()).unwrap(), None);
            }
            let chunks = intake.take();
            assert!(!intake.has_output());
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
        let mut intake = intake_after(Seq(4));
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
        let mut intake = intake_after(Seq::ZERO);
        assert_eq!(intake.push(&bytes, |_| ()).unwrap(), Some(Last::Exit(exit, Seq(3))));
        assert_eq!(intake.take().len(), 1);
        for number in [0, 2, u64::MAX] {
            let mut intake = intake_after(Seq(2));
            let bytes = encoded(&[frame(number, 1, Body::Exit(exit))]);
            assert!(
                matches!(intake.push(&bytes, |_| ()), Err(IntakeError::Order { want: 3, .. })),
                "{number}"
            );
        }
        for loss in [Loss::Supervisor, Loss::Journal] {
            let lost = encoded(&[frame(1, 0, Body::Lost(loss))]);
            assert_eq!(intake_after(Seq::ZERO).push(&lost, |_| ()).unwrap(), Some(Last::Lost(loss)));
        }
        let foreign = encoded(&[hello(PROTOCOL_VERSION + 1)]);
        assert!(matches!(intake_after(Seq::ZERO).push(&foreign, |_| ()), Err(IntakeError::Version(_))));
    }

    /// Hides a word, or breaks its promise at another.
    struct Words;

    impl Mask for Words {
        fn mask(&self, _: Stream, output: &Bytes) -> Option<Bytes> {
            let text = std::str::from_utf8(output).ok()?;
            (text.contains("secret") || text.contains("broken"))
                .then(|| text.replace("secret", "***").replace("broken", "two\nlines").into())
        }
    }

    #[test]
    fn only_frames_that_were_masked_are_encoded_again() {
        let plain = |seq| encoded(&[lines(seq, 2, "some words\n")]);
        let (first, last) = (plain(1), plain(5));
        let secret = encoded(&[lines(3, 2, "a secret\n")]);
        let mut intake = FrameIntake::after(Seq::ZERO, Box::new(Words));
        let mut observed = Vec::new();
        let bytes = [&first[..], &secret, &last].concat();
        assert_eq!(intake.push(&bytes, |frame| observed.push(frame.clone())).unwrap(), None);
        let hidden = lines(3, 2, "a ***\n");
        assert_eq!(observed[1], hidden);
        let stored = intake.take().remove(0);
        assert_eq!((stored.first_seq, stored.last_seq), (Seq(1), Seq(6)));
        assert_eq!(stored.frames, [first, encoded(&[hidden]), last].concat());
    }

    #[test]
    fn a_mask_that_breaks_lines_hides_all_of_them() {
        let mut intake = FrameIntake::after(Seq::ZERO, Box::new(Words));
        let bytes = encoded(&[lines(1, 2, "broken\n"), lines(3, 1, "x\n")]);
        assert_eq!(intake.push(&bytes, |_| ()).unwrap(), None);
        let stored = intake.take().remove(0);
        assert_eq!(stored.frames, encoded(&[lines(1, 2, "******\n"), lines(3, 1, "x\n")]));
    }
}
