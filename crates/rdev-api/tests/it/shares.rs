//! Quota of event streams for each key: one key leaves connections to others.

use rdev_client::types::CommandPage;
use serde_json::json;

use crate::support::{Call, Client, Fixture, RawEvents, Server, eventually};

const EVENTS: &str = "/projects/demo/events";

/// The administrator's keys: two, as while one is changed.
const KEYS: [&str; 2] = ["rdev_ops_0123456789abcdef0123456789", "rdev_bot_0123456789abcdef0123456789"];

/// A call for events by a ticket of this client's key.
async fn by_ticket(of: &Client) -> Call {
    let ticket = of.api().issue_ticket("demo").await.unwrap().ticket;
    of.with_key(None).get(&format!("{EVENTS}?ticket={ticket}"))
}

/// The project's stream, as soon as there is room for it.
async fn when_there_is_room(client: &Client) -> RawEvents {
    eventually("room in the key's share", async || {
        let (head, body) = client.get(EVENTS).open().await;
        assert!([200, 429].contains(&head.status.as_u16()), "{}", head.status);
        (head.status == 200).then(|| RawEvents::new(head.headers, body))
    })
    .await
}

async fn figure(client: &Client, name: &str) -> u64 {
    let figures = client.get("/metrics").send().await.text();
    let line = figures.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {name} in {figures}")).parse().unwrap()
}

#[tokio::test]
async fn a_key_has_its_share_of_event_streams_and_others_get_in() {
    let keys = Fixture::new().with("RDEV_ADMIN_KEY", KEYS.join(","));
    let server = keys.with("RDEV_STREAMS_PER_KEY", "2").start().await;
    let [client, other] = KEYS.map(|key| server.client().with_key(Some(key)));
    let first = client.get(EVENTS).events().await;
    let second = by_ticket(&client).await.events().await;

    // The share is full, for tickets of the key as well, and for a POST that would be answered with a stream.
    let refused = client.get(EVENTS).send().await;
    assert_eq!(refused.header("retry-after"), "10");
    let failure = refused.failure(429, "TOO_MANY_STREAMS");
    assert!(failure.error.message.contains("has 2 event streams open"), "{}", failure.error.message);
    by_ticket(&client).await.send().await.failure(429, "TOO_MANY_STREAMS");
    let post = || client.post("/projects/demo/shell", &json!({"command": "echo done"}));
    post().header("accept", "text/event-stream").send().await.failure(429, "TOO_MANY_STREAMS");
    let stored = client.api().commands("demo", &CommandPage::default()).await.unwrap();
    assert_eq!(stored.items.len(), 0, "a refused command is not stored");
    assert_eq!(post().send().await.status, 202);

    // Another key has a share of its own.
    let others = by_ticket(&other).await.events().await;
    assert_eq!(figure(&client, "rdev_streams_open").await, 3);
    assert_eq!(figure(&client, "rdev_streams_refused_total").await, 3);

    // Whoever goes leaves room, and so does a stream that comes to its end.
    drop(second);
    let third = when_there_is_room(&client).await;
    drop(first);
    drop(when_there_is_room(&client).await);
    let last = eventually("room for a POST", async || {
        let answer = post().header("accept", "text/event-stream").send().await;
        (answer.status == 200).then_some(answer.text())
    });
    assert!(last.await.contains("event: complete"));
    drop(when_there_is_room(&client).await);
    drop((third, others));
    nothing_is_open(&server).await;
}

async fn nothing_is_open(server: &Server) {
    let client = server.client();
    let none = async || (figure(&client, "rdev_streams_open").await == 0).then_some(());
    eventually("the end of the last stream", none).await;
}

#[tokio::test]
async fn an_answer_that_is_no_stream_takes_nothing_of_the_share() {
    let server = Fixture::new().with("RDEV_STREAMS_PER_KEY", "1").start().await;
    let client = server.client();
    let accepted = client.shell("echo done").await;
    client.ended(&accepted.id).await;
    let over = format!("{EVENTS}?stream_id={}", accepted.stream_id);
    for _ in 0..3 {
        client.get(&format!("{EVENTS}?stream_id=none")).send().await.failure(404, "STREAM_NOT_FOUND");
        assert_eq!(client.get(&over).header("last-event-id", "2").send().await.status, 204);
    }
    client.get(EVENTS).events().await;
}
