//! Lines that come several in an event: none is lost or repeated, wherever a reader is cut.

use std::time::Duration;

use rdev_client::Received;
use rdev_client::types::{Event, LinesEvent, OutputStream, Status, Timestamp};
use serde_json::json;
use tokio::time::{Instant, timeout_at};

use crate::support::{
    Client, Item, PATIENCE, RawEvents, ReceivedExt, Runtime, Server, event_streams, on_every_runtime, within,
};

on_every_runtime! {
    and on postgres:
    a_batch_has_all_of_its_lines_whatever_its_size,
    a_reader_of_batches_outlives_kills_of_the_server,
    batches_of_several_jobs_do_not_mix,
    choices_of_lines_apply_to_batches,
    a_slow_reader_of_batches_gets_all,
}

/// A line with all that an event of its own says of it.
type Line = (u64, OutputStream, String, bool, Timestamp);

fn lines_of(lines: &LinesEvent) -> Vec<Line> {
    let of_part = |part: &rdev_client::types::LinesPart| {
        let (stream, partial, timestamp) = (part.stream, part.partial, part.timestamp.clone());
        let line = move |(seq, line): (u64, &String)| (seq, stream, line.clone(), partial, timestamp.clone());
        (part.seq..).zip(&part.lines).map(line).collect::<Vec<_>>()
    };
    lines.parts.iter().flat_map(of_part).collect()
}

/// The lines of events, of one each or of several.
fn lines<'a>(events: impl IntoIterator<Item = &'a Received>) -> Vec<Line> {
    let of = |event: &Received| match &event.event {
        Event::Output(line) | Event::Error(line) => {
            vec![(line.seq, line.stream, line.line.clone(), line.partial, line.timestamp.clone())]
        }
        Event::Lines(lines) => lines_of(lines),
        _ => Vec::new(),
    };
    events.into_iter().flat_map(of).collect()
}

fn batches(events: &[Received]) -> Vec<&Received> {
    events.iter().filter(|event| matches!(event.event, Event::Lines(_))).collect()
}

async fn open(client: &Client, path: &str, is_ndjson: bool, after: Option<&str>) -> RawEvents {
    let accept = if is_ndjson { "application/x-ndjson" } else { "text/event-stream" };
    let call = client.get(path).header("accept", accept);
    match after {
        Some(id) => call.header("last-event-id", id).events().await,
        None => call.events().await,
    }
}

/// The events up to the ends of so many jobs.
async fn until_ends(mut events: RawEvents, ends: usize) -> Vec<Received> {
    let (mut told, mut ended) = (Vec::new(), 0);
    while ended < ends {
        let event = events.event().await;
        ended += usize::from(matches!(event.event, Event::Complete(_)));
        told.push(event);
    }
    told
}

async fn a_batch_has_all_of_its_lines_whatever_its_size(on: Runtime) {
    let server = on.server().await;
    let client = server.client();
    // Whole lines of both outputs, a line of three pieces, one without its newline, and lines that JSON escapes.
    let line = "seq 1 700; echo err >&2; sleep 0.05; head -c 150000 /dev/zero | tr '\\0' x; echo; sleep 0.05; \
                printf 'a \"b\"\\t\\\\\\nä\\xff\\nlast'";
    let accepted = client.shell_on("s", line).await;
    client.ended(&accepted.id).await;
    let each = until_ends(client.connection("s", None).await, 1).await;
    let (all, end) = (lines(&each), each.last().unwrap().clone());
    assert!(all.iter().any(|(.., partial, _)| *partial) && all.len() > 705, "{} lines", all.len());
    for (most, is_ndjson) in [(1, false), (7, true), (100, false), (1000, true)] {
        let path = format!("/projects/demo/events/s?batch={most}");
        let events = until_ends(open(&client, &path, is_ndjson, None).await, 1).await;
        assert_eq!(lines(&events), all, "{path}");
        assert_eq!(events.last(), Some(&end));
        for event in batches(&events) {
            let Event::Lines(of) = &event.event else { unreachable!() };
            assert!((1..=most).contains(&lines_of(of).len()), "{event:?}");
            assert_eq!(event.id(), lines_of(of).last().unwrap().0.to_string());
        }
        let fewest = all.len().div_ceil(most);
        assert!(
            (fewest..=fewest + 20).contains(&batches(&events).len()),
            "{path}: {}",
            batches(&events).len()
        );
        // From the id of any batch, and from any line in the middle of one.
        for after in [1, 3, 350, 699, 700, 701] {
            let rest = until_ends(open(&client, &path, is_ndjson, Some(&format!("{after}"))).await, 1).await;
            assert_eq!(lines(&rest), all[after..], "{path} after {after}");
        }
        let over = client.get(&path).header("last-event-id", end.id()).send().await;
        assert_eq!(over.status, 204);
    }
    // A POST takes the parameter as well.
    let body = json!({"command": "seq 50"});
    let post = client.post("/projects/demo/shell?batch=50", &body).header("accept", "text/event-stream");
    let events = until_ends(post.events().await, 1).await;
    assert_eq!(lines(&events).len(), 50);
    assert!(lines(&events).len() > batches(&events).len(), "{events:?}");
}

