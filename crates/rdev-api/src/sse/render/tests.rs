//! Rendered entries, as clients read them.

use std::time::Duration;

use rdev_api_types::{Event, LinesEvent, LinesPart, OutputEvent, OutputStream, StreamItem};
use rdev_domain::{Ending, Position, Reason};
use rdev_runner::frame::{End, Stream};

use super::*;
use crate::sse::shape::Shape;

const SSE: Form = Form::Events(Framing::Sse, Ids::Numbers);
const LOG_SSE: Form = Form::Events(Framing::Sse, Ids::Positions);
const NDJSON: Form = Form::Events(Framing::Ndjson, Ids::Numbers);
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
        kind: rdev_domain::JobKind::Command(rdev_domain::CommandKind::Shell),
        project: Some("demo".parse().unwrap()),
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
            let bytes: &'static [u8] = if end == End::Newline { [line, b"\n"].concat().leak() } else { line };
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
            assert_eq!(rendered(SSE, &of, 0), format!("id: 3\nevent: error\ndata: {json}\n\n"));
            let data = rendered(Form::Data, &of, 0);
            assert_eq!(data, format!("{{\"event\":\"error\",{}\n", &json[1..]));
            let item = rendered(NDJSON, &of, 0);
            assert_eq!(item, format!("{{\"id\":\"3\",\"event\":\"error\",\"data\":{json}}}\n"));
        }
    }
}

#[test]
fn only_what_comes_after_is_shown_and_invalid_bytes_are_replaced() {
    let of = entry_of(&[output(1, 3, End::Newline, b"a\nb\n\xff\n"), output(4, 1, End::Eof, b"d")]);
    let all = rendered(SSE, &of, 0);
    assert_eq!(all.matches("\n\n").count(), 4);
    assert!(all.contains("\"line\":\"\u{fffd}\""));
    let rest = rendered(LOG_SSE, &of, 2);
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
    assert_eq!(rendered(SSE, &of, 0), gap);
    assert_eq!(rendered(SSE, &of, 8), gap.replace("\"from\":5", "\"from\":9"));
    let mut out = Vec::new();
    super::gap(&mut out, SSE, &of.stream, (3, Some(4)), Unsent::Removed);
    super::gap(&mut out, Form::Data, &of.stream, (5, None), Unsent::Removed);
    out.extend(log_gap(Framing::Sse, None, "9-0".parse().unwrap(), Unsent::Removed));
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
    let text = rendered(SSE, &of, 6);
    assert!(text.starts_with("id: 7\nevent: complete\ndata: {\"stream_id\":\"s\",\"seq\":7,"));
    assert!(
        text.contains(
            "\"status\":\"timed_out\",\"exit_code\":143,\"reason\":\"timeout\",\"duration_ms\":1500"
        )
    );
    assert_eq!(rendered(SSE, &of, 7), "");
}

#[test]
fn a_step_has_a_number_of_its_own() {
    let (name, state) = ("repository".parse().unwrap(), rdev_domain::StepStatus::Done);
    let body = EntryBody::Step(StepChange { name, state, attempt: 2, error: None });
    let of = Entry { body, ..entry_of(&[output(7, 1, End::Eof, b"x")]) };
    let told = "id: 7\nevent: step\ndata: {\"stream_id\":\"s\",\"seq\":7,\"name\":\"repository\",\"state\":\"done\",\"attempt\":2,\"timestamp\":";
    assert!(rendered(SSE, &of, 6).starts_with(told));
    assert_eq!(rendered(SSE, &of, 7), "");
}

#[test]
fn a_former_end_is_a_status_with_its_number() {
    let outcome = Outcome::without_process(Ending::Failed(Reason::ExitCode), "step 2");
    let of = Entry { body: EntryBody::FormerEnd(outcome), ..entry_of(&[output(7, 1, End::Eof, b"x")]) };
    let text = rendered(SSE, &of, 6);
    let told = "id: 7\nevent: status\ndata: {\"stream_id\":\"s\",\"status\":\"failed\",\"reason\":\"exit_code\",\"message\":\"step 2\",";
    assert!(text.starts_with(told), "{text}");
    assert_eq!(rendered(SSE, &of, 7), "");
    let retrying = Retrying {
        attempt: 2,
        reason: "retried".to_owned(),
        message: "exit_code: 2".to_owned(),
        counted: false,
    };
    let of = Entry { body: EntryBody::Retry(retrying), ..of };
    let text = rendered(SSE, &of, 7);
    assert!(
        text.starts_with("event: status\n") && text.contains("\"status\":\"pending\",\"attempt\":2"),
        "{text}"
    );
}

fn shaped(shape: Shape, of: &Entry) -> String {
    let mut out = Vec::new();
    let reading = Reading { agent: None, shape };
    entries_read_by(&mut out, LOG_SSE, reading, (of, &[]), Seq::ZERO).unwrap();
    String::from_utf8(out).unwrap()
}

fn shape(stderr: Option<&str>, types: Option<&str>) -> Shape {
    let (stderr, types) = (stderr.map(str::to_owned), types.map(str::to_owned));
    let query = rdev_api_types::SubscriptionQuery { stderr, types, ..Default::default() };
    Shape::asked(&query, None, &axum::http::HeaderMap::new()).ok().unwrap()
}

