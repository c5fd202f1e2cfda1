//! Replies of the database that are lost after their commit.

use rdev_client::Call;
use rdev_client::types::{Accepted, CommandPage, ShellBody, Status, TaskPage};
use rdev_sql::testing::{PostgresDatabase, Proxy};
use serde_json::json;

use crate::support::{Client, Fixture, Server};

/// A server whose database is behind a proxy.
async fn behind_a_proxy(fixture: Fixture) -> (Server, Proxy) {
    let database = PostgresDatabase::create().await;
    let proxy = Proxy::before(database.address()).await;
    let url = database.url_at(proxy.address());
    let server = fixture.with_database(database).with("RDEV_DATABASE_URL", url).start().await;
    (server, proxy)
}

fn post(client: &Client, command: &str) -> Call<Accepted> {
    client.api().run_shell("demo", &ShellBody::new(command))
}

#[tokio::test]
async fn a_command_that_was_stored_is_accepted_once_though_the_answer_was_lost() {
    let (server, proxy) = behind_a_proxy(Fixture::new()).await;
    let client = server.client();
    for (number, key) in [None, Some("key-1")].into_iter().enumerate() {
        let command = format!("echo {number} >> ran");
        proxy.lose_answer_to(&command);
        let call = post(&client, &command);
        let call = match key {
            Some(key) => call.idempotency_key(key),
            None => call,
        };
        let accepted = call.await.unwrap();
        assert!(proxy.has_lost_answer());
        assert_eq!(client.ended(&accepted.id).await.accepted.status, Status::Completed);
        let commands = client.api().commands("demo", &CommandPage::default()).await.unwrap().items;
        assert_eq!(commands.len(), number + 1);
        assert_eq!(commands[0].accepted.id, accepted.id);
    }
    assert_eq!(server.file("ran").await.as_deref(), Some("0\n1\n"));
}

#[tokio::test]
async fn a_task_that_was_stored_is_accepted_once_though_the_answer_was_lost() {
    let (server, proxy) = behind_a_proxy(Fixture::new().with_workers(1)).await;
    let client = server.client();
    let step = "echo ran >> ../ran";
    proxy.lose_answer_to(step);
    let accepted = client.add_task(&json!({"type": "shell", "steps": [step]})).await;
    assert!(proxy.has_lost_answer());
    assert_eq!(client.task_in(&accepted.id, Status::Completed).await.attempts, 1);
    let tasks = client.api().tasks(&TaskPage::default()).await.unwrap();
    assert_eq!(tasks.items.len(), 1);
    assert_eq!(server.file_at("slot-1", "ran").await.as_deref(), Some("ran\n"));
}