async fn a_reader_of_batches_outlives_kills_of_the_server(on: Runtime) {
    const LINES: u64 = 40_000;
    const KILLS: u32 = 3;
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let mut server = on.server().await;
    let command = "from=1; while [ $from -le 40000 ]; do seq $from $((from + 499)); from=$((from + 500)); sleep 0.05; done";
    let accepted = server.client().shell_on("s", command).await;
    let (mut last, mut is_over) = (None::<Received>, false);
    let mut numbers = Vec::new();
    for round in 0..=KILLS {
        let client = server.client();
        // Another size, and the other form, go on with the ids of the former.
        let path = format!("/projects/demo/events/s?batch={}", random.u32(1..=1000));
        let after = last.as_ref().map(|event| event.id().to_owned());
        let mut events = open(&client, &path, round % 2 == 1, after.as_deref()).await;
        let pause = if round < KILLS { Duration::from_millis(random.u64(100..800)) } else { PATIENCE };
        let at = Instant::now() + pause;
        while let Ok(Some(item)) = timeout_at(at, events.next()).await {
            let Item::Event(event) = item else { continue };
            numbers.extend(lines([&event]).into_iter().map(|(seq, _, line, ..)| (seq, line)));
            is_over |= matches!(&event.event, Event::Complete(end) if end.status == Status::Completed);
            if event.id.is_some() {
                last = Some(event);
            }
        }
        if round < KILLS {
            assert!(!is_over, "seed {seed}: it was over before kill {round}");
            server.kill9().await;
            server.restart().await;
        }
    }
    assert!(is_over, "seed {seed}: {:?}", numbers.last());
    assert!(
        numbers.iter().map(|(seq, line)| (*seq, line.clone())).eq((1..=LINES).map(|n| (n, n.to_string())))
    );
    server.client().ended(&accepted.id).await;
}

async fn batches_of_several_jobs_do_not_mix(on: Runtime) {
    let server = on.server_with_workers(1).await;
    let client = server.client();
    let step = "for i in $(seq 100); do echo $i; sleep 0.005; done";
    let (one, two) = tokio::join!(client.shell(step), client.shell(step));
    let task = client.add_task(&json!({"type": "shell", "steps": [step], "project": "demo"})).await;
    tokio::join!(client.ended(&one.id), client.ended(&two.id));
    client.api().await_task(&task.id, 60).await.unwrap();
    let in_order = |events: &[Received], stream: &str| {
        let of_stream = events.iter().filter(|event| event.stream() == Some(stream));
        lines(of_stream).into_iter().map(|(seq, ..)| seq).collect::<Vec<_>>()
    };
    for path in ["/projects/demo/events", "/events"] {
        let each = until_ends(client.get(path).events().await, 3).await;
        for most in [3, 1000] {
            let path = format!("{path}?batch={most}");
            let events = until_ends(open(&client, &path, most == 3, None).await, 3).await;
            for stream in [&one.stream_id, &two.stream_id, &task.stream_id] {
                assert_eq!(in_order(&events, stream), in_order(&each, stream), "{path} {stream}");
            }
            assert!(batches(&events).len() < lines(&each).len(), "{path}");
            // Each id leads on to exactly what came after it; so does the id of a line in the middle of a batch.
            let place = events.len() / 2;
            let id = events[..=place].iter().rev().find_map(|event| event.id.as_deref()).unwrap();
            let seen = 1 + events[..=place].iter().rposition(|event| event.id.is_some()).unwrap();
            let rest = until_ends(open(&client, &path, false, Some(id)).await, ends(&events[seen..])).await;
            assert_eq!(lines(&rest), lines(&events[seen..]), "{path} after {id}");
            let line = each.iter().filter(|event| matches!(event.event, Event::Output(_))).nth(101).unwrap();
            let at = 1 + each.iter().position(|event| event == line).unwrap();
            let rest = until_ends(open(&client, &path, true, Some(line.id())).await, ends(&each[at..])).await;
            assert_eq!(lines(&rest), lines(&each[at..]), "{path} after {}", line.id());
        }
    }
}

