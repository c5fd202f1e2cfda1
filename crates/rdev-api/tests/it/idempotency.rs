//! `Idempotency-Key` and the names of streams.

use std::collections::{BTreeMap, BTreeSet};

use rdev_client::types::{
    Accepted, Command, CommandPage, CreateProjectBody, Data, ErrorBody, Status, TaskPage,
};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::support::{Answer, Client, Fixture, Server, eventually, within};

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

/// A POST: its route in the document, its path, and its body.
struct Post {
    route: &'static str,
    path: String,
    body: Value,
}

impl Post {
    fn new(route: &'static str, path: impl Into<String>, body: Value) -> Self {
        Self { route, path: path.into(), body }
    }

    /// Sends the request, or one with another body under the same key.
    async fn send(&self, client: &Client, other: Option<&Value>) -> Answer {
        let call = match other.unwrap_or(&self.body) {
            Value::Null => client.call("POST", &self.path),
            body => client.post(&self.path, body),
        };
        call.header("idempotency-key", &self.path.replace('/', "-")).send().await
    }
}

/// Content of an answer: its status, its `Location` and its data.
fn said(answer: &Answer) -> (u16, Option<String>, Value) {
    let body: Value = serde_json::from_slice(&answer.body).unwrap();
    let location = answer.headers.get("location").map(|value| value.to_str().unwrap().to_owned());
    (answer.status.as_u16(), location, body["data"].clone())
}

fn is_replayed(answer: &Answer) -> bool {
    answer.headers.get("idempotent-replayed").is_some_and(|value| value == "true")
}

/// One request of each POST, once what it is about is there.
async fn posts(server: &Server) -> Vec<Post> {
    let client = server.client();
    let command = client.shell("sleep 300").await.id;
    client.begun(&command).await;
    let task = |step: &str| json!({"type": "shell", "steps": [step], "max_attempts": 1});
    let step = format!("echo ran >>'{}/retried'; exit 1", server.workspace().display());
    let failed = client.add_task(&task(&step)).await.id;
    client.task_in(&failed, Status::Failed).await;
    let running = client.add_task(&task("sleep 300")).await.id;
    client.task_in(&running, Status::Running).await;
    // A file is in the way of the project.
    std::fs::write(server.fixture().data_dir().join("workspaces/taken"), "").unwrap();
    let operation = client.api().create_project(&CreateProjectBody::new("taken")).await.unwrap().operation_id;
    eventually("the operation's end", async || {
        client.api().operation(&operation).await.unwrap().accepted.status.is_ended().then_some(())
    })
    .await;
    let none = || Value::Null;
    vec![
        Post::new("/projects", "/projects", json!({"name": "shop"})),
        Post::new("/operations/{operation_id}/retry", format!("/operations/{operation}/retry"), none()),
        Post::new("/operations/{operation_id}/cancel", format!("/operations/{operation}/cancel"), none()),
        Post::new("/projects/{project}/shell", "/projects/demo/shell", json!({"command": "echo ran >>ran"})),
        Post::new("/projects/{project}/git", "/projects/demo/git", json!({"args": ["status"]})),
        Post::new("/projects/{project}/claude", "/projects/demo/claude", json!({"prompt": "hello"})),
        Post::new("/projects/{project}/events/ticket", "/projects/demo/events/ticket", none()),
        Post::new("/events/ticket", "/events/ticket", json!({"path": "/events"})),
        Post::new(
            "/projects/{project}/commands/{command_id}/cancel",
            format!("/projects/demo/commands/{command}/cancel"),
            none(),
        ),
        Post::new("/queue/tasks", "/queue/tasks", task("true")),
        Post::new("/queue/tasks/{task_id}/retry", format!("/queue/tasks/{failed}/retry"), none()),
        Post::new("/queue/tasks/{task_id}/cancel", format!("/queue/tasks/{running}/cancel"), none()),
        Post::new("/workers/{worker_id}/drain", "/workers/slot-2/drain", json!({"drain": true})),
    ]
}

