//! Splits a stream of bytes into lines, and long lines into pieces.

use memchr::{memchr, memchr_iter, memrchr};

use crate::frame::{End, FRAME_EVENTS_MAX, LINE_BYTES_MAX, PAYLOAD_BYTES_MAX};

/// Most bytes of one read: with the longest rest before it, it still fits into one frame.
const READ_BYTES_MAX: usize = PAYLOAD_BYTES_MAX - LINE_BYTES_MAX;

/// Buffer of one stream. Its memory is fixed.
#[derive(Debug)]
pub(crate) struct Lines {
    buffer: Vec<u8>,
    /// Length of the incomplete line at the buffer's beginning.
    held: usize,
    /// True when the next line continues an emitted piece.
    continued: bool,
}

impl Lines {
    pub(crate) fn new() -> Self {
        Self { buffer: vec![0; PAYLOAD_BYTES_MAX], held: 0, continued: false }
    }

    /// Returns the space for the next bytes.
    pub(crate) fn space(&mut self) -> &mut [u8] {
        &mut self.buffer[self.held..self.held + READ_BYTES_MAX]
    }

    /// Takes the `n` bytes that were put into [`Lines::space`] and emits complete lines: the kind of end,
    /// the number of events, the bytes.
    pub(crate) fn push(&mut self, n: usize, mut emit: impl FnMut(End, u32, &[u8])) {
        let length = self.held + n;
        let mut start = 0;
        let mut scanned = self.held;
        loop {
            let newline = memchr(b'\n', &self.buffer[scanned..length]).map(|at| scanned + at);
            let rest = &self.buffer[start..length];
            if newline.unwrap_or(length) - start > LINE_BYTES_MAX {
                let piece = piece_bytes(rest);
                emit(End::Partial, 1, &rest[..piece]);
                start += piece;
                scanned = scanned.max(start);
                continue;
            }
            // Only the first line can be too long: any other is shorter than one read.
            if newline.is_some() {
                let end = memrchr(b'\n', rest).map_or(0, |at| at + 1);
                self.continued = false;
                emit_lines(&rest[..end], &mut emit);
                start += end;
            }
            break;
        }
        self.buffer.copy_within(start..length, 0);
        self.held = length - start;
    }

    /// Emits an idle incomplete line: a prompt waits for an answer, and a progress bar never ends its
    /// line. An incomplete character stays in the buffer.
    pub(crate) fn emit_idle(&mut self, mut emit: impl FnMut(End, u32, &[u8])) {
        let held = &self.buffer[..self.held];
        let whole = match std::str::from_utf8(held) {
            Err(error) if error.error_len().is_none() => error.valid_up_to(),
            Ok(_) | Err(_) => held.len(),
        };
        if whole > 0 {
            emit(End::Partial, 1, &held[..whole]);
            self.buffer.copy_within(whole..self.held, 0);
            self.held -= whole;
            self.continued = true;
        }
    }

    /// Tells whether an incomplete line is buffered.
    pub(crate) fn waits(&self) -> bool {
        self.held > 0
    }

    /// Tells whether the incomplete line is redrawn with carriage returns.
    pub(crate) fn redraws(&self) -> bool {
        memchr(b'\r', &self.buffer[..self.held]).is_some()
    }

    /// Emits the last line, which has no newline, at the end of the output. A line with emitted pieces
    /// gets its last one.
    pub(crate) fn finish(&mut self, mut emit: impl FnMut(End, u32, &[u8])) {
        if self.held > 0 || self.continued {
            emit(End::Eof, 1, &self.buffer[..self.held]);
            (self.held, self.continued) = (0, false);
        }
    }
}

/// Emits whole lines, as few times as [`FRAME_EVENTS_MAX`] allows.
fn emit_lines(mut lines: &[u8], mut emit: impl FnMut(End, u32, &[u8])) {
    let mut left = memchr_iter(b'\n', lines).count() as u32;
    while left > 0 {
        let count = left.min(FRAME_EVENTS_MAX);
        let end = if count == left {
            lines.len()
        } else {
            memchr_iter(b'\n', lines).nth(count as usize - 1).map_or(lines.len(), |at| at + 1)
        };
        emit(End::Newline, count, &lines[..end]);
        lines = &lines[end..];
        left -= count;
    }
}

