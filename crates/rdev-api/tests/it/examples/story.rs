//! The story that is recorded: every operation of the document, and every failure that it documents.

use std::fs;

use rdev_client::types::{
    Accepted, AcceptedOperation, Data, ErrorBody, ErrorCode, ErrorInfo, Meta, Operation, Status, Task,
};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::recorder::{Document, Recorder, Route};
use super::recording::{Example, Examples};
use crate::support::{Answer, Client, Fixture, Repository, Runtime, Server, eventually, raw};

/// Requests that can be read and are not valid.
const NOT_VALID: [(&str, &str); 6] = [
    ("/projects", r#"{"name":"My Shop"}"#),
    ("/projects/demo/shell", r#"{"command":"make test","timeout_seconds":0}"#),
    ("/projects/demo/git", r#"{"args":["rebase","-i","main"]}"#),
    ("/projects/demo/claude", r#"{"prompt":""}"#),
    ("/queue/tasks", r#"{"type":"tset","steps":["make test"]}"#),
    ("/events/ticket", r#"{"path":"/projects"}"#),
];
/// Values of query parameters that are not valid; the first that an operation has is sent.
const QUERIES: [(&str, &str); 4] = [("limit", "0"), ("wait", "0"), ("since", "yesterday"), ("only", "all")];
/// Longest body that is accepted, in bytes.
const BODY_BYTES_MAX: usize = 4 << 20;
/// The key that the first command was sent with.
const USED_KEY: &str = "chat-message-1001";

/// Tells the story, and returns what was recorded.
pub(super) async fn tell() -> Examples {
    let server = Fixture::new().with("RDEV_STREAMS_PER_KEY", "2").start().await;
    let document = Document::of(&server.client()).await;
    let mut examples = Examples::default();
    let late = tokio::spawn(half_a_body(server.client()));
    let mut recorder = Recorder { document: &document, client: server.client(), examples: &mut examples };
    recorder.get(200, "/health").await;
    recorder.get(200, "/ready").await;
    projects(&mut recorder, &server).await;
    commands(&mut recorder, &server).await;
    tasks(&mut recorder).await;
    project_in_deletion(&mut recorder, &server).await;
    for route in document.routes() {
        refused(&mut recorder, route).await;
    }
    for (url, body) in NOT_VALID {
        recorder.post(422, url, &serde_json::from_str(body).unwrap()).await;
    }
    too_many_streams(&mut recorder).await;
    too_large(&mut recorder).await;
    broken_row(&mut recorder, &server).await;
    recorder.examples.record("run_shell", None, &late.await.unwrap());

    let slow = Fixture::new().with("RDEV_RATE_LIMIT_PER_MINUTE", "1").start().await;
    recorder.client = slow.client();
    for route in document.routes().filter(|route| route.documents("429")) {
        too_many_requests(&mut recorder, route).await;
    }
    in_a_cluster(&mut recorder).await;
    // Every key of this version has all scopes.
    let failure = json!(ErrorBody {
        error: ErrorInfo {
            code: ErrorCode::ScopeRequired.as_str().to_owned(),
            message: "this needs a key with the scope projects:execute".to_owned(),
            details: None,
        },
        meta: Meta {
            request_id: "0199d7e8c0de7000a0b1c2d3e4f50617".to_owned(),
            timestamp: "2026-01-24T20:00:00.000000Z".into(),
        },
    });
    examples.failures.insert(ErrorCode::ScopeRequired.as_str().to_owned(), Example { value: failure });
    examples
}

/// The operation once it has ended.
async fn ended(client: &Client, id: &str) -> Operation {
    eventually("the operation's end", async || {
        Some(client.api().operation(id).await.unwrap()).filter(|found| found.accepted.status.is_ended())
    })
    .await
}

async fn projects(recorder: &mut Recorder<'_>, server: &Server) {
    let client = recorder.client.clone();
    let created = recorder.post(202, "/projects", &json!({"name": "shop"})).await;
    let shop = created.json::<Data<AcceptedOperation>>(202).data.operation_id;
    ended(&client, &shop).await;
    recorder.get(200, "/operations?limit=1").await;
    recorder.get(200, &format!("/operations/{shop}")).await;
    recorder.get(200, "/projects?limit=1").await;
    recorder.get(200, "/projects/demo").await;
    recorder.post(409, "/projects", &json!({"name": "shop"})).await;
    recorder.post(409, &format!("/operations/{shop}/retry"), &Value::Null).await;

    // A file is in the way.
    let file = server.fixture().data_dir().join("workspaces/taken");
    fs::write(&file, "").unwrap();
    let taken = client.post("/projects", &json!({"name": "taken"})).send().await;
    let taken = taken.json::<Data<AcceptedOperation>>(202).data.operation_id;
    ended(&client, &taken).await;
    recorder.post(200, &format!("/operations/{taken}/cancel"), &Value::Null).await;
    fs::remove_file(&file).unwrap();
    recorder.post(200, &format!("/operations/{taken}/retry"), &Value::Null).await;
    ended(&client, &taken).await;
}

async fn commands(recorder: &mut Recorder<'_>, server: &Server) {
    let client = recorder.client.clone();
    fs::write(server.workspace().join("Makefile"), "test:\n\t@echo testing stories\n").unwrap();
    let body = json!({"command": "make test", "stream_id": "ci-7", "timeout_seconds": 600});
    let call = client.post("/projects/demo/shell", &body).header("idempotency-key", USED_KEY);
    let id = call.send().await.json::<Data<Accepted>>(202).data.id;
    // Again, for its answer to be recorded.
    let same = client.post("/projects/demo/shell", &body).header("idempotency-key", USED_KEY);
    recorder.submit(202, "/projects/demo/shell", &body, same).await;
    client.ended(&id).await;
    recorder.get(200, "/projects/demo/commands?limit=1").await;
    recorder.get(200, &format!("/projects/demo/commands/{id}")).await;
    recorder.post(409, "/projects/demo/shell", &body).await;
    recorder.post(200, "/events/ticket", &json!({"path": "/projects/demo/events?stream_id=ci-7"})).await;
    recorder.post(200, "/projects/demo/events/ticket", &Value::Null).await;

    let long = client.shell("sleep 300").await.id;
    client.begun(&long).await;
    recorder.post(200, &format!("/projects/demo/commands/{long}/cancel"), &Value::Null).await;
    client.ended(&long).await;
    recorder.post(202, "/projects/demo/git", &json!({"args": ["log", "--oneline", "-n", "5"]})).await;
    let prompt = json!({"prompt": "Make the failing test pass", "max_turns": 20});
    let agent =
        recorder.post(202, "/projects/demo/claude", &prompt).await.json::<Data<Accepted>>(202).data.id;
    client.cancel(&agent).await;
    client.ended(&agent).await;
}

async fn tasks(recorder: &mut Recorder<'_>) {
    let client = recorder.client.clone();
    let repository = Repository::serve("127.0.0.1").await;
    let steps = ["cat file", "echo '<testsuite tests=\"12\"/>' >report.xml"];
    let body = json!({
        "type": "test", "repository": repository.url(), "ref": "main", "steps": steps, "artefacts": ["report.xml"],
        "project": "demo",
    });
    // It waits while it is answered.
    drain(&client, true).await;
    let id = recorder.post(202, "/queue/tasks", &body).await.json::<Data<Task>>(202).data.id;
    drain(&client, false).await;
    let url = format!("/queue/tasks/{id}");
    client.task_in(&id, Status::Completed).await;
    eventually("a free worker", async || (client.api().pool().await.unwrap().busy == 0).then_some(())).await;
    recorder.get(200, "/queue/tasks?limit=1").await;
    recorder.get(200, &url).await;
    recorder.get(200, &format!("{url}/artefacts")).await;
    recorder.get(404, &format!("{url}/artefacts/none")).await;
    for path in ["/queue/stats", "/workers", "/workers/pool", "/workers/slot-1"] {
        recorder.get(200, path).await;
    }
    let failing = json!({"type": "deploy", "repository": repository.url(), "steps": ["make deploy"], "project": "demo"});
    let failed = client.post("/queue/tasks", &failing).send().await.json::<Data<Task>>(202).data.id;
    client.task_in(&failed, Status::Failed).await;
    let url = format!("/queue/tasks/{failed}");
    // Nobody takes what comes now.
    recorder.post(200, "/workers/slot-1/drain", &json!({"drain": true})).await;
    drain(&client, true).await;
    recorder.post(200, &format!("{url}/retry"), &Value::Null).await;
    recorder.post(409, &format!("{url}/retry"), &Value::Null).await;
    recorder.post(200, &format!("{url}/cancel"), &Value::Null).await;
}

/// Has the workers take nothing, or work again.
async fn drain(client: &Client, drain: bool) {
    for worker in ["slot-1", "slot-2"] {
        let answer = client.post(&format!("/workers/{worker}/drain"), &json!({"drain": drain})).send().await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
}

/// While a project is being deleted, nothing begins in it.
async fn project_in_deletion(recorder: &mut Recorder<'_>, server: &Server) {
    let client = recorder.client.clone();
    let task = json!({"type": "shell", "steps": ["true"], "project": "shop"});
    let waiting = client.post("/queue/tasks", &task).send().await.json::<Data<Task>>(202).data.id;
    client.call("POST", &format!("/queue/tasks/{waiting}/cancel")).send().await;
    // It takes its time to end.
    client.shell_in("shop", "trap '' TERM; touch started; while :; do sleep 0.1; done").await;
    let started = server.fixture().data_dir().join("workspaces/shop/started");
    eventually("the command", async || started.exists().then_some(())).await;
    let deleted = recorder.delete(202, "/projects/shop").await;
    let deletion = deleted.json::<Data<AcceptedOperation>>(202).data.operation_id;
    eventually("a closed project", async || {
        let operation = client.api().operation(&deletion).await.unwrap();
        operation.steps.get(1).is_some_and(|step| step.attempt > 0).then_some(())
    })
    .await;
    recorder.post(409, "/projects/shop/shell", &json!({"command": "true"})).await;
    recorder.post(409, "/projects/shop/git", &json!({"args": ["status"]})).await;
    recorder.post(409, "/projects/shop/claude", &json!({"prompt": "hello"})).await;
    recorder.post(409, "/queue/tasks", &task).await;
    recorder.post(409, &format!("/queue/tasks/{waiting}/retry"), &Value::Null).await;
    recorder.post(409, "/projects", &json!({"name": "shop"})).await;
    ended(&client, &deletion).await;
}

/// Failures that an operation has in common with others.
async fn refused(recorder: &mut Recorder<'_>, route: Route<'_>) {
    let (operation, nowhere) = (route.operation, route.nowhere());
    let method = route.method.to_uppercase();
    let body = recorder.request(operation);
    let call = |client: &Client, url: &str| match &body {
        Value::Null => client.call(&method, url),
        body => client.post(url, body),
    };
    let client = recorder.client.clone();
    let mut expect = async |status: u16, call| {
        recorder.expect(status, &method, &nowhere, call).await;
    };
    expect(400, call(&client, &format!("{nowhere}?state=failed"))).await;
    if operation.security.is_some() {
        expect(401, call(&client.with_key(None), &nowhere)).await;
    }
    if route.path.contains('{') {
        expect(400, call(&client, &nowhere.replace("nosuch", "%ff").replace("0199d7e8", "%ff"))).await;
    }
    if operation.request_body.is_some() {
        let of_kind = |kind: &str| client.call(&method, &nowhere).header("content-type", kind);
        expect(400, of_kind("application/json").body("[]")).await;
        expect(415, of_kind("text/plain").body("{}")).await;
    }
    if operation.id == "create_ticket" {
        expect(404, client.post(&nowhere, &json!({"path": "/projects/nosuch/events"}))).await;
    } else if route.documents("404") {
        expect(404, call(&client, &nowhere)).await;
    }
    if method == "POST" {
        expect(409, call(&client, &nowhere).header("idempotency-key", USED_KEY)).await;
        expect(422, call(&client, &nowhere).header("idempotency-key", "")).await;
    } else if let Some((name, value)) = QUERIES.iter().find(|(name, _)| route.takes(name)) {
        expect(422, call(&client, &format!("{nowhere}?{name}={value}"))).await;
    }
}

/// A key that has as many streams open as it may.
async fn too_many_streams(recorder: &mut Recorder<'_>) {
    let open = || recorder.client.get("/events?last_event_id=latest").events();
    let streams = [open().await, open().await];
    for route in recorder.document.routes().filter(Route::is_stream) {
        recorder.get(429, &route.nowhere()).await;
    }
    drop(streams);
}

async fn too_large(recorder: &mut Recorder<'_>) {
    let url = "/projects/demo/shell";
    let call = recorder.client.call("POST", url).header("content-type", "application/json");
    recorder.expect(413, "POST", url, call.body(vec![b' '; BODY_BYTES_MAX + 1])).await;
}

/// The answer to a request whose body does not come to its end.
async fn half_a_body(client: Client) -> Answer {
    let mut stream = TcpStream::connect(client.address).await.unwrap();
    let head = format!(
        "POST /projects/demo/shell HTTP/1.1\r\nhost: rdev\r\nauthorization: Bearer {}\r\n\
         content-type: application/json\r\ncontent-length: 30\r\nconnection: close\r\n\r\n{{\"command\":",
        client.key.unwrap()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let answer = raw::answer(&raw::heard(stream).await.unwrap());
    answer.failure(408, "BODY_TIMEOUT");
    answer
}

/// Reads a row that no server has written.
async fn broken_row(recorder: &mut Recorder<'_>, server: &Server) {
    let id = recorder.client.shell("true").await.id;
    recorder.client.ended(&id).await;
    server.sql(&format!("UPDATE jobs SET request = '{{' WHERE id = '{id}'")).await;
    recorder.get(500, &format!("/projects/demo/commands/{id}")).await;
}

async fn too_many_requests(recorder: &mut Recorder<'_>, route: Route<'_>) {
    let (method, url) = (route.method.to_uppercase(), route.nowhere());
    let call = || recorder.client.call(&method, &url);
    // One a minute passes; it may be a stream.
    eventually("a refusal", async || (call().open().await.0.status == 429).then_some(())).await;
    let refused = call();
    recorder.expect(429, &method, &url, refused).await;
}

/// Projects are pods there, and the cluster may be away.
async fn in_a_cluster(recorder: &mut Recorder<'_>) {
    let mut server = Runtime::Double.server().await;
    recorder.client = server.client();
    recorder.post(409, "/projects", &json!({"name": "shop"})).await;
    recorder.delete(409, "/projects/demo").await;
    server.double().cluster().stop().await;
    server.kill9().await;
    assert!(server.try_restart("/health").await, "it has not started: {}", server.log());
    recorder.client = server.client();
    recorder.get(503, "/ready").await;
    recorder.get(503, "/projects").await;
}