#[derive(Deserialize)]
struct Document {
    paths: BTreeMap<String, BTreeMap<String, Value>>,
}

/// Every POST of the document takes a key, and tells repetitions; no other is forgotten here.
async fn assert_all_posts(client: &Client, posts: &[Post]) {
    let document: Document = client.get("/openapi.json").send().await.part(200);
    let documented =
        document.paths.iter().filter_map(|(path, methods)| Some((path.as_str(), methods.get("post")?)));
    let documented: BTreeMap<_, _> = documented.collect();
    let told: BTreeSet<_> = posts.iter().map(|post| post.route).collect();
    assert_eq!(documented.keys().copied().collect::<BTreeSet<_>>(), told);
    for (path, operation) in documented {
        let text = operation.to_string();
        assert!(text.contains("\"Idempotency-Key\"") && text.contains("\"Idempotent-Replayed\""), "{path}");
    }
}

/// No repetition has an effect, also after everything has ended, and after a kill of the server.
async fn every_post_gives_its_first_answer_again(fixture: Fixture, lose_answers: bool) {
    let mut server = fixture.start().await;
    let posts = posts(&server).await;
    assert_all_posts(&server.client(), &posts).await;
    let mut first = Vec::new();
    for post in &posts {
        let answer = post.send(&server.client(), None).await;
        assert!(answer.status.is_success() && !is_replayed(&answer), "{}: {}", post.route, answer.text());
        first.push(said(&answer));
    }
    let id = |route: &str| {
        let at = posts.iter().position(|post| post.route == route).unwrap();
        first[at].2["id"].as_str().unwrap().to_owned()
    };
    let retried = id("/queue/tasks/{task_id}/retry");
    server.client().ended(&id("/projects/{project}/shell")).await;
    server.client().task_in(&id("/queue/tasks"), Status::Completed).await;
    server.client().task_in(&retried, Status::Failed).await;
    server.kill9().await;
    if lose_answers {
        // As after a kill between an effect and the storage of its answer.
        server
            .sql("UPDATE idempotency_keys SET answer_status = NULL, answer_location = NULL, answer = NULL")
            .await;
    }
    server.restart().await;
    let client = server.client();
    for (post, first) in posts.iter().zip(&first) {
        let mut again = None;
        for _ in 0..2 {
            let answer = post.send(&client, None).await;
            assert!(is_replayed(&answer), "{}: {}", post.route, answer.text());
            let said = said(&answer);
            assert_eq!((said.0, &said.1), (first.0, &first.1), "{}", post.route);
            // An answer that was lost is made anew, and then stays.
            let expected = if lose_answers { again.get_or_insert_with(|| said.2.clone()) } else { &first.2 };
            assert_eq!(&said.2, expected, "{}", post.route);
        }
        let other = post.send(&client, Some(&json!({"something": "else"}))).await;
        other.failure(409, "IDEMPOTENCY_KEY_REUSED");
    }
    assert_eq!(history(&client).await.len(), 4);
    assert_eq!(client.api().tasks(&TaskPage::default()).await.unwrap().items.len(), 3);
    assert_eq!(server.file("ran").await.as_deref(), Some("ran\n"));
    assert_eq!(
        (client.task(&retried).await.attempts, server.file("retried").await.as_deref()),
        (2, Some("ran\nran\n"))
    );
}

#[tokio::test]
async fn every_post_gives_its_first_answer_again_on_sqlite() {
    every_post_gives_its_first_answer_again(Fixture::new(), false).await;
}

#[tokio::test]
async fn every_post_gives_its_first_answer_again_on_postgres() {
    every_post_gives_its_first_answer_again(Fixture::new().with_postgres(), false).await;
}

#[tokio::test]
async fn a_post_whose_answer_was_not_stored_has_its_effect_once_on_sqlite() {
    every_post_gives_its_first_answer_again(Fixture::new(), true).await;
}

#[tokio::test]
async fn a_post_whose_answer_was_not_stored_has_its_effect_once_on_postgres() {
    every_post_gives_its_first_answer_again(Fixture::new().with_postgres(), true).await;
}
