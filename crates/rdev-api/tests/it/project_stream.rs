//! The stream of a whole project.

use std::collections::{BTreeMap, HashSet};

use rdev_client::Received;
use rdev_client::types::{Accepted, Event, GapReason, ShellBody, Status};

use crate::support::{Client, Events, ReceivedExt, Runtime, on_every_runtime};

on_every_runtime! {
    and on postgres:
    every_event_of_every_command_comes_once_however_often_it_is_cut,
    latest_begins_with_what_comes_next,
    a_project_shows_nothing_of_another,
    an_id_beyond_the_log_is_announced_and_what_comes_is_told,
    an_id_that_the_log_never_had_is_announced,
}

/// Events that a reader of a project's stream has seen: the numbered ones of each stream, and its statuses.
#[derive(Default)]
struct Seen {
    ids: HashSet<String>,
    lines: BTreeMap<String, Vec<u64>>,
    statuses: BTreeMap<String, Vec<Status>>,
    complete: usize,
    last: Option<String>,
}

impl Seen {
    fn take(&mut self, event: &Received) {
        if let Event::Heartbeat(_) = event.event {
            return;
        }
        let id = event.id().to_owned();
        assert!(self.ids.insert(id.clone()), "{id} came twice");
        self.last = Some(id);
        let stream = event.stream().expect("it is of a stream").to_owned();
        match &event.event {
            Event::Status(status) => self.statuses.entry(stream).or_default().push(status.status),
            Event::Complete(complete) => {
                self.lines.entry(stream).or_default().push(complete.seq);
                self.complete += 1;
            }
            _ => self.lines.entry(stream).or_default().push(event.seq().expect("a line has a number")),
        }
    }
}

async fn every_event_of_every_command_comes_once_however_often_it_is_cut(on: Runtime) {
    const COMMANDS: usize = 5;
    const LINES: u64 = 2_000;
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let server = on.server().await;
    let client = server.client();
    for number in 0..COMMANDS {
        let line = "for i in 1 2 3 4 5 6 7 8 9 10; do seq 200; sleep 0.05; done";
        client.shell_on(&format!("s{number}"), line).await;
    }

    let mut seen = Seen::default();
    let mut cuts = 0;
    while seen.complete < COMMANDS {
        let mut events = client.follow_project("demo", seen.last.as_deref()).await;
        let before_cut = if cuts < 15 { random.usize(1..1_000) } else { usize::MAX };
        for _ in 0..before_cut {
            seen.take(&events.event().await);
            if seen.complete == COMMANDS {
                break;
            }
        }
        cuts += 1;
    }
    assert!(cuts > 1, "it was cut");
    assert_eq!(seen.lines.len(), COMMANDS);
    for (stream, numbers) in &seen.lines {
        assert!(numbers.iter().copied().eq(1..=LINES + 1), "seed {seed}: {stream} has {}", numbers.len());
        assert_eq!(seen.statuses[stream], [Status::Pending, Status::Running], "seed {seed}");
    }
}

async fn latest_begins_with_what_comes_next(on: Runtime) {
    let server = on.server().await;
    let client = server.client();
    client.run("seq 100").await;
    let mut by_query = client.get("/projects/demo/events?last_event_id=latest").events().await;
    let mut by_header = client.follow_project("demo", Some("latest")).await;
    let accepted = client.shell("echo new").await;
    while !is_end(&by_query.event().await, &accepted) {}
    while !is_end(&by_header.event().await, &accepted) {}
}

/// Tells whether an event is the end of a command, of which every event before must be as well.
fn is_end(event: &Received, of: &Accepted) -> bool {
    if matches!(event.event, Event::Heartbeat(_)) {
        return false;
    }
    assert_eq!(event.stream(), Some(of.stream_id.as_str()));
    matches!(event.event, Event::Complete(_))
}

async fn a_project_shows_nothing_of_another(on: Runtime) {
    let server = on.server().await;
    let client = server.client();
    server.add_project("other").await;
    let body = ShellBody { stream_id: Some("same".into()), ..ShellBody::new("echo other") };
    client.api().run_shell("other", &body).await.unwrap();
    // A stream's name is free in every project.
    client.shell_on("same", "echo demo").await;
    for project in ["demo", "other"] {
        let mut events = client.follow_project(project, None).await;
        let mut lines = Vec::new();
        loop {
            match events.next().await {
                Some(Received { event: Event::Output(line), .. }) => lines.push(line.line),
                Some(Received { event: Event::Complete(_), .. }) | None => break,
                Some(_) => {}
            }
        }
        assert_eq!(lines, [project]);
    }
}

async fn an_id_that_the_log_never_had_is_announced(on: Runtime) {
    let mut server = on.server().await;
    let first = server.client().shell("echo first").await;
    let known = id_of_end(&server.client(), &first).await;
    server.kill9().await;
    server.restart().await;
    let client = server.client();
    let second = client.shell("echo second").await;
    client.ended(&second.id).await;
    // A log that was put back from a copy goes on at later positions: what it had after the copy lay in between.
    let (position, _) = known.split_once('-').unwrap();
    let lost = format!("{}-4", position.parse::<u64>().unwrap() + 7);
    let mut events = after(&client, &lost).await;
    let announced = events.event().await;
    let Event::ProjectGap(gap) = announced.event else { panic!("no gap: {announced:?}") };
    assert_eq!((gap.from, gap.reason, announced.id), (Some(lost), GapReason::UnknownId, None));
    // All that came since is there, also for who passes over the gap, and for who has an id of before.
    let pending = events.event().await;
    for next in
        [&pending, &after(&client, &gap.to).await.event().await, &after(&client, &known).await.event().await]
    {
        assert_eq!((next.stream(), &next.id), (Some(second.stream_id.as_str()), &pending.id));
    }
    let running = after(&client, pending.id()).await.event().await;
    assert!(
        matches!(&running.event, Event::Status(status) if status.status == Status::Running),
        "{running:?}"
    );
}

async fn after(client: &Client, id: &str) -> Events {
    client.follow_project("demo", Some(id)).await
}

/// The id of the last event of a command in its project's stream.
async fn id_of_end(client: &Client, of: &Accepted) -> String {
    let mut events = client.follow_project("demo", None).await;
    loop {
        let event = events.event().await;
        if event.stream() == Some(of.stream_id.as_str()) && matches!(event.event, Event::Complete(_)) {
            return event.id.expect("a project's event has an id");
        }
    }
}

async fn an_id_beyond_the_log_is_announced_and_what_comes_is_told(on: Runtime) {
    let server = on.server().await;
    let client = server.client();
    client.run("echo old").await;
    // A page that was open while the data folder was made anew comes back with an id of the former log.
    let foreign = "9007199254740991-4";
    let mut events = client.follow_project("demo", Some(foreign)).await;
    let Event::ProjectGap(gap) = events.event().await.event else { panic!("no gap") };
    assert_eq!((gap.from.as_deref(), gap.reason), (Some(foreign), GapReason::UnknownId));
    let accepted = client.shell("echo new").await;
    let mut lines = Vec::new();
    loop {
        let event = events.event().await;
        if matches!(event.event, Event::Heartbeat(_)) {
            continue;
        }
        assert_eq!(event.stream(), Some(accepted.stream_id.as_str()));
        match event.event {
            Event::Output(line) => lines.push(line.line),
            Event::Complete(_) => break,
            _ => {}
        }
    }
    assert_eq!(lines, ["new"]);
    // From the id that the gap names on, everything is there.
    let mut events = client.follow_project("demo", Some(&gap.to)).await;
    assert_eq!(events.event().await.stream(), Some(accepted.stream_id.as_str()));
}
