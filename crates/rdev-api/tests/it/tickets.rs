//! Tickets: good for one stream, over restarts, as long as their key; and renewed.

use rdev_client::types::{Data, Event, Ticket};
use serde_json::json;

use crate::clocks::with_clock;
use crate::support::{Client, Fixture, MASTER_KEY, RawEvents, Runtime, Server, eventually};

async fn ticket(client: &Client, path: &str) -> String {
    client.api().create_ticket(path).await.expect("there is such a stream").ticket
}

fn with_ticket(path: &str, ticket: &str) -> String {
    format!("{path}{}ticket={ticket}", if path.contains('?') { '&' } else { '?' })
}

fn with_key(id: &str, secret: &str) -> Fixture {
    let key = format!("rdev_{id}_{secret}");
    Fixture::new().with("RDEV_MASTER_KEY", MASTER_KEY).with("RDEV_ADMIN_KEY", key)
}

#[tokio::test]
async fn every_stream_has_tickets_of_its_own() {
    let server = Fixture::new().with_workers(1).start().await;
    let client = server.client();
    let stranger = client.with_key(None);
    client.shell_on("s", "true").await;
    client.shell_on("t", "true").await;
    let task = client.add_task(&json!({"type": "shell", "steps": ["true"]})).await;
    let operation =
        client.api().create_project(&rdev_client::types::CreateProjectBody::new("shop")).await.unwrap();
    let streams = [
        "/events".to_owned(),
        "/projects/demo/events".to_owned(),
        "/projects/demo/events?stream_id=s".to_owned(),
        "/projects/demo/events/t".to_owned(),
        format!("/queue/tasks/{}/events", task.id),
        operation.events_url.clone(),
    ];
    for (n, path) in streams.iter().enumerate() {
        let ticket = ticket(&client, path).await;
        for (m, other) in streams.iter().enumerate() {
            let (head, _body) = stranger.get(&with_ticket(other, &ticket)).open().await;
            // That of a project opens each of its streams.
            let opens = n == m || n == 1 && (m == 2 || m == 3);
            assert_eq!(head.status, if opens { 200 } else { 401 }, "{path} for {other}");
        }
        stranger.get(&with_ticket("/projects", &ticket)).send().await.failure(401, "UNAUTHORIZED");
    }
    // A path may have what the stream is to be opened with.
    let options = "/projects/demo/events?stream_id=s&stderr=output&types=status,complete";
    let ticket = ticket(&client, options).await;
    stranger.get(&with_ticket(options, &ticket)).events().await;
}

#[tokio::test]
async fn a_path_that_is_no_streams_gets_no_ticket() {
    let server = Server::start().await;
    let client = server.client();
    let post = async |path: &str| client.post("/events/ticket", &json!({"path": path})).send().await;
    for path in [
        "",
        "/",
        "events",
        "/projects",
        "/projects/demo/commands",
        "/events?stream_id=x",
        "/events?nope=1",
        "http://x y",
    ] {
        assert_eq!(post(path).await.failure(422, "VALIDATION_FAILED").fields(), ["path"], "{path:?}");
    }
    let none = "0".repeat(32);
    for (path, code) in [
        ("/projects/none/events".to_owned(), "PROJECT_NOT_FOUND"),
        ("/projects/demo/events?stream_id=none".to_owned(), "STREAM_NOT_FOUND"),
        (format!("/queue/tasks/cmd-{none}/events"), "TASK_NOT_FOUND"),
        (format!("/operations/op-{none}/events"), "OPERATION_NOT_FOUND"),
    ] {
        post(&path).await.failure(404, code);
    }
    client
        .post("/events/ticket", &json!({"path": "/events", "x": 1}))
        .send()
        .await
        .failure(400, "INVALID_BODY");
    let first: Data<Ticket> = post("/events").await.json(200);
    assert!(first.data.ticket.contains('.'));
}

