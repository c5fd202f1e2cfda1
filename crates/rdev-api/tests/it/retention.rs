//! Retention by age and by size, and the gaps that readers are told.

use hyper::http::HeaderMap;
use rdev_client::Received;
use rdev_client::types::{
    Accepted, ArtefactProblem, ArtefactSummary, Event, GapEvent, GapReason, ProjectGapEvent, Status,
};
use serde::Deserialize;
use serde_json::json;

use crate::support::{
    Call, Client, Fixture, Item, RawEvents, ReceivedExt, Runtime, Server, eventually, on_every_runtime,
};

on_every_runtime! {
    and on postgres:
    a_command_that_ended_long_ago_is_gone,
    beyond_the_size_a_tasks_files_make_room,
    a_projects_stream_says_what_is_gone,
    beyond_the_size_the_oldest_output_is_announced_as_a_gap,
    a_running_command_is_never_gone_but_its_oldest_output_may_be,
    a_reader_in_the_middle_is_told_of_the_gap,
    a_reader_of_what_is_removed_is_told_that_nothing_follows,
    a_reader_in_the_middle_of_a_project_is_told_of_the_gap,
}

/// Every line of [`much`] is as long as this.
const LINE: usize = 1000;
/// More than the MiB that is kept.
const LINES: u64 = 3_000;
/// Most of these lines, with their newlines, that a MiB holds: nothing more is removed.
const KEPT_MAX: u64 = (1 << 20) / (LINE as u64 + 1);
/// More than lies between the server and a reader that does not read.
const LINES_OF_SLOW_READER: u64 = 16_000;

/// A shell line that writes lines of their numbers.
fn much(lines: u64) -> String {
    format!("seq -f %0{LINE}.0f {lines}")
}

async fn keeping_a_mib(on: Runtime) -> Server {
    on.fixture().with("RDEV_RETENTION_LOG_MB", "1").start().await
}

impl Server {
    /// Looks again and again, and lets a minute pass each time, as far as periodic work goes.
    pub(crate) async fn sooner<T, F: Future<Output = Option<T>>>(
        &self,
        what: &str,
        mut look: impl FnMut() -> F,
    ) -> T {
        eventually(what, || {
            let looking = look();
            async {
                self.sql("DELETE FROM periodic_leases").await;
                looking.await
            }
        })
        .await
    }

    /// Makes a command's end a thing of the past.
    pub(crate) async fn let_31_days_pass(&self, id: &str) {
        let micros = 31_i64 * 24 * 3600 * 1_000_000;
        self.sql(&format!(
            "UPDATE jobs SET ended_us = ended_us - {micros} WHERE id = '{id}';
             UPDATE entries SET at_us = at_us - {micros} WHERE job_id = '{id}' AND kind = 'complete'"
        ))
        .await;
    }

    async fn until_gone(&self, path: &str) {
        let (client, code) = (self.client(), path.to_owned());
        let gone = async || (client.get(&code).send().await.status == 404).then_some(());
        self.sooner("that it is gone", gone).await;
    }

    /// Waits until of the output of a command, which has so many events, no more than a MiB is left; the number of
    /// the last event that is gone.
    async fn until_cut(&self, output: &str, events: u64) -> u64 {
        let client = self.client();
        let cut = async || {
            // The head alone: what is removed while it is sent cuts it off.
            let (head, _body) = client.get(output).open().await;
            assert_eq!(head.status, 200);
            gap_of(&head.headers).filter(|cut_at| events - cut_at <= KEPT_MAX)
        };
        self.sooner("that a MiB is left", cut).await
    }
}

/// Reads the gap that the head of an output names.
fn gap_of(headers: &HeaderMap) -> Option<u64> {
    let gap = headers.get("rdev-gap")?.to_str().unwrap();
    Some(gap.strip_prefix("1-").unwrap_or_else(|| panic!("{gap}")).parse().unwrap())
}

fn gap(stream: &str, from: u64, to: Option<u64>) -> GapEvent {
    GapEvent { stream_id: stream.to_owned(), from, to, reason: GapReason::Retention }
}

/// A reader that notices whatever it is not told.
struct Reader {
    events: RawEvents,
    last: u64,
    gaps: Vec<GapEvent>,
    is_over: bool,
}

impl Reader {
    async fn open(call: Call, last: u64) -> Self {
        let call = if last > 0 { call.header("last-event-id", &last.to_string()) } else { call };
        Self { events: call.events().await, last, gaps: Vec::new(), is_over: false }
    }