fn ends(events: &[Received]) -> usize {
    events.iter().filter(|event| matches!(event.event, Event::Complete(_))).count()
}

async fn choices_of_lines_apply_to_batches(on: Runtime) {
    let server = on.server().await;
    let client = server.client();
    let accepted =
        client.shell_on("s", "for i in 1 2 3; do echo out; sleep 0.02; echo err >&2; sleep 0.02; done").await;
    client.ended(&accepted.id).await;
    let read = async |query: &str| {
        let path = format!("/projects/demo/events/s?batch=100{query}");
        let lines = lines(&until_ends(open(&client, &path, false, None).await, 1).await);
        lines.into_iter().map(|(seq, stream, ..)| (seq, stream)).collect::<Vec<_>>()
    };
    let (out, err) = (OutputStream::Stdout, OutputStream::Stderr);
    let all = [(1, out), (2, err), (3, out), (4, err), (5, out), (6, err)];
    assert_eq!(read("").await, all);
    assert_eq!(read("&stderr=output").await, all);
    assert_eq!(read("&types=output").await, [(1, out), (3, out), (5, out)]);
    assert_eq!(read("&types=error,complete").await, [(2, err), (4, err), (6, err)]);
    assert_eq!(read("&types=output&stderr=output").await, all);
    assert_eq!(read("&types=error&stderr=output").await, []);
    assert_eq!(read("&types=status").await, []);
    // A client of this API reads batches by their type.
    let mut events = client.api().stream_events("demo", "s").batch(6).open();
    let mut found = Vec::new();
    while let Some(event) = within("the next event", events.next()).await {
        found.extend(lines([&event.unwrap()]).into_iter().map(|(seq, stream, ..)| (seq, stream)));
    }
    assert_eq!(found, all);
}

async fn a_slow_reader_of_batches_gets_all(on: Runtime) {
    const LINES: u64 = 200_000;
    const GROWTH_MAX: u64 = 32 * 1024 * 1024;
    let server = on.server().await;
    let client = server.client();
    client.run("seq 1000").await;
    let memory = server.memory();
    let accepted = client.shell_on("s", &format!("seq {LINES}")).await;
    let path = "/projects/demo/events/s?batch=1000";
    let call = client.get(path).header("accept", "application/x-ndjson").receive_buffer(32 * 1024);
    let mut slow = call.events().await.slowed_to(400_000);
    let mut next = 1;
    loop {
        let event = slow.event().await;
        for (seq, _, line, ..) in lines([&event]) {
            assert_eq!((seq, line), (next, next.to_string()));
            next += 1;
        }
        if let Event::Complete(_) = event.event {
            break;
        }
    }
    assert_eq!(next, LINES + 1);
    assert!(memory.grown() < GROWTH_MAX, "grew by {} bytes", memory.grown());
    client.ended(&accepted.id).await;
}

#[tokio::test]
async fn a_size_that_is_none_is_refused_with_what_is_accepted() {
    let server = Server::start().await;
    let client = server.client();
    client.shell_on("s", "true").await;
    for path in event_streams() {
        for value in ["0", "1001", "4294967295"] {
            let answer = client.get(&format!("{path}?batch={value}")).send().await;
            let failure = answer.failure(422, "VALIDATION_FAILED");
            assert_eq!(failure.fields(), ["batch"], "{path} {value}");
            let said = format!("{value} is not valid: 1 to 1000 lines an event");
            assert!(answer.text().contains(&said), "{}", answer.text());
        }
        for value in ["", "x", "-1", "1.5", "all", "1&batch=2"] {
            let answer = client.get(&format!("{path}?batch={value}")).send().await;
            answer.failure(400, "INVALID_QUERY");
            assert!(answer.text().contains("batch"), "{}", answer.text());
        }
    }
    let post = client.post("/projects/demo/shell?batch=0", &json!({"command": "touch ran"}));
    assert_eq!(post.send().await.failure(422, "VALIDATION_FAILED").fields(), ["batch"]);
    assert_eq!(server.file("ran").await, None);
}