#[tokio::test]
async fn a_ticket_outlives_the_server_and_ends_with_its_key() {
    let mut server = with_key("ops", "0123456789abcdef0123456789").start().await;
    let ticket = ticket(&server.client(), "/events").await;
    server.kill9().await;
    server.restart().await;
    let stranger = server.client().with_key(None);
    stranger.get(&with_ticket("/events", &ticket)).events().await;
    // Servers that know the same master key, and not the key: a later one may have the same id.
    for (id, secret) in [("bot", "0123456789abcdef0123456789"), ("ops", "9876543210fedcba9876543210")] {
        let other = with_key(id, secret).start().await;
        let refused = other.client().with_key(None).get(&with_ticket("/events", &ticket)).send().await;
        refused.failure(401, "UNAUTHORIZED");
    }
}

#[tokio::test]
async fn two_keys_are_accepted_while_one_is_changed() {
    let [old, new] = ["ops", "bot"].map(|id| format!("rdev_{id}_0123456789abcdef0123456789"));
    let server = Fixture::new().with("RDEV_ADMIN_KEY", format!("{old},{new}")).start().await;
    for key in [&old, &new] {
        let client = server.client().with_key(Some(key));
        assert_eq!(client.get("/projects").send().await.status, 200);
        let ticket = ticket(&client, "/events").await;
        client.with_key(None).get(&with_ticket("/events", &ticket)).events().await;
    }
}

#[tokio::test]
async fn a_stream_that_was_opened_with_a_ticket_sends_the_next_one() {
    let folder = tempfile::tempdir().unwrap();
    let clock = folder.path().join("clock");
    std::fs::write(&clock, "-40m\n").unwrap();
    let server = with_clock(Runtime::Local.fixture(), &clock).start().await;
    let client = server.client();
    let old = ticket(&client, "/projects/demo/events").await;
    std::fs::write(&clock, "+0\n").unwrap();
    let stranger = client.with_key(None);
    let path = "/projects/demo/events?last_event_id=latest";
    let mut events = stranger.get(&with_ticket(path, &old)).events().await;
    let Event::Ticket(next) = after_the_place(&mut events).await else { panic!("no ticket") };
    stranger.get(&with_ticket(path, &next.ticket)).events().await;
    // A fresh one is not renewed at once, and no key is.
    let fresh = ticket(&client, "/projects/demo/events").await;
    for mut events in
        [stranger.get(&with_ticket(path, &fresh)).events().await, client.get(path).events().await]
    {
        client.shell("true").await;
        assert!(!matches!(after_the_place(&mut events).await, Event::Ticket(_)));
    }
    std::fs::write(&clock, "+30m\n").unwrap();
    stranger.get(&with_ticket(path, &old)).send().await.failure(401, "UNAUTHORIZED");
    stranger.get(&with_ticket(path, &next.ticket)).events().await;
}

/// The event after the heartbeat that tells where the stream begins.
async fn after_the_place(events: &mut RawEvents) -> Event {
    assert!(matches!(events.event().await.event, Event::Heartbeat(_)));
    events.event().await.event
}

/// A hundred pages connect again at once when a server has restarted.
#[tokio::test]
async fn connections_to_streams_have_a_rate_of_their_own() {
    let server = Fixture::new().with("RDEV_RATE_LIMIT_PER_MINUTE", "100").start().await;
    let client = server.client();
    let ticket = ticket(&client, "/events").await;
    let mut open = Vec::new();
    for n in 0..100 {
        let (head, body) = client.with_key(None).get(&with_ticket("/events", &ticket)).open().await;
        assert_eq!(head.status, 200, "{n}");
        open.push(body);
    }
    let refused = async || {
        let (head, _body) = client.with_key(None).get(&with_ticket("/events", &ticket)).open().await;
        (head.status == 429).then_some(head.headers)
    };
    let refused = eventually("a refusal", refused).await;
    assert!(refused.contains_key("retry-after"));
    // Other requests of the key are answered meanwhile.
    assert_eq!(client.get("/projects").send().await.status, 200);
}