    /// Reads to the end, or to the event `seq`.
    async fn read_to(&mut self, seq: u64) {
        while self.last < seq
            && let Some(item) = self.events.next().await
        {
            let Item::Event(Received { id, event: told }) = item else { continue };
            let (from, to) = match &told {
                Event::Output(line) | Event::Error(line) => (line.seq, line.seq),
                Event::Complete(complete) => {
                    self.is_over = true;
                    (complete.seq, complete.seq)
                }
                Event::Gap(gap) => {
                    self.gaps.push(gap.clone());
                    (gap.from, gap.to.unwrap_or(gap.from))
                }
                // Where the end was before somebody had it run again.
                Event::Status(_) if id.is_some() => (self.last + 1, self.last + 1),
                Event::Status(_) | Event::Heartbeat(_) => continue,
                other @ (Event::ProjectGap(_)
                | Event::Lines(_)
                | Event::Agent(_)
                | Event::Step(_)
                | Event::Ticket(_)
                | Event::Unknown) => {
                    panic!("{other:?}")
                }
            };
            assert_eq!(from, self.last + 1, "nothing is passed over, and nothing comes twice: {told:?}");
            self.last = to;
            let ends_without = matches!(&told, Event::Gap(GapEvent { to: None, .. }));
            assert_eq!(id, (!ends_without).then(|| to.to_string()));
        }
    }

    async fn read(mut self) -> Self {
        self.read_to(u64::MAX).await;
        self
    }
}

async fn a_command_that_ended_long_ago_is_gone(on: Runtime) {
    let server = on.server().await;
    let client = server.client();
    let old = client.shell_on("old", "echo old").await;
    let young = client.shell_on("young", "echo young").await;
    let busy = client.shell_on("busy", "until [ -e go ]; do sleep 0.02; done").await;
    client.ended(&old.id).await;
    client.ended(&young.id).await;
    client.begun(&busy.id).await;
    let micros = 40_i64 * 24 * 3600 * 1_000_000;
    server.sql(&format!("UPDATE jobs SET created_us = created_us - {micros}")).await;
    server.let_31_days_pass(&old.id).await;
    let path = format!("/projects/demo/commands/{}", old.id);
    server.until_gone(&path).await;
    for path in [path.clone(), format!("{path}/output")] {
        client.get(&path).send().await.failure(404, "COMMAND_NOT_FOUND");
    }
    let events = "/projects/demo/events/old";
    client.get(events).send().await.failure(404, "STREAM_NOT_FOUND");
    client.get(events).header("last-event-id", "1").send().await.failure(404, "STREAM_NOT_FOUND");
    assert_eq!(&client.output(&young.id).await[..], b"young\n");
    assert_eq!(client.command(&busy.id).await.accepted.status, Status::Running);
    // A reader of the one that is gone may still come back: its name is not free.
    let again = |stream| json!({"command": "touch go", "stream_id": stream});
    let refused = client.post("/projects/demo/shell", &again("old")).send().await;
    refused.failure(409, "STREAM_ID_TAKEN");
    client.shell_on("new", "touch go").await;
    assert_eq!(client.ended(&busy.id).await.accepted.status, Status::Completed);
}

async fn beyond_the_size_a_tasks_files_make_room(on: Runtime) {
    let server = on.fixture().with_workers(1).with("RDEV_RETENTION_LOG_MB", "1").start().await;
    let client = server.client();
    let steps = ["head -c 3000000 /dev/zero >large"];
    let id = client.add_task(&json!({"type": "shell", "steps": steps, "artefacts": ["large"]})).await.id;
    client.task_in(&id, Status::Completed).await;
    let path = format!("/queue/tasks/{id}/artefacts/large");
    assert_eq!(client.get(&path).send().await.body.len(), 3_000_000);
    // A download that is under way is cut when its file goes, so the list is asked.
    let gone = async || client.artefacts(&id).await[0].problem.is_some().then_some(());
    server.sooner("that it has made room", gone).await;
    client.get(&path).send().await.failure(404, "ARTEFACT_NOT_FOUND");
    let file = &client.artefacts(&id).await[0];
    assert_eq!((file.size, file.problem, &file.url), (3_000_000, Some(ArtefactProblem::Removed), &None));
    assert_eq!(client.task(&id).await.artefacts, Some(ArtefactSummary { files: 0, bytes: 0, problems: 1 }));
}

