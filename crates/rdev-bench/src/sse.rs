//! Counts events in arrival order: each has its number as `"seq":N`, and numbers are consecutive.

use memchr::memmem::{self, Finder};
use memchr::{memchr, memchr_iter, memrchr};

/// Bytes of the end of a stream that are kept, to check the last event.
const TAIL_BYTES: usize = 8 * 1024;

/// Received numbers.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Numbers {
    /// The next expected number.
    pub(crate) next: u64,
    /// Count of distinct numbers.
    pub(crate) count: u64,
    pub(crate) repeated: u64,
    pub(crate) missing: u64,
}

impl Numbers {
    pub(crate) fn from(first: u64) -> Self {
        Self { next: first, ..Self::default() }
    }

    pub(crate) fn see(&mut self, number: u64) {
        if number < self.next {
            self.repeated += 1;
        } else {
            self.missing += number - self.next;
            self.next = number + 1;
            self.count += 1;
        }
    }

    pub(crate) fn in_order(&self) -> bool {
        self.repeated == 0 && self.missing == 0
    }
}

/// Returns the number at the beginning of a text.
pub(crate) fn leading_number(text: &[u8]) -> Option<u64> {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit());
    digits.fold(None, |number, digit| Some(number.unwrap_or(0) * 10 + u64::from(digit - b'0')))
}

/// Counts the events of one stream.
#[derive(Debug)]
pub(crate) struct Counter {
    seq: Finder<'static>,
    /// An incomplete line.
    partial: Vec<u8>,
    tail: Vec<u8>,
    /// An event may have several lines.
    of_batches: bool,
    pub(crate) numbers: Numbers,
    pub(crate) bytes: u64,
}

impl Counter {
    pub(crate) fn new() -> Self {
        Self {
            seq: Finder::new(b"\"seq\":"),
            partial: Vec::new(),
            tail: Vec::new(),
            of_batches: false,
            numbers: Numbers::from(1),
            bytes: 0,
        }
    }

    /// Counts the lines of events that may have several.
    pub(crate) fn of_batches() -> Self {
        Self { of_batches: true, ..Self::new() }
    }

    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.bytes += bytes.len() as u64;
        let Some(end) = memrchr(b'\n', bytes) else {
            self.partial.extend_from_slice(bytes);
            return;
        };
        let (mut whole, rest) = bytes.split_at(end + 1);
        if !self.partial.is_empty() {
            let first = memchr(b'\n', whole).map_or(whole.len(), |at| at + 1);
            let mut line = std::mem::take(&mut self.partial);
            line.extend_from_slice(&whole[..first]);
            self.lines(&line);
            line.clear();
            (self.partial, whole) = (line, &whole[first..]);
        }
        self.lines(whole);
        self.partial.extend_from_slice(rest);
    }

    fn lines(&mut self, lines: &[u8]) {
        for at in self.seq.find_iter(lines) {
            if let Some(number) = leading_number(&lines[at + 6..]) {
                let count = if self.of_batches { lines_of_part(&lines[at..]) } else { 1 };
                (number..number + count).for_each(|number| self.numbers.see(number));
            }
        }
        let keep = lines.len().saturating_sub(TAIL_BYTES);
        if keep > 0 || self.tail.len() > 4 * TAIL_BYTES {
            self.tail.clear();
        }
        self.tail.extend_from_slice(&lines[keep..]);
    }

    /// Returns the last line of output.
    pub(crate) fn last_line(&self) -> Option<&str> {
        if self.of_batches {
            let end = memmem::rfind(&self.tail, b"\"]}]}")?;
            let from = memrchr(b'"', &self.tail[..end])? + 1;
            return std::str::from_utf8(&self.tail[from..end]).ok();
        }
        let from = memmem::rfind(&self.tail, b"\"line\":\"")? + 8;
        let length = memchr(b'"', &self.tail[from..])?;
        std::str::from_utf8(&self.tail[from..from + length]).ok()
    }

    pub(crate) fn is_complete(&self) -> bool {
        [&b"event: complete"[..], b"\"event\":\"complete\""]
            .iter()
            .any(|end| memmem::rfind(&self.tail, end).is_some())
    }
}

/// Returns the number of lines of the part at the beginning of a text; 1 for an event without parts.
fn lines_of_part(text: &[u8]) -> u64 {
    const BEFORE: &[u8] = b"\"lines\":[";
    /// Bytes in which the other fields of a part have room.
    const FIELDS_BYTES: usize = 160;
    let Some(at) = memmem::find(&text[..text.len().min(FIELDS_BYTES)], BEFORE) else { return 1 };
    let lines = &text[at + BEFORE.len()..];
    let end = memchr(b']', lines).unwrap_or(lines.len());
    memchr_iter(b'"', &lines[..end]).count() as u64 / 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_of_batches_are_counted_however_they_are_cut() {
        let part = |seq: u64, lines: &str| {
            format!("{{\"seq\":{seq},\"stream\":\"stdout\",\"timestamp\":\"t\",\"lines\":[{lines}]}}")
        };
        let text = format!(
            "event: lines\ndata: {{\"parts\":[{},{}]}}\n\nid: 4\nevent: complete\ndata: {{\"seq\":4}}\n\n",
            part(1, "\"one\",\"two\""),
            part(3, "\"three\"")
        );
        for size in 1..text.len() {
            let mut counter = Counter::of_batches();
            text.as_bytes().chunks(size).for_each(|piece| counter.push(piece));
            assert_eq!(counter.numbers, Numbers { next: 5, count: 4, repeated: 0, missing: 0 });
            assert_eq!(counter.last_line(), Some("three"));
            assert!(counter.is_complete());
        }
    }

    #[test]
    fn events_are_counted_however_they_are_cut() {
        let text =
            b"id: 1\ndata: {\"seq\":1,\"line\":\"one\"}\n\nid: 2\ndata: {\"seq\":2,\"line\":\"two\"}\n\n\
                     id: 2\ndata: {\"seq\":2}\n\nid: 12\nevent: complete\ndata: {\"seq\":12}\n\n";
        for size in 1..text.len() {
            let mut counter = Counter::new();
            text.chunks(size).for_each(|piece| counter.push(piece));
            assert_eq!(counter.numbers, Numbers { next: 13, count: 3, repeated: 1, missing: 9 });
            assert_eq!(counter.last_line(), Some("two"));
            assert!(counter.is_complete());
        }
    }
}
