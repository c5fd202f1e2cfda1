//! Bodies that cannot be parsed, or hold values that are not valid.

use rdev_client::types::{Accepted, Data, Details};
use serde_json::json;

use crate::support::{Server, within};

const JSON: (&str, &str) = ("content-type", "application/json");

#[tokio::test]
async fn unreadable_bodies_are_answered_with_400() {
    let server = Server::start().await;
    let client = server.client();
    for (body, named) in [
        ("", ""),
        ("{", ""),
        ("[]", "an array"),
        (r#" ["true",null,null,null]"#, "an array"),
        ("{}", "command"),
        (r#"{"command":1}"#, "command"),
        (r#"{"command":"true","comand":"x"}"#, "comand"),
        (r#"{"command":"true"} x"#, ""),
        (r#"{"command":"true","command":"false"}"#, "command"),
        (r#"{"command":"true","timeout_seconds":"5"}"#, "timeout_seconds"),
        (r#"{"command":"true","timeout_seconds":-5}"#, "timeout_seconds"),
        (r#"{"command":"true","env":{"A":1}}"#, "A"),
        ("{\"command\":\"\u{fffd}", ""),
    ] {
        let call = client.call("POST", "/projects/demo/shell").header(JSON.0, JSON.1);
        let failure = call.body(body.to_owned()).send().await.failure(400, "INVALID_BODY");
        assert!(failure.error.message.contains(named), "{body}: {}", failure.error.message);
        assert_eq!(failure.error.details.is_some(), !["", "an array"].contains(&named), "{body}");
    }
    let call = client.call("POST", "/projects/demo/shell").header(JSON.0, JSON.1);
    call.body(&b"{\"command\":\"\xff\"}"[..]).send().await.failure(400, "INVALID_BODY");
}

#[tokio::test]
async fn every_field_that_is_not_valid_is_told_at_once() {
    let server = Server::start().await;
    let client = server.client();
    let shell = json!({"command": "", "stream_id": "not a name", "timeout_seconds": 0, "env": {"1A": "x"}});
    let failure = client.post("/projects/demo/shell", &shell).send().await.failure(422, "VALIDATION_FAILED");
    let mut fields = failure.fields();
    fields.sort_unstable();
    assert_eq!(fields, ["command", "env.1A", "stream_id", "timeout_seconds"]);
    let Some(Details::Fields(details)) = failure.error.details else { panic!("{:?}", failure.error) };
    assert!(details.iter().all(|detail| !detail.message.is_empty()));

    let claude = json!({"prompt": "", "model": "-x", "session_id": "a b", "max_turns": 0, "stream_id": ""});
    let failure =
        client.post("/projects/demo/claude", &claude).send().await.failure(422, "VALIDATION_FAILED");
    let mut fields = failure.fields();
    fields.sort_unstable();
    assert_eq!(fields, ["max_turns", "model", "prompt", "session_id", "stream_id"]);

    let git = json!({"args": ["-C", ".."], "stream_id": "-", "timeout_seconds": 604_801});
    let failure = client.post("/projects/demo/git", &git).send().await.failure(422, "VALIDATION_FAILED");
    let mut fields = failure.fields();
    fields.sort_unstable();
    assert_eq!(fields, ["args[0]", "stream_id", "timeout_seconds"]);
}

#[tokio::test]
async fn bodies_of_other_types_are_answered_with_415() {
    let server = Server::start().await;
    let client = server.client();
    for content_type in [None, Some("text/plain"), Some("application/x-www-form-urlencoded")] {
        let call = client.call("POST", "/projects/demo/shell").body(r#"{"command":"true"}"#);
        let call = match content_type {
            Some(content_type) => call.header("content-type", content_type),
            None => call,
        };
        call.send().await.failure(415, "UNSUPPORTED_MEDIA_TYPE");
    }
    let call = client.call("POST", "/projects/demo/shell").body(r#"{"command":"true"}"#);
    assert_eq!(call.header("content-type", "application/json; charset=utf-8").send().await.status, 202);
}

#[tokio::test]
async fn a_body_that_is_too_large_is_answered_with_413() {
    let server = Server::start().await;
    let client = server.client();
    let body = json!({"command": "x".repeat(5 * 1024 * 1024)});
    client.post("/projects/demo/shell", &body).send().await.failure(413, "BODY_TOO_LARGE");
    // A line that is too long for the kernel, but no too large body, is not valid.
    let body = json!({"command": "x".repeat(200_000)});
    let failure = client.post("/projects/demo/shell", &body).send().await.failure(422, "VALIDATION_FAILED");
    assert_eq!(failure.fields(), ["command"]);
}

#[tokio::test]
async fn variables_reach_a_shell_command() {
    let server = Server::start().await;
    let client = server.client();
    let body = json!({"command": "printf '%s|' \"$A\" \"$B_2\"", "env": {"A": "a b\n", "B_2": ""}});
    let id = client.post("/projects/demo/shell", &body).send().await.json::<Data<Accepted>>(202).data.id;
    within("its end", client.ended(&id)).await;
    assert_eq!(client.output(&id).await, "a b\n||");
}

#[tokio::test]
async fn a_body_that_is_packed_is_answered_with_415_and_what_is_taken() {
    let server = Server::start().await;
    let client = server.client();
    let post = |encoding: &str| {
        let call = client.post("/projects/demo/shell", &json!({"command": "true"}));
        call.header("content-encoding", encoding)
    };
    let refused = post("gzip").send().await;
    refused.failure(415, "UNSUPPORTED_MEDIA_TYPE");
    assert_eq!(refused.header("accept-encoding"), "identity");
    assert_eq!(post("identity").send().await.status, 202);
}

#[tokio::test]
async fn numbers_and_times_of_a_task_are_taken_in_every_form_that_the_document_allows() {
    let server = Server::start().await;
    let client = server.client();
    let task = |more: serde_json::Value| {
        let mut body = json!({"type": "shell", "steps": ["true"], "run_after": "2999-01-01T00:00:00Z"});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        client.post("/queue/tasks", &body)
    };
    let told = async |more: serde_json::Value| {
        let answer = task(more).send().await;
        answer.part::<Data<serde_json::Value>>(202).data
    };
    let numbers = told(json!({"priority": -1.0, "timeout_seconds": 5.0})).await;
    assert_eq!((&numbers["priority"], &numbers["timeout_ms"]), (&json!(-1), &json!(5000)));
    for (given, kept) in [
        ("9999-12-31T23:59:59Z", "9999-12-31T23:59:59.000000Z"),
        ("9999-12-31T23:59:59.999999999Z", "9999-12-31T23:59:59.999999Z"),
        ("2999-01-01T00:00:00.123456789012Z", "2999-01-01T00:00:00.123456Z"),
        ("2999-01-01T01:00:00.5+01:00", "2999-01-01T00:00:00.500000Z"),
    ] {
        assert_eq!(told(json!({"run_after": given})).await["run_after"], kept, "{given}");
    }
    for priority in [json!(1.5), json!(null), json!("1"), json!(1e300)] {
        let failure = task(json!({"priority": priority})).send().await.failure(400, "INVALID_BODY");
        assert!(failure.error.message.contains("priority"), "{}", failure.error.message);
    }
    let wrong = task(json!({"type": "tset", "run_after": "9999-12-31T23:59:59-01:00", "priority": 101}));
    let failure = wrong.send().await.failure(422, "VALIDATION_FAILED");
    let mut fields = failure.fields();
    fields.sort_unstable();
    assert_eq!(fields, ["priority", "run_after", "type"]);
}

#[tokio::test]
async fn the_form_of_an_answer_is_the_one_that_is_liked_best() {
    let server = Server::start().await;
    let client = server.client();
    for (accept, form) in [
        ("text/event-stream", "text/event-stream"),
        ("text/event-stream, */*", "text/event-stream"),
        ("application/json;q=0.5, text/event-stream", "text/event-stream"),
        ("TEXT/Event-Stream; q=0.1", "text/event-stream"),
        ("application/x-ndjson", "application/x-ndjson"),
        ("application/x-ndjson, text/event-stream;q=0.9", "application/x-ndjson"),
        ("text/event-stream, application/x-ndjson;q=0.9", "text/event-stream"),
        ("application/*", "application/json"),
        ("text/*", "text/event-stream"),
        ("*/*", "application/json"),
        ("text/html", "application/json"),
        ("nonsense", "application/json"),
        ("text/event-stream;q=0, application/json", "application/json"),
        ("text/event-stream;q=0.5, application/json", "application/json"),
        ("application/json, text/event-stream;q=0.9", "application/json"),
    ] {
        let body = json!({"command": "true"});
        let call = client.post("/projects/demo/shell", &body).header("accept", accept);
        assert_eq!(call.send().await.header("content-type"), form, "{accept}");
    }
    let id = client.shell("echo x").await.id;
    client.ended(&id).await;
    for (accept, form) in [
        ("application/x-ndjson", "application/x-ndjson"),
        ("application/x-ndjson;q=0, */*", "text/plain; charset=utf-8"),
        ("application/x-ndjson;q=0.5, text/plain", "text/plain; charset=utf-8"),
        ("*/*", "text/plain; charset=utf-8"),
    ] {
        let call = client.get(&format!("/projects/demo/commands/{id}/output")).header("accept", accept);
        assert_eq!(call.send().await.header("content-type"), form, "{accept}");
    }
    let path = format!("/projects/demo/events/{id}");
    for (accept, form) in [
        ("application/x-ndjson", "application/x-ndjson"),
        ("application/x-ndjson, */*;q=0.1", "application/x-ndjson"),
        ("application/*", "application/x-ndjson"),
        ("text/event-stream;q=0.5, APPLICATION/x-ndjson;q=0.6", "application/x-ndjson"),
        ("application/x-ndjson;q=0.5, text/event-stream", "text/event-stream"),
        ("application/x-ndjson;q=0, application/*", "text/event-stream"),
        ("*/*", "text/event-stream"),
        ("application/json", "text/event-stream"),
        ("nonsense", "text/event-stream"),
    ] {
        let answer = client.get(&path).header("accept", accept).send().await;
        assert_eq!((answer.status.as_u16(), answer.header("content-type")), (200, form), "{accept}");
    }
}
