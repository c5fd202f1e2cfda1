//! Frames and specifications on the wire.

use bytes::Bytes;
use rdev_runner::frame::{
    Body, CutReason, Decoder, End, Ended, Exit, Frame, FrameError, HEADER_BYTES, Loss, PAYLOAD_BYTES_MAX,
    StopCause, Stream, decode_all, encode_output,
};
use rdev_runner::spec::{SPEC_BYTES_MAX, Spec};

fn every_kind() -> Vec<Frame> {
    let output =
        |stream, end, bytes: &'static [u8]| Body::Output { stream, end, bytes: Bytes::from_static(bytes) };
    let exit = |ended, cause| Body::Exit(Exit { ended, cause, duration_us: u64::MAX, leftovers: 3 });
    let bodies = vec![
        Body::Hello { version: 1, started: true },
        output(Stream::Stdout, End::Newline, b"a\nb\n"),
        output(Stream::Stderr, End::Partial, b"\xFF\0"),
        output(Stream::Stdout, End::Eof, b""),
        Body::Cut { reason: CutReason::SizeLimit, bytes: u64::MAX },
        Body::Cut { reason: CutReason::DiskFull, bytes: 0 },
        Body::Cut { reason: CutReason::Damaged, bytes: 1 },
        Body::Cut { reason: CutReason::Lost, bytes: 0 },
        exit(Ended::Exited(-1), StopCause::None),
        exit(Ended::Signaled(9), StopCause::Timeout),
        exit(Ended::SpawnFailed(2), StopCause::Cancelled),
        Body::KeepAlive,
        Body::Lost(Loss::Supervisor),
        Body::Lost(Loss::Journal),
        Body::Lost(Loss::Beside),
    ];
    let frame =
        |(n, body)| Frame { first_seq: 1 + n as u64, count: n as u32, time_us: 1_795_244_054_206_550, body };
    bodies.into_iter().enumerate().map(frame).collect()
}

fn encoded(frames: &[Frame]) -> Vec<u8> {
    let mut out = Vec::new();
    frames.iter().for_each(|frame| frame.encode(&mut out));
    out
}

#[test]
fn every_frame_comes_back_however_it_was_split() {
    let frames = every_kind();
    let raw = encoded(&frames);
    for step in [1, 7, HEADER_BYTES, raw.len()] {
        let mut decoder = Decoder::default();
        let (mut out, mut out_raw) = (Vec::new(), Vec::new());
        for chunk in raw.chunks(step) {
            decoder.push(chunk);
            while let Some((frame, bytes)) = decoder.next_frame().unwrap() {
                out.push(frame);
                out_raw.extend_from_slice(&bytes);
            }
        }
        assert_eq!((out, decoder.pending()), (frames.clone(), 0));
        assert_eq!(out_raw, raw);
    }
    let all: Result<Vec<_>, _> = decode_all(raw.into()).collect();
    assert_eq!(all.unwrap(), frames);
}

#[test]
fn a_flipped_bit_anywhere_is_noticed() {
    let frame = &every_kind()[1];
    let raw = encoded(std::slice::from_ref(frame));
    for bit in 0..raw.len() * 8 {
        let mut damaged = raw.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        let mut decoder = Decoder::default();
        decoder.push(&damaged);
        let noticed = !matches!(decoder.next_frame(), Ok(Some((out, _))) if out == *frame);
        assert!(noticed, "bit {bit}");
    }
}

#[test]
fn malformed_bytes_are_refused_with_their_reason() {
    let mut decoder = Decoder::default();
    decoder.push(&(PAYLOAD_BYTES_MAX as u32 + 1).to_le_bytes());
    assert_eq!(decoder.next_frame(), Err(FrameError::TooLong(PAYLOAD_BYTES_MAX as u32 + 1)));
    let torn = encoded(&every_kind()[1..2]);
    let mut frames = decode_all(Bytes::copy_from_slice(&torn[..torn.len() - 1]));
    assert_eq!(frames.next(), Some(Err(FrameError::Payload(0))));
    assert_eq!(frames.next(), None);
}

#[test]
fn the_fast_encoder_agrees_and_numbers_without_events_do_not_overflow() {
    let frame = &every_kind()[1];
    let mut fast = Vec::new();
    encode_output(&mut fast, 2, 1, frame.time_us, Stream::Stdout, End::Newline, b"a\nb\n");
    assert_eq!(fast, encoded(std::slice::from_ref(frame)));
    let mut strange = frame.clone();
    for (first_seq, count, last) in [(0, 0, 0), (1, 0, 0), (5, 3, 7), (u64::MAX, 9, u64::MAX - 1)] {
        (strange.first_seq, strange.count) = (first_seq, count);
        assert_eq!(strange.last_seq(), last);
    }
}

#[test]
fn a_specification_comes_back_and_takes_no_byte_more() {
    let mut spec = Spec::new(vec!["sh".to_owned(), String::new(), "é".repeat(1000)]);
    for stdin in [None, Some(Vec::new()), Some(vec![0xFF; 100_000])] {
        spec.env = vec![("A".to_owned(), "1=2".to_owned()), ("B".to_owned(), String::new())];
        spec.cwd = "/tmp".to_owned();
        (spec.timeout_ms, spec.grace_ms, spec.journal_bytes_max) = (1, 2, u64::MAX);
        spec.interrupt_first = true;
        spec.stdin = stdin;
        let raw = [spec.encode(), b"more".to_vec()].concat();
        let mut from = raw.as_slice();
        assert_eq!(Spec::read(&mut from).unwrap(), spec);
        assert_eq!(from, b"more");
    }
}

#[test]
fn a_damaged_specification_is_refused() {
    let raw = Spec::new(vec!["true".to_owned()]).encode();
    for length in 0..raw.len() {
        assert!(Spec::read(&mut &raw[..length]).is_err(), "{length} bytes");
    }
    let mut long = raw.clone();
    long[4..8].copy_from_slice(&(SPEC_BYTES_MAX as u32 + 1).to_le_bytes());
    let mut trailing = raw.clone();
    trailing[4] += 1;
    trailing.push(0);
    let mut nothing = Spec::new(Vec::new()).encode();
    nothing[0] = b'R';
    for bad in [long, trailing, nothing, vec![b'x'; 100]] {
        assert!(Spec::read(&mut bad.as_slice()).is_err());
    }
}
