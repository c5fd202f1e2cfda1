//! Lines of a process's output, the hot path: an event each, or several in one.

use rdev_api_types::{EventName, OutputStream, SubscriptionQuery};
use rdev_domain::{Entry, Position, Seq, StreamId, Timestamp};
use rdev_runner::frame::{End, Frame, LINE_BYTES_MAX, Stream};

use super::form::{Form, begin, event, json, put};
use super::reading::Reading;
use crate::sse::agent::{AgentForm, agent_event};

/// Size from which on an event of several lines takes no more, so that no reader holds megabytes for one event.
const BATCH_BYTES: usize = 64 * 1024;

/// Lines of one frame, all of one output, read at one time.
pub(super) struct FrameLines<'a> {
    entry: &'a Entry,
    form: Form,
    reading: Reading<'a>,
    first_seq: u64,
    after: Seq,
    event: EventName,
    stream: OutputStream,
    /// True where the lines are sent that no agent has understood.
    is_sent: bool,
    is_partial: bool,
    time: Timestamp,
    bytes: &'a [u8],
    /// True where no line has a character that JSON escapes, or that is not ASCII.
    is_plain: bool,
}

impl<'a> FrameLines<'a> {
    pub(super) fn of(
        (form, reading, entry): (Form, Reading<'a>, &'a Entry),
        frame: &'a Frame,
        (stream, end): (Stream, End),
        bytes: &'a [u8],
        after: Seq,
    ) -> Self {
        let (event, stream) = match stream {
            Stream::Stdout => (EventName::Output, OutputStream::Stdout),
            Stream::Stderr if reading.shape.stderr_as_output => (EventName::Output, OutputStream::Stderr),
            Stream::Stderr => (EventName::Error, OutputStream::Stderr),
        };
        let is_partial = end == End::Partial;
        // A piece is no line, and standard error is not the agent's own.
        let agent = reading.agent.filter(|_| stream == OutputStream::Stdout && !is_partial);
        let bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
        // Without an early end, which would keep it from being done for many bytes at a time.
        let is_plain = bytes.iter().fold(true, |plain, byte| plain & (is_plain(*byte) | (*byte == b'\n')));
        Self {
            entry,
            form,
            reading: Reading { agent, ..reading },
            first_seq: frame.first_seq,
            after,
            event,
            stream,
            is_sent: reading.shape.types.has(event),
            is_partial,
            time: Timestamp::from_micros(i64::try_from(frame.time_us).unwrap_or(i64::MAX)),
            bytes,
            is_plain,
        }
    }

    /// Appends an event a line.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        if !self.is_sent && self.reading.agent.is_none() {
            return;
        }
        let fixed = Fixed::of(self);
        out.reserve(fixed.bytes_at_most(self));
        let mut number = itoa::Buffer::new();
        for (seq, line) in self.numbered() {
            let as_text = match self.read_by_agent(out, seq, line) {
                Line::Unread if !self.is_sent => continue,
                Line::Unread => None,
                Line::Text(_) if !self.is_sent => continue,
                Line::Text(text) => Some(text),
                Line::Event => continue,
            };
            let number = number.format(seq).as_bytes();
            if let Some(before_id) = &fixed.before_id {
                out.extend_from_slice(before_id);
                out.extend_from_slice(number);
            }
            out.extend_from_slice(&fixed.before_seq);
            out.extend_from_slice(number);
            out.extend_from_slice(fixed.before_line.as_bytes());
            self.text(out, line, as_text.as_deref());
            out.extend_from_slice(&fixed.after_line);
        }
    }

    /// Adds the lines to a batch, and appends the events that are full.
    pub(super) fn gather(&self, out: &mut Vec<u8>, batch: &mut Batch) {
        if !self.is_sent && self.reading.agent.is_none() {
            return;
        }
        let mut next = None;
        for (seq, line) in self.numbered() {
            let as_text = match self.read_by_agent_after(out, batch, seq, line) {
                Line::Unread => None,
                Line::Text(text) => Some(text),
                Line::Event => continue,
            };
            if !self.is_sent {
                continue;
            }
            if batch.is_full() {
                batch.flush(out, self.form);
            }
            if !batch.is_open || next != Some(seq) {
                batch.begin_part(self, seq);
            } else {
                batch.parts.push(b',');
            }
            self.text(&mut batch.parts, line, as_text.as_deref());
            batch.count += 1;
            batch.last = (self.entry.position, seq);
            next = Some(seq + 1);
        }
        batch.end_part();
    }

    /// Returns the lines to send, with their numbers.
    fn numbered(&self) -> impl Iterator<Item = (u64, &'a [u8])> {
        let (bytes, mut from) = (self.bytes, 0);
        let ends = memchr::memchr_iter(b'\n', bytes).chain([bytes.len()]);
        let lines = ends.map(move |end| {
            let line = &bytes[from..end];
            from = end + 1;
            line
        });
        let skipped =
            usize::try_from((self.after.0 + 1).saturating_sub(self.first_seq)).unwrap_or(usize::MAX);
        (self.first_seq..).zip(lines).skip(skipped)
    }

    /// Has an agent read a line, and appends its event where that is what the line is sent as.
    fn read_by_agent(&self, out: &mut Vec<u8>, seq: u64, line: &[u8]) -> Line {
        let Some(agent) = self.reading.agent else { return Line::Unread };
        let Some(understood) = agent.agent.read_line(line) else { return Line::Unread };
        if agent.form != AgentForm::Events {
            return Line::Text(understood.to_text());
        }
        if self.reading.shape.types.has(EventName::Agent) {
            let agent_event = agent_event(understood, &self.entry.stream, seq, self.time);
            let id = self.form.id(self.entry.position, seq);
            event(out, self.form, id.as_deref(), EventName::Agent, &agent_event);
        }
        Line::Event
    }

    /// As [`FrameLines::read_by_agent`], with the lines before it sent first.
    fn read_by_agent_after(&self, out: &mut Vec<u8>, batch: &mut Batch, seq: u64, line: &[u8]) -> Line {
        if self.reading.agent.is_none() {
            return Line::Unread;
        }
        let mut event = Vec::new();
        let read = self.read_by_agent(&mut event, seq, line);
        if !event.is_empty() {
            batch.flush(out, self.form);
            out.extend_from_slice(&event);
        }
        read
    }

    /// Writes a line as a JSON string. Most lines are printable ASCII, which is copied unchanged.
    fn text(&self, out: &mut Vec<u8>, line: &[u8], as_text: Option<&str>) {
        debug_assert!(line.len() <= LINE_BYTES_MAX);
        if let Some(text) = as_text {
            json(out, text);
        } else if self.is_plain || line.iter().all(|byte| is_plain(*byte)) {
            out.push(b'"');
            out.extend_from_slice(line);
            out.push(b'"');
        } else {
            json(out, &String::from_utf8_lossy(line));
        }
    }
}

