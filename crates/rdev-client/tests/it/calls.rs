//! Calls, their answers and their failures.

use std::time::Duration;

use rdev_client::types::{AsWritten, ShellBody, Status, TaskPage, TaskType};
use rdev_client::{ApiFailure, Client, Error};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::server::{Reply, Server, json, within};

const ACCEPTED: &str = r#"{"data":{"id":"cmd-1","command_id":"cmd-1","project":"demo","type":"shell","status":"pending",
    "stream_id":"ci-7","stream_url":"/projects/demo/events?stream_id=ci-7"},
    "meta":{"request_id":"r-1","timestamp":"2026-01-24T20:00:00Z"}}"#;
const NO_TASKS: &str =
    r#"{"data":[],"meta":{"request_id":"r-1","timestamp":"2026-01-24T20:00:00Z","next_cursor":"cmd-2"}}"#;
const INVALID: &str = r#"{"error":{"code":"VALIDATION_FAILED","message":"1 field is not valid",
    "details":[{"field":"command","message":"it must not be empty"}]},
    "meta":{"request_id":"r-1","timestamp":"2026-01-24T20:00:00Z"}}"#;

#[tokio::test]
async fn a_post_sends_its_body_and_its_key() {
    let replayed = json("202 Accepted", "Idempotent-Replayed: true\r\n", ACCEPTED);
    let mut server = Server::start(vec![json("202 Accepted", "", ACCEPTED), replayed]).await;
    let client = server.client();
    let body = ShellBody { stream_id: Some("ci-7".into()), ..ShellBody::new("true") };
    let accepted = within(client.run_shell("demo", &body).into_future()).await.unwrap();
    assert_eq!((accepted.id.as_str(), accepted.status), ("cmd-1", Status::Pending));
    let request = server.request().await;
    assert!(request.starts_with("POST /projects/demo/shell HTTP/1.1\r\n"), "{request}");
    assert!(request.ends_with("\r\n\r\n{\"command\":\"true\",\"stream_id\":\"ci-7\"}"), "{request}");
    assert!(!request.contains("idempotency-key"), "{request}");
    let answer = within(client.run_shell("demo", &body).idempotency_key("k").answer()).await.unwrap();
    assert!(answer.is_replayed && answer.meta.request_id == "r-1");
    assert!(server.request().await.contains("idempotency-key: k\r\n"));
}

#[tokio::test]
async fn a_query_says_only_what_is_asked_for() {
    let mut server = Server::start(vec![json("200 OK", "", NO_TASKS), json("200 OK", "", NO_TASKS)]).await;
    let page = TaskPage {
        status: Some(Status::TimedOut.into()),
        kind: Some(AsWritten::Known(TaskType::Test)),
        ..TaskPage::default()
    };
    let tasks = within(server.client().tasks(&page)).await.unwrap();
    assert_eq!((tasks.items.len(), tasks.next_cursor.as_deref()), (0, Some("cmd-2")));
    assert!(server.request().await.starts_with("GET /queue/tasks?status=timed_out&type=test HTTP/1.1\r\n"));
    within(server.client().artefacts("cmd-1")).await.unwrap();
    assert!(server.request().await.starts_with("GET /queue/tasks/cmd-1/artefacts HTTP/1.1\r\n"));
}

#[tokio::test]
async fn a_failure_names_its_fields_and_a_page_of_a_proxy_its_status() {
    let page =
        Reply::Close("HTTP/1.1 502 Bad Gateway\r\nContent-Length: 6\r\nRetry-After: 7\r\n\r\n<html>".into());
    let server = Server::start(vec![json("422 Unprocessable Content", "", INVALID), page]).await;
    let call = server.client().run_shell("demo", &ShellBody::default());
    let error = within(call.into_future()).await.unwrap_err();
    let failure = error.failure().unwrap();
    assert_eq!((failure.status, failure.fields()), (422, vec!["command"]));
    assert!(!error.is_temporary());
    let error = within(server.client().project("demo")).await.unwrap_err();
    let failure = error.failure().unwrap();
    assert_eq!((failure.status, failure.code.as_str()), (502, ApiFailure::NO_CODE));
    assert_eq!(failure.retry_after, Some(Duration::from_secs(7)));
    assert!(error.is_temporary());
}

#[tokio::test]
async fn an_answer_that_does_not_come_is_not_waited_for() {
    let script = vec![Reply::Hold(String::new()), Reply::Close("HTTP/1.1 200 OK\r\nContent-Le".into())];
    let server = Server::start(script).await;
    let client = server.client_with(|builder| builder.answer_timeout(Duration::from_millis(100)));
    let error = within(client.health()).await.unwrap_err();
    assert!(matches!(error, Error::Timeout { .. }), "{error:?}");
    let error = within(client.health()).await.unwrap_err();
    assert!(matches!(error, Error::Transport(_)) && error.is_temporary(), "{error:?}");
}

#[tokio::test]
async fn a_body_that_is_cut_is_not_taken_for_a_whole_one() {
    let cut = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\nRdev-Gap: 1-3\r\n\r\nhello";
    let mut server = Server::start(vec![Reply::Close(cut.into())]).await;
    let file = within(server.client().artefact("cmd-1", "dist/a b.txt")).await.unwrap();
    assert_eq!(file.gap(), Some("1-3"));
    let error = within(file.bytes()).await.unwrap_err();
    assert!(matches!(error, Error::Transport(_)), "{error:?}");
    let request = server.request().await;
    assert!(request.starts_with("GET /queue/tasks/cmd-1/artefacts/dist/a%20b.txt HTTP/1.1\r\n"), "{request}");
}

#[tokio::test]
async fn a_server_on_a_unix_socket_is_reached() {
    let path = std::env::temp_dir().join(format!("rdev-client-{}.sock", std::process::id()));
    let listener = tokio::net::UnixListener::bind(&path).unwrap();
    let answer = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = [0; 1024];
        let count = stream.read(&mut request).await.unwrap();
        let body = r#"{"status":"ok","version":"0.1.0","commit":"unknown"}"#;
        let body = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        stream.write_all(body.as_bytes()).await.unwrap();
        String::from_utf8_lossy(&request[..count]).into_owned()
    });
    let client = Client::new(&format!("unix:{}", path.display()), None).unwrap();
    let health = within(client.health()).await;
    std::fs::remove_file(&path).unwrap();
    assert_eq!(health.unwrap().status.as_str(), "ok");
    assert!(answer.await.unwrap().starts_with("GET /health HTTP/1.1\r\n"));
}
