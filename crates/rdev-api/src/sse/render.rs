//! Rendering: from entries of the log to the bytes that clients read.

use bytes::Bytes;
use rdev_api_types::{
    CompleteEvent, EventName, GapEvent, GapReason, HeartbeatEvent, OutputStream, ProjectGapEvent, Reason,
    StatusEvent, StepEvent, Ticket,
};
use rdev_domain::{
    Entry, EntryBody, Failure, JobStatus, Outcome, Retrying, Seq, StepChange, StreamId, Timestamp,
};
use rdev_runner::frame::{Body, CutReason, End, Frame, LINE_BYTES_MAX, Stream, decode_all};
use serde::Serialize;

use super::agent::{AgentForm, AgentLines, agent_event};
use super::event_id::LogEventId;
use super::shape::Shape;
use crate::convert::{ending_reason, event_job, millis, reason, status, step_error, step_state, time};

/// Cause for which events are not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unsent {
    /// Retention has removed them.
    Removed,
    /// The reader named a last event that this stream has never had: it knows another stream of that name, or a
    /// store that was put back to an earlier state.
    UnknownId,
}

impl Unsent {
    fn reason(self) -> GapReason {
        match self {
            Self::Removed => GapReason::Retention,
            Self::UnknownId => GapReason::UnknownId,
        }
    }
}

/// Form in which events are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Form {
    /// Server-sent events of one stream: the id is the event's number, and a status has none.
    Sse,
    /// Server-sent events of several jobs: the id is the entry's position and the event's number.
    LogSse,
    /// One JSON object a line.
    Ndjson,
    /// The output alone, as it was written.
    Bytes,
}

/// How an entry is read for its subscribers.
#[derive(Clone, Copy, Default)]
pub(crate) struct Reading<'a> {
    /// Reader of the lines of an agent's job, where they are read.
    pub(crate) agent: Option<AgentLines<'a>>,
    /// Events that are sent, and their form.
    pub(crate) shape: Shape,
}

/// Appends the events of an entry that come after `after`, all of them and as they were written.
pub(crate) fn entry(out: &mut Vec<u8>, form: Form, entry: &Entry, after: Seq) -> anyhow::Result<()> {
    entry_read_by(out, form, Reading::default(), entry, after)
}

/// Appends the events of an entry that come after `after`.
pub(crate) fn entry_read_by(
    out: &mut Vec<u8>,
    form: Form,
    reading: Reading<'_>,
    entry: &Entry,
    after: Seq,
) -> anyhow::Result<()> {
    let writer = Writer { form, entry, reading };
    match &entry.body {
        body if !reading.shape.types.has_any_of(body) => {}
        EntryBody::Status(status) => writer.status(out, *status, &Why::default()),
        EntryBody::Stalled(failure) => writer.status(out, JobStatus::Running, &failure.into()),
        EntryBody::Retry(retrying) => writer.status(out, JobStatus::Pending, &retrying.into()),
        EntryBody::Step(_) | EntryBody::Complete(_) | EntryBody::FormerEnd(_) if entry.last_seq <= after => {}
        EntryBody::Step(change) => writer.step(out, change),
        EntryBody::Complete(outcome) => writer.complete(out, outcome),
        EntryBody::FormerEnd(outcome) => writer.status(out, outcome.ending.into(), &outcome.into()),
        EntryBody::Output(frames) => {
            for frame in decode_all(frames.clone()) {
                writer.frame(out, &frame?, after);
            }
        }
    }
    Ok(())
}

/// Appends the announcement that the events `from` to `to` of a stream are not sent; without `to`, that nothing
/// follows.
pub(crate) fn gap(
    out: &mut Vec<u8>,
    form: Form,
    stream: &StreamId,
    (from, to): (u64, Option<u64>),
    why: Unsent,
) {
    if let (Form::Sse, Some(to)) = (form, to) {
        out.extend_from_slice(format!("id: {to}\n").as_bytes());
    }
    let gap = GapEvent { stream_id: stream.to_string(), from, to, reason: why.reason() };
    event(out, form, EventName::Gap, &gap);
}

/// Renders the announcement that entries between two ids of a log of several jobs are not sent. It has no id of its own: a
/// reader that resumes from the id before it gets the announcement again, and the entries that are left.
pub(crate) fn log_gap(from: Option<LogEventId>, to: LogEventId, why: Unsent) -> Bytes {
    let mut out = Vec::new();
    let from = from.map(|from| from.to_string());
    let gap = ProjectGapEvent { from, to: to.to_string(), reason: why.reason() };
    event(&mut out, Form::LogSse, EventName::Gap, &gap);
    out.into()
}

/// Renders a heartbeat, with the id from which its reader resumes.
pub(crate) fn heartbeat(id: Option<&str>, now: Timestamp) -> Bytes {
    let mut out = Vec::new();
    if let Some(id) = id {
        out.extend_from_slice(format!("id: {id}\n").as_bytes());
    }
    event(&mut out, Form::Sse, EventName::Heartbeat, &HeartbeatEvent { timestamp: time(now) });
    out.into()
}