fn is_plain(byte: u8) -> bool {
    (0x20..0x7f).contains(&byte) & (byte != b'"') & (byte != b'\\')
}

/// A line, after an agent's reader has seen it.
enum Line {
    /// It is no agent's, or was not understood.
    Unread,
    /// It is sent as this text.
    Text(String),
    /// It is an event by itself, which is written where it was chosen.
    Event,
}

/// Bytes that do not vary between the lines of a frame.
struct Fixed {
    /// Before the number in the id; `None` in forms without ids.
    before_id: Option<Vec<u8>>,
    before_seq: Vec<u8>,
    before_line: String,
    after_line: Vec<u8>,
}

impl Fixed {
    fn of(lines: &FrameLines<'_>) -> Self {
        let (form, entry) = (lines.form, lines.entry);
        let marks = form.marks();
        let before_id = form.id_before_number(entry.position);
        let before_id = before_id.map(|before| [marks.before_id, &before].concat().into_bytes());
        let mut before_seq = Vec::with_capacity(128);
        put(&mut before_seq, [marks.after_id, lines.event.as_str(), marks.after_name, "\"stream_id\":"]);
        json(&mut before_seq, entry.stream.as_str());
        put(&mut before_seq, [",\"seq\":"]);
        let before_line = format!(",\"stream\":\"{}\",\"line\":", lines.stream);
        let partial = if lines.is_partial { ",\"partial\":true" } else { "" };
        let after_line = format!("{partial},\"timestamp\":\"{}\"}}{}", lines.time, marks.end).into_bytes();
        Self { before_id, before_seq, before_line, after_line }
    }

    /// Returns the size of the events of plain lines, or somewhat more.
    fn bytes_at_most(&self, lines: &FrameLines<'_>) -> usize {
        const NUMBER_BYTES: usize = 20;
        let of_id = self.before_id.as_ref().map_or(0, |before| before.len() + NUMBER_BYTES);
        let a_line =
            of_id + self.before_seq.len() + NUMBER_BYTES + self.before_line.len() + self.after_line.len() + 1;
        let count = memchr::memchr_iter(b'\n', lines.bytes).count() + 1;
        count * a_line + lines.bytes.len()
    }
}

/// Lines that are gathered for one event.
pub(super) struct Batch {
    stream: StreamId,
    /// Most lines of an event.
    max: u32,
    /// Number of lines gathered.
    count: u32,
    /// Parts of the event as they are written.
    parts: Vec<u8>,
    /// True while a part takes lines.
    is_open: bool,
    /// Position and number of the last line gathered.
    last: (Position, u64),
}

impl Batch {
    /// Gathers at most `max` lines of a stream for an event.
    pub(super) fn new(max: u32, stream: &StreamId) -> Self {
        debug_assert!((1..=SubscriptionQuery::BATCH_MAX).contains(&max));
        let (stream, parts) = (stream.clone(), Vec::new());
        Self { stream, max, count: 0, parts, is_open: false, last: (Position::ZERO, 0) }
    }

    fn is_full(&self) -> bool {
        self.count >= self.max || self.parts.len() >= BATCH_BYTES
    }

    fn begin_part(&mut self, lines: &FrameLines<'_>, seq: u64) {
        self.end_part();
        let separator = if self.parts.is_empty() { "" } else { "," };
        let partial = if lines.is_partial { "\"partial\":true," } else { "" };
        let (stream, time) = (lines.stream, lines.time);
        let head = format!(
            "{separator}{{\"seq\":{seq},\"stream\":\"{stream}\",{partial}\"timestamp\":\"{time}\",\"lines\":["
        );
        self.parts.extend_from_slice(head.as_bytes());
        self.is_open = true;
    }

    fn end_part(&mut self) {
        if std::mem::take(&mut self.is_open) {
            put(&mut self.parts, ["]}"]);
        }
    }

    /// Appends the event with what was gathered, if there is any.
    pub(super) fn flush(&mut self, out: &mut Vec<u8>, form: Form) {
        self.end_part();
        if self.count == 0 {
            return;
        }
        let (position, seq) = self.last;
        begin(out, form, form.id(position, seq).as_deref(), EventName::Lines);
        put(out, ["\"stream_id\":"]);
        json(out, self.stream.as_str());
        put(out, [",\"parts\":["]);
        out.extend_from_slice(&self.parts);
        put(out, ["]}", form.marks().end]);
        self.parts.clear();
        self.count = 0;
    }
}