#[test]
fn standard_error_is_output_where_it_is_asked_for_and_says_so() {
    let of = entry_of(&[output(1, 1, End::Newline, b"x\n")]);
    let as_error = shaped(Shape::default(), &of);
    assert!(as_error.starts_with("id: 9-1\nevent: error\n"), "{as_error}");
    let as_output = shaped(shape(Some("output"), None), &of);
    assert_eq!(as_output, as_error.replace("event: error", "event: output"));
    assert!(as_output.contains("\"stream\":\"stderr\""));
    // A choice is among the names under which events are sent.
    assert_eq!(shaped(shape(Some("output"), Some("output")), &of), as_output);
    for (stderr, types) in [(Some("output"), "error"), (None, "output"), (None, "status,complete")] {
        assert_eq!(shaped(shape(stderr, Some(types)), &of), "", "{types}");
    }
}

#[test]
fn a_cut_in_the_output_is_told_to_whoever_reads_output() {
    let body = Body::Cut { reason: CutReason::SizeLimit, bytes: 99 };
    let of = entry_of(&[Frame { first_seq: 5, count: 10, time_us: 1, body }]);
    assert!(shaped(shape(None, Some("output")), &of).contains("event: gap\n"));
    assert_eq!(shaped(shape(None, Some("complete")), &of), "");
}

/// The items of entries that follow one another, gathered, after an event.
fn gathered(
    max: u32,
    types: Option<&str>,
    (first, more): (&Entry, &[Arc<Entry>]),
    after: u64,
) -> Vec<StreamItem> {
    let mut out = Vec::new();
    let shape = Shape { batch: Some(max), ..shape(None, types) };
    let reading = Reading { agent: None, shape };
    entries_read_by(&mut out, NDJSON, reading, (first, more), Seq(after)).unwrap();
    let text = String::from_utf8(out).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error} in {line}")))
        .collect()
}

fn part(seq: u64, partial: bool, lines: &[&str]) -> LinesPart {
    let lines = lines.iter().map(|line| (*line).to_owned()).collect();
    LinesPart { seq, stream: OutputStream::Stderr, partial, timestamp: time(AT), lines }
}

fn lines_of(item: &StreamItem) -> &LinesEvent {
    let Event::Lines(lines) = &item.event else { panic!("{item:?}") };
    lines
}

#[test]
fn lines_that_are_ready_together_come_in_one_event() {
    let first = entry_of(&[output(1, 2, End::Newline, b"a\n\"b\"\n"), output(3, 1, End::Partial, b"c")]);
    let more = [Arc::new(entry_of(&[output(4, 2, End::Newline, b"d\ne\n")]))];
    let [all] = &gathered(5, None, (&first, &more), 0)[..] else { panic!("not one event") };
    assert_eq!(all.id.as_deref(), Some("5"));
    let parts = [part(1, false, &["a", "\"b\""]), part(3, true, &["c"]), part(4, false, &["d", "e"])];
    assert_eq!(*lines_of(all), LinesEvent { stream_id: "s".into(), parts: parts.to_vec() });
    let [rest] = &gathered(5, None, (&first, &more), 1)[..] else { panic!("not one event") };
    assert_eq!(lines_of(rest).parts[0], part(2, false, &["\"b\""]));

    let twos = gathered(2, None, (&first, &more), 0);
    let ids: Vec<_> = twos.iter().filter_map(|item| item.id.as_deref()).collect();
    assert_eq!(ids, ["2", "4", "5"]);
    assert_eq!(lines_of(&twos[1]).parts, [part(3, true, &["c"]), part(4, false, &["d"])]);
    assert_eq!(lines_of(&twos[2]).parts, [part(5, false, &["e"])]);
    assert!(gathered(5, Some("output"), (&first, &more), 0).is_empty());
}

#[test]
fn gathered_lines_are_what_their_documented_shape_is() {
    let of = entry_of(&[output(3, 1, End::Partial, "ä\t".as_bytes()), output(4, 1, End::Newline, b"x\n")]);
    let event =
        LinesEvent { stream_id: "s".into(), parts: vec![part(3, true, &["ä\t"]), part(4, false, &["x"])] };
    let json = serde_json::to_string(&event).unwrap();
    let batched = Shape { batch: Some(9), ..Shape::default() };
    let text = shaped(batched, &of);
    assert_eq!(text, format!("id: 9-4\nevent: lines\ndata: {json}\n\n"));
}

#[test]
fn a_cut_stands_behind_the_lines_before_it() {
    let cut = Frame {
        first_seq: 3,
        count: 10,
        time_us: 1,
        body: Body::Cut { reason: CutReason::SizeLimit, bytes: 99 },
    };
    let of = entry_of(&[output(1, 2, End::Newline, b"a\nb\n"), cut, output(13, 1, End::Newline, b"c\n")]);
    let ids: Vec<_> = gathered(9, None, (&of, &[]), 0).into_iter().map(|item| item.id.unwrap()).collect();
    assert_eq!(ids, ["2", "12", "13"]);
}

#[test]
fn an_event_of_long_lines_takes_few_of_them() {
    const COUNT: u32 = 10;
    let long: &'static [u8] = vec![b'x'; 20_000].leak();
    let frames: Vec<_> = (1..=COUNT).map(|seq| output(seq.into(), 1, End::Eof, long)).collect();
    let events = gathered(1000, None, (&entry_of(&frames), &[]), 0);
    assert_eq!(events.len(), 3);
    assert_eq!(events.last().unwrap().id.as_deref(), Some("10"));
}
