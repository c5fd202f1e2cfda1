//! Rendering: from entries of the log to the bytes that clients read.

use bytes::Bytes;
use rdev_api_types::{
    CompleteEvent, EventName, GapEvent, GapReason, HeartbeatEvent, OutputStream, ProjectGapEvent, Reason,
    StatusEvent, StepEvent,
};
use rdev_domain::{
    Entry, EntryBody, Failure, JobStatus, Outcome, Retrying, Seq, StepChange, StreamId, Timestamp,
};
use rdev_runner::frame::{Body, CutReason, End, Frame, LINE_BYTES_MAX, Stream, decode_all};
use serde::Serialize;

use super::agent::{AgentForm, AgentLines, agent_event};
use super::event_id::ProjectEventId;
use crate::convert::{ending_reason, millis, reason, status, step_error, step_state, time};

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
    /// Server-sent events of a project: the id is the entry's position and the event's number.
    ProjectSse,
    /// One JSON object a line.
    Ndjson,
    /// The output alone, as it was written.
    Bytes,
}

/// Appends the events of an entry that come after `after`.
pub(crate) fn entry(out: &mut Vec<u8>, form: Form, entry: &Entry, after: Seq) -> anyhow::Result<()> {
    entry_read_by(out, form, None, entry, after)
}