/// The gap with which a project's stream must begin, and the streams of what comes after it, to the last end.
async fn project_from(
    client: &Client,
    id: Option<&str>,
    end_of: &Accepted,
) -> (Option<ProjectGapEvent>, Vec<Received>) {
    let call = client.get("/projects/demo/events");
    let call = match id {
        Some(id) => call.header("last-event-id", id),
        None => call,
    };
    let (mut events, mut told, mut gap) = (call.events().await, Vec::new(), None);
    loop {
        let event = events.event().await;
        match &event.event {
            Event::Heartbeat(_) => continue,
            Event::ProjectGap(first) => {
                assert!(told.is_empty() && gap.is_none() && event.id.is_none(), "{event:?}");
                gap = Some(first.clone());
                continue;
            }
            _ => {}
        }
        let is_last =
            matches!(&event.event, Event::Complete(complete) if complete.stream_id == end_of.stream_id);
        told.push(event);
        if is_last {
            return (gap, told);
        }
    }
}

async fn a_projects_stream_says_what_is_gone(on: Runtime) {
    let server = on.server().await;
    let client = server.client();
    let mut all = Vec::new();
    for line in ["echo 1", "echo 2", "echo 3"] {
        let accepted = client.shell(line).await;
        client.ended(&accepted.id).await;
        all.push(accepted);
    }
    let (none, whole) = project_from(&client, None, &all[2]).await;
    assert_eq!(none, None);
    // The one in the middle goes: what is gone lies between what is left.
    server.let_31_days_pass(&all[1].id).await;
    server.until_gone(&format!("/projects/demo/commands/{}", all[1].id)).await;
    let left: Vec<_> =
        whole.iter().filter(|event| event.stream() != Some(&all[1].stream_id)).map(Received::id).collect();
    let (gap, told) = project_from(&client, None, &all[2]).await;
    let gap = gap.expect("something is gone");
    assert_eq!((gap.from, gap.reason), (None, GapReason::Retention));
    assert_eq!(told.iter().map(Received::id).collect::<Vec<_>>(), left);
    // Whoever has a part of it is told as well, and nobody to whom nothing is missing.
    let (part, told) = project_from(&client, Some(left[1]), &all[2]).await;
    let part = part.expect("something is gone");
    assert_eq!((part.from.as_deref(), &part.to), (Some(left[1]), &gap.to));
    assert_eq!(told.iter().map(Received::id).collect::<Vec<_>>(), left[2..]);
    let of_last: Vec<_> = whole.iter().filter(|event| event.stream() == Some(&all[2].stream_id)).collect();
    let (none, _) = project_from(&client, Some(of_last[0].id()), &all[2]).await;
    assert_eq!(none, None);
    let (none, told) = project_from(&client, Some(&gap.to), &all[2]).await;
    assert_eq!(none, None);
    assert!(!told.is_empty());
    let mut latest = client.get("/projects/demo/events?last_event_id=latest").events().await;
    let next = client.shell("echo 4").await;
    while let Some(item) = latest.next().await {
        let Item::Event(event) = item else { continue };
        assert!(
            matches!(event.event, Event::Heartbeat(_)) || event.stream() == Some(&next.stream_id),
            "{event:?}"
        );
        if matches!(event.event, Event::Complete(_)) {
            break;
        }
    }
}

async fn beyond_the_size_the_oldest_output_is_announced_as_a_gap(on: Runtime) {
    let server = keeping_a_mib(on).await;
    let client = server.client();
    let accepted = client.shell_on("s", &much(LINES)).await;
    let complete = LINES + 1;
    client.ended(&accepted.id).await;
    let output = format!("/projects/demo/commands/{}/output", accepted.id);
    let cut_at = server.until_cut(&output, LINES).await;
    assert!(cut_at < LINES, "a MiB is left");
    let answer = client.get(&output).send().await;
    assert_eq!(gap_of(&answer.headers), Some(cut_at));
    let lines: Vec<u64> = answer.text().lines().map(|line| line.parse().unwrap()).collect();
    assert!(lines.iter().copied().eq(cut_at + 1..=LINES));

    #[derive(Deserialize)]
    struct Line {
        event: String,
        from: Option<u64>,
        to: Option<u64>,
        seq: Option<u64>,
    }
    let ndjson = client.get(&output).header("accept", "application/x-ndjson").send().await;
    assert_eq!(gap_of(&ndjson.headers), Some(cut_at));
    let text = ndjson.text();
    let told = text.lines().map(|line| serde_json::from_str::<Line>(line).unwrap());
    let told: Vec<Line> = told.filter(|line| line.event != "status").collect();
    assert_eq!((told[0].event.as_str(), told[0].from, told[0].to), ("gap", Some(1), Some(cut_at)));
    assert!(told[1..].iter().map(|line| line.seq.unwrap()).eq(cut_at + 1..=complete));

    let path = "/projects/demo/events?stream_id=s";
    for (after, expected) in [
        (0, vec![gap("s", 1, Some(cut_at))]),
        (7, vec![gap("s", 8, Some(cut_at))]),
        (cut_at, Vec::new()),
        (cut_at + 7, Vec::new()),
    ] {
        let reader = Reader::open(client.get(path), after).await.read().await;
        assert!(reader.is_over);
        assert_eq!((reader.gaps, reader.last), (expected, complete), "after {after}");
    }
    let over = client.get(path).header("last-event-id", &complete.to_string()).send().await;
    assert_eq!(over.status, 204);
    assert_eq!(client.command(&accepted.id).await.accepted.status, Status::Completed);
}