/// Renders a new ticket.
pub(crate) fn ticket(ticket: &Ticket) -> Bytes {
    let mut out = Vec::new();
    event(&mut out, Form::Sse, EventName::Ticket, ticket);
    out.into()
}

/// Cause of a status, where it has one beyond the normal progress.
#[derive(Default)]
struct Why<'a> {
    attempt: Option<u32>,
    reason: Option<Reason>,
    message: Option<&'a str>,
    counted: bool,
}

impl<'a> From<&'a Retrying> for Why<'a> {
    fn from(retrying: &'a Retrying) -> Self {
        let Retrying { attempt, reason, message, counted } = retrying;
        // Stores keep the name of the reason.
        let reason = Some(reason.parse().unwrap_or(Reason::Unknown));
        Self { attempt: Some(*attempt), reason, message: Some(message), counted: *counted }
    }
}

/// The cause of a former end, which keeps its number.
impl<'a> From<&'a Outcome> for Why<'a> {
    fn from(outcome: &'a Outcome) -> Self {
        let (reason, message) = (ending_reason(outcome.ending), outcome.message.as_deref());
        Self { attempt: None, reason, message, counted: true }
    }
}

impl<'a> From<&'a Failure> for Why<'a> {
    fn from(failure: &'a Failure) -> Self {
        let reason = Some(reason(failure.reason));
        Self { reason, message: Some(&failure.message), ..Self::default() }
    }
}

struct Writer<'a> {
    form: Form,
    entry: &'a Entry,
    reading: Reading<'a>,
}

impl Writer<'_> {
    fn frame(&self, out: &mut Vec<u8>, frame: &Frame, after: Seq) {
        match &frame.body {
            Body::Output { stream, end, bytes } if self.form == Form::Bytes => {
                debug_assert!(after == Seq::ZERO, "the plain output is always read from its start");
                let (_, _) = (stream, end);
                out.extend_from_slice(bytes);
            }
            Body::Output { stream, end, bytes } => self.lines(out, frame, (*stream, *end), bytes, after),
            Body::Cut { reason, .. } if frame.last_seq() > after.0 => {
                let reason = match reason {
                    CutReason::SizeLimit => GapReason::OutputLimit,
                    CutReason::DiskFull => GapReason::DiskFull,
                    CutReason::Damaged => GapReason::JournalDamaged,
                    CutReason::Lost => GapReason::RunnerLost,
                };
                self.gap(out, frame.first_seq.max(after.0 + 1), frame.last_seq(), reason);
            }
            Body::Cut { .. } | Body::Hello { .. } | Body::Exit(_) | Body::KeepAlive | Body::Lost(_) => {}
        }
    }

    /// Renders lines, the hot path: the bytes that do not vary between the lines of a frame are made once.
    fn lines(
        &self,
        out: &mut Vec<u8>,
        frame: &Frame,
        (stream, end): (Stream, End),
        bytes: &[u8],
        after: Seq,
    ) {
        let Shape { stderr_as_output, types, .. } = self.reading.shape;
        let (event, stream) = match stream {
            Stream::Stdout => (EventName::Output, OutputStream::Stdout),
            Stream::Stderr if stderr_as_output => (EventName::Output, OutputStream::Stderr),
            Stream::Stderr => (EventName::Error, OutputStream::Stderr),
        };
        let is_sent = types.has(event);
        let mut to_seq = Vec::with_capacity(128);
        begin_data(&mut to_seq, self.form, event);
        to_seq.extend_from_slice(b"\"stream_id\":");
        json(&mut to_seq, &self.entry.stream.as_str());
        to_seq.extend_from_slice(b",\"seq\":");
        let to_line = format!(",\"stream\":\"{stream}\",\"line\":");
        let partial = if end == End::Partial { ",\"partial\":true" } else { "" };
        let time = Timestamp::from_micros(i64::try_from(frame.time_us).unwrap_or(i64::MAX));
        // A piece is no line, and standard error is not the agent's own.
        let agent = self.reading.agent.filter(|_| stream == OutputStream::Stdout && end != End::Partial);
        let mut rest = format!("{partial},\"timestamp\":\"{time}\"}}").into_bytes();
        end_data(&mut rest, self.form);

        if !is_sent && agent.is_none() {
            return;
        }
        let mut number = itoa::Buffer::new();
        let lines = bytes.strip_suffix(b"\n").unwrap_or(bytes).split(|byte| *byte == b'\n');
        for (seq, line) in (frame.first_seq..).zip(lines) {
            if seq <= after.0 {
                continue;
            }
            let understood = agent.and_then(|lines| Some((lines.form, lines.agent.read_line(line)?)));
            let is_event = matches!(understood, Some((AgentForm::Events, _)));
            if !(if is_event { types.has(EventName::Agent) } else { is_sent }) {
                continue;
            }
            let number = number.format(seq).as_bytes();
            self.id(out, number);
            let as_text = match understood {
                Some((AgentForm::Events, understood)) => {
                    let agent_event = agent_event(understood, &self.entry.stream, seq, time);
                    self::event(out, self.form, EventName::Agent, &agent_event);
                    continue;
                }
                Some((AgentForm::Text | AgentForm::Raw, understood)) => Some(understood.to_text()),
                None => None,
            };
            out.extend_from_slice(&to_seq);
            out.extend_from_slice(number);
            out.extend_from_slice(to_line.as_bytes());
            match as_text {
                Some(line) => json(out, &line),
                None => text(out, line),
            }
            out.extend_from_slice(&rest);
        }
    }

    fn status(&self, out: &mut Vec<u8>, to: JobStatus, why: &Why<'_>) {
        if self.form == Form::LogSse || why.counted {
            self.id(out, itoa::Buffer::new().format(self.entry.last_seq.0).as_bytes());
        }
        let status_event = StatusEvent {
            stream_id: self.entry.stream.to_string(),
            status: status(to),
            attempt: why.attempt,
            reason: why.reason,
            message: why.message.map(str::to_owned),
            job: event_job(self.entry),
            timestamp: time(self.entry.at),
        };
        event(out, self.form, EventName::Status, &status_event);
    }

    fn step(&self, out: &mut Vec<u8>, change: &StepChange) {
        self.id(out, itoa::Buffer::new().format(self.entry.last_seq.0).as_bytes());
        let step = StepEvent {
            stream_id: self.entry.stream.to_string(),
            seq: self.entry.last_seq.0,
            name: change.name.to_string(),
            state: step_state(change.state),
            attempt: change.attempt,
            error: change.error.as_ref().map(step_error),
            timestamp: time(self.entry.at),
        };
        event(out, self.form, EventName::Step, &step);
    }

    fn complete(&self, out: &mut Vec<u8>, outcome: &Outcome) {
        self.id(out, itoa::Buffer::new().format(self.entry.last_seq.0).as_bytes());
        let complete = CompleteEvent {
            stream_id: self.entry.stream.to_string(),
            seq: self.entry.last_seq.0,
            status: status(outcome.ending.into()),
            exit_code: outcome.exit_code,
            reason: ending_reason(outcome.ending),
            message: outcome.message.clone(),
            duration_ms: millis(outcome.duration),
            job: event_job(self.entry),
            timestamp: time(self.entry.at),
        };
        event(out, self.form, EventName::Complete, &complete);
    }

    fn gap(&self, out: &mut Vec<u8>, from: u64, to: u64, reason: GapReason) {
        self.id(out, itoa::Buffer::new().format(to).as_bytes());
        let stream_id = self.entry.stream.to_string();
        event(out, self.form, EventName::Gap, &GapEvent { stream_id, from, to: Some(to), reason });
    }

    fn id(&self, out: &mut Vec<u8>, seq: &[u8]) {
        match self.form {
            Form::Sse => out.extend_from_slice(b"id: "),
            Form::LogSse => {
                out.extend_from_slice(b"id: ");
                out.extend_from_slice(itoa::Buffer::new().format(self.entry.position.0).as_bytes());
                out.push(b'-');
            }
            Form::Ndjson | Form::Bytes => return,
        }
        out.extend_from_slice(seq);
        out.push(b'\n');
    }
}

