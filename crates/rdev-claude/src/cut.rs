//! Lines of any length in bounded memory: the texts of JSON are cut short as they come.

/// A line that is longer, with its texts cut short, is not looked at.
const LINE_BYTES_MAX: usize = 1024 * 1024;
/// Beginning of each text in a line that is looked at: results and file contents may have any size.
const TEXT_BYTES_MAX: usize = 16 * 1024;

/// A line as it comes, with the texts in it cut short, so that it needs little room and is JSON as before.
#[derive(Debug, Default)]
pub(crate) struct CutLine {
    bytes: Vec<u8>,
    text: Option<Text>,
    too_long: bool,
}

/// A text of JSON, between its quotes.
#[derive(Debug, Default)]
struct Text {
    length: usize,
    /// Bytes that are still to come of an escape.
    escape: u8,
    /// The rest of it is passed over.
    is_cut: bool,
}

impl CutLine {
    /// Reads the next bytes of the line.
    pub(crate) fn push(&mut self, piece: &[u8]) {
        for &byte in piece {
            let keep = match &mut self.text {
                None => {
                    self.text = (byte == b'"').then(Text::default);
                    true
                }
                Some(text) if byte == b'"' && text.escape == 0 => {
                    self.text = None;
                    true
                }
                Some(text) => text.keeps(byte),
            };
            if keep && !self.too_long {
                self.bytes.push(byte);
            }
        }
        if self.bytes.len() > LINE_BYTES_MAX {
            (self.too_long, self.bytes) = (true, Vec::new());
        }
    }

    /// Returns what was kept of the line, and begins the next one. Of a line that is too long nothing was.
    pub(crate) fn take(&mut self) -> Vec<u8> {
        std::mem::take(self).bytes
    }
}

impl Text {
    fn keeps(&mut self, byte: u8) -> bool {
        self.length = self.length.saturating_add(1);
        match (self.escape, byte) {
            (0, b'\\') => self.escape = 1,
            // Between two escapes it may be one character that is cut, so it is not cut there.
            (0, _) => self.is_cut |= self.length > TEXT_BYTES_MAX,
            (1, b'u') => self.escape = 4,
            // `uXXXX`: one digit after the other.
            (left, _) => self.escape = left - 1,
        }
        !self.is_cut
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(line: &[u8], step: usize) -> Vec<u8> {
        let mut cut = CutLine::default();
        line.chunks(step).for_each(|piece| cut.push(piece));
        cut.take()
    }

    #[test]
    fn long_texts_are_cut_and_the_line_stays_json() {
        let escapes = "\\\"\\\\\\u0041\\ud83d\\ude00\\n é".repeat(TEXT_BYTES_MAX);
        for text in ["short", &"x".repeat(5 * LINE_BYTES_MAX), &escapes, &"é".repeat(TEXT_BYTES_MAX)] {
            let line = format!("{{\"a\":\"{text}\",\"b\":[1,\"c\"]}}");
            for step in [7, 4096, usize::MAX] {
                let kept = cut(line.as_bytes(), step);
                assert!(kept.len() < 2 * TEXT_BYTES_MAX, "{} bytes", kept.len());
                let kept = String::from_utf8_lossy(&kept);
                assert!(kept.ends_with("\",\"b\":[1,\"c\"]}"), "{} bytes in {step}", text.len());
                serde_json::from_str::<serde::de::IgnoredAny>(&kept).unwrap();
            }
        }
    }

    #[test]
    fn nothing_is_kept_of_a_line_that_is_too_long() {
        let mut line = CutLine::default();
        for _ in 0..3 * LINE_BYTES_MAX / 4 {
            line.push(b"[1],");
        }
        assert!(line.take().is_empty());
        line.push(b"{}");
        assert_eq!(line.take(), b"{}");
    }
}