async fn a_running_command_is_never_gone_but_its_oldest_output_may_be(on: Runtime) {
    let server = keeping_a_mib(on).await;
    let client = server.client();
    let line = format!("{}; until [ -e go ]; do sleep 0.02; done; echo 0", much(LINES));
    let accepted = client.shell_on("s", &line).await;
    let path = "/projects/demo/events/s";
    let mut follower = Reader::open(client.get(path), 0).await;
    follower.read_to(LINES).await;
    server.until_cut(&format!("/projects/demo/commands/{}/output", accepted.id), LINES).await;
    assert_eq!(client.command(&accepted.id).await.accepted.status, Status::Running);
    client.run("touch go").await;
    // Whoever had it already misses nothing.
    let follower = follower.read().await;
    assert_eq!((follower.gaps, follower.last, follower.is_over), (Vec::new(), LINES + 2, true));
    let late = Reader::open(client.get(path), 0).await.read().await;
    assert_eq!((late.gaps.len(), late.last, late.is_over), (1, LINES + 2, true));
}

/// A reader that has begun with a stream that is over, and that takes its time.
async fn slow_reader(server: &Server, path: &str) -> (Accepted, Call) {
    let client = server.client();
    let accepted = client.shell_on("s", &much(LINES_OF_SLOW_READER)).await;
    client.ended(&accepted.id).await;
    (accepted, client.get(path).receive_buffer(8 * 1024))
}

async fn a_reader_in_the_middle_is_told_of_the_gap(on: Runtime) {
    let server = keeping_a_mib(on).await;
    let (accepted, call) = slow_reader(&server, "/projects/demo/events/s").await;
    let mut reader = Reader::open(call, 0).await;
    reader.read_to(10).await;
    let output = format!("/projects/demo/commands/{}/output", accepted.id);
    let cut_at = server.until_cut(&output, LINES_OF_SLOW_READER).await;
    let reader = reader.read().await;
    assert!(reader.is_over);
    assert_eq!(reader.last, LINES_OF_SLOW_READER + 1);
    // Whatever was between the server and the reader, and what was read in between.
    assert!(reader.gaps.iter().all(|gap| gap.from > 10), "{:?}", reader.gaps);
    assert_eq!(reader.gaps.last().and_then(|gap| gap.to), Some(cut_at));
}

async fn a_reader_of_what_is_removed_is_told_that_nothing_follows(on: Runtime) {
    let server = on.server().await;
    let (accepted, call) = slow_reader(&server, "/projects/demo/events/s").await;
    let mut reader = Reader::open(call, 0).await;
    reader.read_to(10).await;
    server.let_31_days_pass(&accepted.id).await;
    server.until_gone(&format!("/projects/demo/commands/{}", accepted.id)).await;
    let reader = reader.read().await;
    assert!(!reader.is_over, "the end is gone as well");
    assert_eq!(reader.gaps.last(), Some(&gap("s", reader.last, None)));
}

async fn a_reader_in_the_middle_of_a_project_is_told_of_the_gap(on: Runtime) {
    let server = on.server().await;
    let (accepted, call) = slow_reader(&server, "/projects/demo/events").await;
    let mut events = call.events().await;
    while events.event().await.seq() != Some(10) {}
    server.let_31_days_pass(&accepted.id).await;
    server.until_gone(&format!("/projects/demo/commands/{}", accepted.id)).await;
    let mut last = String::new();
    loop {
        let event = events.event().await;
        match event.event {
            Event::Output(_) => last = event.id().to_owned(),
            Event::ProjectGap(gap) => {
                assert_eq!((gap.from.as_deref(), gap.reason), (Some(last.as_str()), GapReason::Retention));
                break;
            }
            Event::Heartbeat(_) => {}
            other => panic!("{other:?}"),
        }
    }
    // It goes on with what is left, and with what comes.
    let next = server.client().shell("echo next").await;
    loop {
        let event = events.event().await;
        let is_next = event.stream() == Some(&next.stream_id);
        if let Event::Complete(_) = event.event {
            assert!(is_next, "the end of the other is gone: {event:?}");
            break;
        }
    }
}