fn event(out: &mut Vec<u8>, form: Form, event: EventName, data: &impl Serialize) {
    if form == Form::Bytes {
        return;
    }
    begin_data(out, form, event);
    let from = out.len();
    json(out, data);
    // `begin_data` has written the opening brace.
    out.remove(from);
    end_data(out, form);
}

/// Writes an event up to the first field of its data.
fn begin_data(out: &mut Vec<u8>, form: Form, event: EventName) {
    let (before, after) = match form {
        Form::Sse | Form::LogSse => ("event: ", "\ndata: {"),
        Form::Ndjson | Form::Bytes => ("{\"event\":\"", "\","),
    };
    [before, event.as_str(), after].iter().for_each(|part| out.extend_from_slice(part.as_bytes()));
}

fn end_data(out: &mut Vec<u8>, form: Form) {
    let end: &[u8] = if matches!(form, Form::Sse | Form::LogSse) { b"\n\n" } else { b"\n" };
    out.extend_from_slice(end);
}

/// Writes a line as a JSON string. Most lines are printable ASCII, which is copied unchanged.
fn text(out: &mut Vec<u8>, line: &[u8]) {
    debug_assert!(line.len() <= LINE_BYTES_MAX);
    let plain = |byte: &u8| (0x20..0x7f).contains(byte) && *byte != b'"' && *byte != b'\\';
    if line.iter().all(plain) {
        out.push(b'"');
        out.extend_from_slice(line);
        out.push(b'"');
    } else {
        json(out, &String::from_utf8_lossy(line));
    }
}

fn json(out: &mut Vec<u8>, value: &(impl Serialize + ?Sized)) {
    serde_json::to_writer(out, value).expect("text and numbers are written to memory");
}

#[cfg(test)]
mod tests;