/// Returns the length of the first piece of a line longer than [`LINE_BYTES_MAX`]: that much, or up to
/// three bytes less where a character of valid UTF-8 would be split.
fn piece_bytes(line: &[u8]) -> usize {
    for start in (LINE_BYTES_MAX - 3..LINE_BYTES_MAX).rev() {
        let width = match line[start] {
            0x80..0xC0 => continue,
            0xC0..0xE0 => 2,
            0xE0..0xF0 => 3,
            0xF0.. => 4,
            _ => 1,
        };
        let end = line.len().min(start + width);
        let whole = std::str::from_utf8(&line[start..end]).map_or_else(|e| e.error_len().is_none(), |_| true);
        return if start + width > LINE_BYTES_MAX && whole { start } else { LINE_BYTES_MAX };
    }
    LINE_BYTES_MAX
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pushes `input` in reads of `step` bytes and returns the emitted pieces.
    fn cut(input: &[u8], step: usize) -> Vec<(End, u32, Vec<u8>)> {
        let mut lines = Lines::new();
        let mut out = Vec::new();
        let mut emit = |end, count, bytes: &[u8]| out.push((end, count, bytes.to_vec()));
        for chunk in input.chunks(step) {
            lines.space()[..chunk.len()].copy_from_slice(chunk);
            lines.push(chunk.len(), &mut emit);
        }
        lines.finish(&mut emit);
        out
    }

    #[test]
    fn whole_lines_of_one_read_are_one_frame() {
        let out = cut(b"a\n\nb\nrest", 64);
        assert_eq!(out[0], (End::Newline, 3, b"a\n\nb\n".to_vec()));
        assert_eq!(out[1], (End::Eof, 1, b"rest".to_vec()));
    }

    #[test]
    fn a_line_that_is_still_comes_in_pieces_of_whole_characters_with_a_last_one() {
        for (input, rest, pieces) in [
            ("Password: ", "\n", vec![(End::Partial, "Password: "), (End::Newline, "\n")]),
            ("10%\r", "20%\n", vec![(End::Partial, "10%\r"), (End::Newline, "20%\n")]),
            ("ask? ", "", vec![(End::Partial, "ask? "), (End::Eof, "")]),
        ] {
            let (mut lines, mut out) = (Lines::new(), Vec::new());
            let mut emit = |end, _, bytes: &[u8]| out.push((end, String::from_utf8(bytes.to_vec()).unwrap()));
            lines.space()[..input.len()].copy_from_slice(input.as_bytes());
            lines.push(input.len(), &mut emit);
            lines.emit_idle(&mut emit);
            lines.emit_idle(&mut emit);
            lines.space()[..rest.len()].copy_from_slice(rest.as_bytes());
            lines.push(rest.len(), &mut emit);
            lines.finish(&mut emit);
            let out: Vec<_> = out.iter().map(|(end, text)| (*end, text.as_str())).collect();
            assert_eq!(out, pieces);
        }
        let (mut lines, mut out) = (Lines::new(), Vec::new());
        let mut emit = |end, _, bytes: &[u8]| out.push((end, bytes.to_vec()));
        lines.space()[..3].copy_from_slice(b"a\xe2\x82");
        lines.push(3, &mut emit);
        lines.emit_idle(&mut emit);
        assert_eq!(out, [(End::Partial, b"a".to_vec())], "the beginning of a euro sign waits");
    }

    #[test]
    fn a_flood_of_short_lines_comes_in_frames_of_a_bounded_number_of_events() {
        let max = FRAME_EVENTS_MAX as usize;
        for lines in [max - 1, max, max + 1, 3 * max, 3 * max + 5] {
            let out = cut(&b"\n".repeat(lines), READ_BYTES_MAX);
            let counts: Vec<usize> = out.iter().map(|o| o.1 as usize).collect();
            assert_eq!(counts.iter().sum::<usize>(), lines);
            assert_eq!(counts.len(), lines.div_ceil(max));
            assert!(out.iter().all(|o| o.1 as usize == o.2.len()));
        }
    }

    #[test]
    fn the_longest_line_is_one_event_and_one_byte_more_is_two() {
        for step in [1000, 4096, READ_BYTES_MAX] {
            for (length, pieces) in [(65_535, 1), (65_536, 1), (65_537, 2), (200_000, 4)] {
                let mut input = vec![b'x'; length];
                input.push(b'\n');
                let out = cut(&input, step);
                assert_eq!(out.len(), pieces, "{length} bytes by {step}");
                assert_eq!(out.iter().flat_map(|o| o.2.clone()).collect::<Vec<_>>(), input);
                let (last, before) = out.split_last().unwrap();
                assert_eq!(last.0, End::Newline);
                assert!(
                    before.iter().all(|o| o.0 == End::Partial && o.1 == 1 && o.2.len() <= LINE_BYTES_MAX)
                );
            }
        }
    }

    #[test]
    fn characters_stay_whole_and_invalid_bytes_are_cut_anywhere() {
        for (text, first) in
            [("é", LINE_BYTES_MAX - 1), ("€", LINE_BYTES_MAX - 1), ("🦀", LINE_BYTES_MAX - 3)]
        {
            let mut input = vec![b'x'; first];
            input.extend(text.as_bytes());
            input.extend(b"yyyyy");
            assert_eq!(cut(&input, READ_BYTES_MAX)[0].2.len(), first, "{text}");
        }
        let exact = ["x".repeat(LINE_BYTES_MAX - 2), "éy".to_owned()].concat();
        assert_eq!(cut(exact.as_bytes(), READ_BYTES_MAX)[0].2.len(), LINE_BYTES_MAX);
        for invalid in [0x80, 0xFF, 0xC3] {
            let out = cut(&vec![invalid; LINE_BYTES_MAX + 9], READ_BYTES_MAX);
            assert_eq!(out[0].2.len(), LINE_BYTES_MAX, "{invalid:#x}");
        }
    }
}