#[tokio::test]
async fn a_tasks_stream_says_what_is_gone() {
    let server = keeping_a_mib(Runtime::Local).await;
    let client = server.client();
    let steps = json!({"type": "shell", "steps": [much(LINES), "exit 3"], "max_attempts": 1});
    let task = client.add_task(&steps).await;
    client.task_in(&task.id, Status::Failed).await;
    let (events, output) =
        (format!("/queue/tasks/{}/events", task.id), format!("/queue/tasks/{}/output", task.id));
    let cut_at = server.until_cut(&output, LINES).await;
    let reader = Reader::open(client.get(&events), 0).await.read().await;
    assert!(reader.is_over);
    assert_eq!((reader.gaps.len(), reader.gaps[0].from), (1, 1));
    assert_eq!(reader.gaps[0].to, Some(cut_at));
    // A retry goes on in the same stream, and the gap stays where it is.
    client.api().retry_task(&task.id).await.unwrap();
    client.task_in(&task.id, Status::Failed).await;
    let reader = Reader::open(client.get(&events), 0).await.read().await;
    assert!(reader.is_over && reader.gaps.len() == 1, "{:?}", reader.gaps);
    server.let_31_days_pass(&task.id).await;
    server.until_gone(&format!("/queue/tasks/{}", task.id)).await;
    for path in [events, output] {
        client.get(&path).send().await.failure(404, "TASK_NOT_FOUND");
    }
}

/// Commands that ended long ago, the `n`th of them the later the higher.
const LONG_AGO: &str = "
    INSERT INTO jobs (id, target, stream, kind, request, timeout_us, created_by, created_us, status, started_us,
                      ended_us, exit_code, duration_us, last_seq, project, attempts)
    SELECT 'cmd-' || lpad(n::TEXT, 32, '0'), 'demo', n::TEXT, 'shell', '{\"type\":\"shell\",\"command\":\"true\",\"env\":{}}',
           1, 'key', n, 'completed', n, n, 0, 1, 1, 'demo', 1
    FROM generate_series(1, 2000) n;
    INSERT INTO entries (job_id, log, kind, first_seq, last_seq, at_us, body)
    SELECT id, target, 'complete', 1, 1, 1, '' FROM jobs;
    DELETE FROM periodic_leases";

/// Returns the number of removals in the log of a server.
fn removed(server: &Server) -> u64 {
    let log = server.log();
    let told = log.lines().filter(|line| line.contains("retention") && line.contains("periodic job done"));
    let done = told.filter_map(|line| line.split("done=").nth(1)?.split_whitespace().next());
    done.map(|done| done.parse::<u64>().unwrap()).sum()
}

#[tokio::test]
async fn one_of_two_servers_removes_at_a_time() {
    let mut a = Runtime::Double.fixture().with_postgres().start().await;
    let mut b = Fixture::new().with("RDEV_LEASE_SECONDS", "3").start_beside(&a).await;
    let path = |n: u64| format!("/projects/demo/commands/cmd-{n:032}");
    a.sql(LONG_AGO).await;
    let client = a.client();
    eventually("the first is gone", async || (client.get(&path(1)).send().await.status == 404).then_some(()))
        .await;
    // One of them is at it, and stops with the rest undone; nobody else has begun.
    for server in [&mut a, &mut b] {
        server.terminate();
        assert!(server.wait().await.success());
    }
    assert_eq!(removed(&a) + removed(&b), 0, "it has not come to an end");
    a.restart().await;
    b.restart().await;
    assert_eq!(a.client().get(&path(2000)).send().await.status, 200);
    // Once the turn is over that the one had who stopped.
    a.sql("DELETE FROM periodic_leases").await;
    let client = b.client();
    eventually("the last is gone", async || {
        (client.get(&path(2000)).send().await.status == 404).then_some(())
    })
    .await;
    let told = async || Some((removed(&a), removed(&b))).filter(|told| *told != (0, 0));
    let (by_a, by_b) = eventually("who has done it", told).await;
    assert!((by_a == 0) != (by_b == 0), "{by_a} and {by_b}");
    assert!(by_a + by_b < 2000, "the rest of what was left");
}
