//! `Idempotency-Key` and the names of streams.

use rdev_client::types::{Accepted, Command, CommandPage, Data, ErrorBody};
use serde_json::json;

use crate::support::{Answer, Client, Server, within};

async fn post(client: &Client, key: &str, command: &str) -> Answer {
    let body = json!({"command": command});
    client.post("/projects/demo/shell", &body).header("idempotency-key", key).send().await
}

async fn history(client: &Client) -> Vec<Command> {
    client.api().commands("demo", &CommandPage::default()).await.unwrap().items
}

#[tokio::test]
async fn the_same_request_again_is_the_same_command() {
    let server = Server::start().await;
    let client = server.client();
    let first = post(&client, "key-1", "echo ran >> ran").await;
    let accepted = first.json::<Data<Accepted>>(202).data;
    client.ended(&accepted.id).await;
    let again = post(&client, "key-1", "echo ran >> ran").await;
    assert_eq!(again.json::<Data<Accepted>>(202).data, accepted);
    assert_eq!(again.header("location"), first.header("location"));
    assert_eq!(history(&client).await.len(), 1);
    assert_eq!(server.file("ran").await.as_deref(), Some("ran\n"));
    // Another key is another command.
    let other = post(&client, "key-2", "echo ran >> ran").await.json::<Data<Accepted>>(202).data;
    assert_ne!(other.id, accepted.id);
}

#[tokio::test]
async fn the_same_key_for_another_request_is_a_conflict() {
    let server = Server::start().await;
    let client = server.client();
    assert_eq!(post(&client, "key-1", "echo one").await.status, 202);
    post(&client, "key-1", "echo two").await.failure(409, "IDEMPOTENCY_KEY_REUSED");
    let git = client.post("/projects/demo/git", &json!({"args": ["status"]}));
    git.header("idempotency-key", "key-1").send().await.failure(409, "IDEMPOTENCY_KEY_REUSED");
    assert_eq!(history(&client).await.len(), 1);
}

#[tokio::test]
async fn ten_at_once_with_one_key_are_one_command() {
    let server = Server::start().await;
    let client = server.client();
    let calls: Vec<_> = (0..10)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move { post(&client, "key", "echo ran >> ran").await })
        })
        .collect();
    let mut ids = Vec::new();
    for call in calls {
        let answer = within("an answer", call).await.unwrap();
        ids.push(answer.json::<Data<Accepted>>(202).data.id);
    }
    ids.dedup();
    assert_eq!(ids.len(), 1);
    client.ended(&ids[0]).await;
    assert_eq!(history(&client).await.len(), 1);
    assert_eq!(server.file("ran").await.as_deref(), Some("ran\n"));
}

#[tokio::test]
async fn a_key_is_remembered_over_a_kill_of_the_server() {
    let mut server = Server::start().await;
    let first = post(&server.client(), "key", "echo ran >> ran").await.json::<Data<Accepted>>(202).data;
    server.kill9().await;
    server.restart().await;
    let client = server.client();
    let again = post(&client, "key", "echo ran >> ran").await.json::<Data<Accepted>>(202).data;
    assert_eq!(again, first);
    client.ended(&first.id).await;
    assert_eq!(server.file("ran").await.as_deref(), Some("ran\n"));
}

#[tokio::test]
async fn keys_that_are_none_are_refused() {
    let server = Server::start().await;
    let client = server.client();
    for key in ["", &"k".repeat(256)] {
        let failure = post(&client, key, "true").await.failure(422, "VALIDATION_FAILED");
        assert_eq!(failure.fields(), ["Idempotency-Key"]);
    }
    assert_eq!(post(&client, &"k".repeat(255), "true").await.status, 202);
}

#[tokio::test]
async fn a_refused_request_does_not_use_up_its_key() {
    let server = Server::start().await;
    let client = server.client();
    post(&client, "key", "").await.failure(422, "VALIDATION_FAILED");
    assert_eq!(post(&client, "key", "true").await.status, 202);
}

#[tokio::test]
async fn the_name_of_a_stream_is_taken_once() {
    let server = Server::start().await;
    let client = server.client();
    client.shell_on("mine", "echo one").await;
    let body = json!({"command": "echo two", "stream_id": "mine"});
    let again = client.post("/projects/demo/shell", &body).send().await;
    assert_eq!(again.status, 409, "{}", again.text());
    let failure: ErrorBody = again.json(409);
    assert!(failure.error.code.starts_with("STREAM"), "{failure:?}");
    assert_eq!(history(&client).await.len(), 1);
}