/// Appends the events of an entry that come after `after`; `agent` reads the lines of an agent's job.
pub(crate) fn entry_read_by(
    out: &mut Vec<u8>,
    form: Form,
    agent: Option<AgentLines<'_>>,
    entry: &Entry,
    after: Seq,
) -> anyhow::Result<()> {
    let writer = Writer { form, entry, agent };
    match &entry.body {
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

/// Renders the announcement that entries between two ids of a project's log are not sent. It has no id of its own: a
/// reader that resumes from the id before it gets the announcement again, and the entries that are left.
pub(crate) fn project_gap(from: Option<ProjectEventId>, to: ProjectEventId, why: Unsent) -> Bytes {
    let mut out = Vec::new();
    let from = from.map(|from| from.to_string());
    let gap = ProjectGapEvent { from, to: to.to_string(), reason: why.reason() };
    event(&mut out, Form::ProjectSse, EventName::Gap, &gap);
    out.into()
}

/// Renders a heartbeat.
pub(crate) fn heartbeat(now: Timestamp) -> Bytes {
    let mut out = Vec::new();
    event(&mut out, Form::Sse, EventName::Heartbeat, &HeartbeatEvent { timestamp: time(now) });
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
    /// Reader of lines, where an agent wrote them.
    agent: Option<AgentLines<'a>>,
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
        let (event, stream) = match stream {
            Stream::Stdout => (EventName::Output, OutputStream::Stdout),
            Stream::Stderr => (EventName::Error, OutputStream::Stderr),
        };
        let mut to_seq = Vec::with_capacity(128);
        begin_data(&mut to_seq, self.form, event);
        to_seq.extend_from_slice(b"\"stream_id\":");
        json(&mut to_seq, &self.entry.stream.as_str());
        to_seq.extend_from_slice(b",\"seq\":");
        let to_line = format!(",\"stream\":\"{stream}\",\"line\":");
        let partial = if end == End::Partial { ",\"partial\":true" } else { "" };
        let time = Timestamp::from_micros(i64::try_from(frame.time_us).unwrap_or(i64::MAX));
        // A piece is no line, and standard error is not the agent's own.
        let agent = self.agent.filter(|_| event == EventName::Output && end != End::Partial);
        let mut rest = format!("{partial},\"timestamp\":\"{time}\"}}").into_bytes();
        end_data(&mut rest, self.form);

        let mut number = itoa::Buffer::new();
        let lines = bytes.strip_suffix(b"\n").unwrap_or(bytes).split(|byte| *byte == b'\n');
        for (seq, line) in (frame.first_seq..).zip(lines) {
            if seq <= after.0 {
                continue;
            }
            let understood = agent.and_then(|lines| Some((lines.form, lines.agent.read_line(line)?)));
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
        if self.form == Form::ProjectSse || why.counted {
            self.id(out, itoa::Buffer::new().format(self.entry.last_seq.0).as_bytes());
        }
        let status_event = StatusEvent {
            stream_id: self.entry.stream.to_string(),
            status: status(to),
            attempt: why.attempt,
            reason: why.reason,
            message: why.message.map(str::to_owned),
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
            Form::ProjectSse => {
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
        Form::Sse | Form::ProjectSse => ("event: ", "\ndata: {"),
        Form::Ndjson | Form::Bytes => ("{\"event\":\"", "\","),
    };
    [before, event.as_str(), after].iter().for_each(|part| out.extend_from_slice(part.as_bytes()));
}

fn end_data(out: &mut Vec<u8>, form: Form) {
    let end: &[u8] = if matches!(form, Form::Sse | Form::ProjectSse) { b"\n\n" } else { b"\n" };
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
mod tests {
    use std::time::Duration;

    use rdev_api_types::OutputEvent;
    use rdev_domain::{Ending, Position, Reason};

    use super::*;

    const AT: Timestamp = Timestamp::from_micros(1_769_284_800_123_456);

    fn output(first_seq: u64, count: u32, end: End, bytes: &'static [u8]) -> Frame {
        let body = Body::Output { stream: Stream::Stderr, end, bytes: Bytes::from_static(bytes) };
        Frame { first_seq, count, time_us: AT.as_micros() as u64, body }
    }

    fn entry_of(frames: &[Frame]) -> Entry {
        let mut bytes = Vec::new();
        frames.iter().for_each(|frame| frame.encode(&mut bytes));
        let id = format!("cmd-{}", "0".repeat(32));
        Entry {
            position: Position(9),
            target: rdev_domain::Target::Project("demo".parse().unwrap()),
            job: id.parse().unwrap(),
            stream: "s".parse().unwrap(),
            first_seq: Seq(frames[0].first_seq),
            last_seq: Seq(frames[frames.len() - 1].last_seq()),
            at: AT,
            body: EntryBody::Output(bytes.into()),
        }
    }

    fn rendered(form: Form, of: &Entry, after: u64) -> String {
        let mut out = Vec::new();
        entry(&mut out, form, of, Seq(after)).unwrap();
        String::from_utf8(out).unwrap()
    }

    /// The hot path writes by hand what the documented shape would be serialised to.
    #[test]
    fn a_line_is_what_its_documented_shape_is() {
        let lines: [&[u8]; 5] = [b"plain", b"a \"quote\" \\ and \ttab", b"nul \0", "ä 🦀".as_bytes(), b""];
        for line in lines {
            for end in [End::Newline, End::Partial, End::Eof] {
                let bytes: &'static [u8] =
                    if end == End::Newline { [line, b"\n"].concat().leak() } else { line };
                let event = OutputEvent {
                    stream_id: "s".to_owned(),
                    seq: 3,
                    stream: OutputStream::Stderr,
                    line: String::from_utf8(line.to_vec()).unwrap(),
                    partial: end == End::Partial,
                    timestamp: time(AT),
                };
                let json = serde_json::to_string(&event).unwrap();
                let of = entry_of(&[output(3, 1, end, bytes)]);
                assert_eq!(rendered(Form::Sse, &of, 0), format!("id: 3\nevent: error\ndata: {json}\n\n"));
                let ndjson = rendered(Form::Ndjson, &of, 0);
                assert_eq!(ndjson, format!("{{\"event\":\"error\",{}\n", &json[1..]));
            }
        }
    }

    #[test]
    fn only_what_comes_after_is_shown_and_invalid_bytes_are_replaced() {
        let of = entry_of(&[output(1, 3, End::Newline, b"a\nb\n\xff\n"), output(4, 1, End::Eof, b"d")]);
        let all = rendered(Form::Sse, &of, 0);
        assert_eq!(all.matches("\n\n").count(), 4);
        assert!(all.contains("\"line\":\"\u{fffd}\""));
        let rest = rendered(Form::ProjectSse, &of, 2);
        assert!(rest.starts_with("id: 9-3\n") && rest.contains("id: 9-4\n"));
        assert_eq!(rendered(Form::Bytes, &entry_of(&[output(1, 2, End::Newline, b"a\nb\n")]), 0), "a\nb\n");
    }

    #[test]
    fn what_is_missing_is_announced() {
        let cut = Frame {
            first_seq: 5,
            count: 10,
            time_us: 1,
            body: Body::Cut { reason: CutReason::SizeLimit, bytes: 99 },
        };
        let of = entry_of(&[cut]);
        let gap = "id: 14\nevent: gap\ndata: {\"stream_id\":\"s\",\"from\":5,\"to\":14,\"reason\":\"output_limit\"}\n\n";
        assert_eq!(rendered(Form::Sse, &of, 0), gap);
        assert_eq!(rendered(Form::Sse, &of, 8), gap.replace("\"from\":5", "\"from\":9"));
        let mut out = Vec::new();
        super::gap(&mut out, Form::Sse, &of.stream, (3, Some(4)), Unsent::Removed);
        super::gap(&mut out, Form::Ndjson, &of.stream, (5, None), Unsent::Removed);
        out.extend(project_gap(None, "9-0".parse().unwrap(), Unsent::Removed));
        let told = "id: 4\nevent: gap\ndata: {\"stream_id\":\"s\",\"from\":3,\"to\":4,\"reason\":\"retention\"}\n\n\
            {\"event\":\"gap\",\"stream_id\":\"s\",\"from\":5,\"to\":null,\"reason\":\"retention\"}\n\
            event: gap\ndata: {\"from\":null,\"to\":\"9-0\",\"reason\":\"retention\"}\n\n";
        assert_eq!(String::from_utf8(out).unwrap(), told);
    }

    #[test]
    fn the_end_says_why() {
        let outcome = Outcome {
            ending: Ending::TimedOut,
            exit_code: Some(143),
            message: None,
            duration: Duration::from_millis(1500),
        };
        let of = Entry { body: EntryBody::Complete(outcome), ..entry_of(&[output(7, 1, End::Eof, b"x")]) };
        let text = rendered(Form::Sse, &of, 6);
        assert!(text.starts_with("id: 7\nevent: complete\ndata: {\"stream_id\":\"s\",\"seq\":7,"));
        assert!(text.contains(
            "\"status\":\"timed_out\",\"exit_code\":143,\"reason\":\"timeout\",\"duration_ms\":1500"
        ));
        assert_eq!(rendered(Form::Sse, &of, 7), "");
    }

    #[test]
    fn a_step_has_a_number_of_its_own() {
        let (name, state) = ("repository".parse().unwrap(), rdev_domain::StepStatus::Done);
        let body = EntryBody::Step(StepChange { name, state, attempt: 2, error: None });
        let of = Entry { body, ..entry_of(&[output(7, 1, End::Eof, b"x")]) };
        let told = "id: 7\nevent: step\ndata: {\"stream_id\":\"s\",\"seq\":7,\"name\":\"repository\",\"state\":\"done\",\"attempt\":2,\"timestamp\":";
        assert!(rendered(Form::Sse, &of, 6).starts_with(told));
        assert_eq!(rendered(Form::Sse, &of, 7), "");
    }

    #[test]
    fn a_former_end_is_a_status_with_its_number() {
        let outcome = Outcome::without_process(Ending::Failed(Reason::ExitCode), "step 2");
        let of = Entry { body: EntryBody::FormerEnd(outcome), ..entry_of(&[output(7, 1, End::Eof, b"x")]) };
        let text = rendered(Form::Sse, &of, 6);
        let told = "id: 7\nevent: status\ndata: {\"stream_id\":\"s\",\"status\":\"failed\",\"reason\":\"exit_code\",\"message\":\"step 2\",";
        assert!(text.starts_with(told), "{text}");
        assert_eq!(rendered(Form::Sse, &of, 7), "");
        let retrying = Retrying {
            attempt: 2,
            reason: "retried".to_owned(),
            message: "exit_code: 2".to_owned(),
            counted: false,
        };
        let of = Entry { body: EntryBody::Retry(retrying), ..of };
        let text = rendered(Form::Sse, &of, 7);
        assert!(
            text.starts_with("event: status\n") && text.contains("\"status\":\"pending\",\"attempt\":2"),
            "{text}"
        );
    }
}
