//! Examples of requests, answers and failures in the document: recorded of a server, kept in `src/openapi/examples.json`.

mod recorder;
mod recording;
mod story;

use std::collections::BTreeSet;
use std::fs;

use rdev_client::types::ErrorCode;
use serde_json::Value;

use self::recorder::Document;
use self::recording::Examples;
use crate::support::{Server, variable};

/// Variable with which the recorded examples are kept.
const RENEW: &str = "RDEV_TEST_RENEW_EXAMPLES";

/// Statuses whose failure is recorded of one operation, for all that document it.
const OF_ALL: [(&str, &str); 6] = [
    ("403", "SCOPE_REQUIRED"),
    ("408", "BODY_TIMEOUT"),
    ("413", "BODY_TOO_LARGE"),
    ("415", "UNSUPPORTED_MEDIA_TYPE"),
    ("500", "INTERNAL"),
    ("503", "UNAVAILABLE"),
];

/// Codes of failures that no operation gives.
const OF_NO_OPERATION: [ErrorCode; 9] = [
    // Before the path of a request is known, or where there is none.
    ErrorCode::InvalidRequest,
    ErrorCode::UriTooLong,
    ErrorCode::HeadTooLarge,
    ErrorCode::HttpVersionNotSupported,
    ErrorCode::HeadTimeout,
    ErrorCode::RouteNotFound,
    ErrorCode::MethodNotAllowed,
    // Of steps of operations, and of transitions, which the services answer themselves.
    ErrorCode::NameTaken,
    ErrorCode::CommandEnded,
];

#[tokio::test]
async fn each_operation_of_the_document_has_its_recorded_examples() {
    let recorded = story::tell().await;
    let server = Server::start().await;
    assert_eq!(missing(&Document::of(&server.client()).await, &recorded), Vec::<String>::new());
    let codes: BTreeSet<&str> =
        recorded.failures.keys().map(|name| name.split('.').next().unwrap()).collect();
    for code in ErrorCode::ALL {
        let is_recorded = codes.contains(code.as_str());
        assert_ne!(is_recorded, OF_NO_OPERATION.contains(code), "{code} is recorded: {is_recorded}");
    }
    if variable(RENEW).is_some() {
        recorded.keep();
    }
    let (recorded, kept) =
        (serde_json::to_value(recorded).unwrap(), serde_json::to_value(Examples::kept()).unwrap());
    let mut differences = Vec::new();
    compare("", &kept, &recorded, &mut differences);
    assert!(
        differences.is_empty(),
        "the server answers in another way than src/openapi/examples.json says; this renews it:\n\
         {RENEW}=1 ./scripts/test.sh -p rdev-api --test it -- examples && cargo xtask openapi\n{}",
        differences.join("\n")
    );
}

/// Parts of the document that the recording lacks.
fn missing(document: &Document, recorded: &Examples) -> Vec<String> {
    let mut missing = Vec::new();
    for route in document.routes() {
        let operation = route.operation;
        let exchanges = recorded.operations.get(&operation.id);
        if operation.request_body.is_some() && exchanges.is_none_or(|exchanges| exchanges.request.is_none()) {
            missing.push(format!("{}: a request", operation.id));
        }
        for (status, response) in &operation.responses {
            let Some(schema) = response.content.get("application/json").and_then(|json| json.schema.as_ref())
            else {
                continue;
            };
            let is_failure = schema["$ref"] == "#/components/schemas/ErrorBody";
            let is_there = exchanges.is_some_and(|exchanges| match is_failure {
                true => exchanges.failures.contains_key(status),
                false => exchanges.answers.contains_key(status),
            });
            let of_all = OF_ALL.iter().find(|(of, _)| of == status);
            let is_of_all =
                is_failure && of_all.is_some_and(|(_, name)| recorded.failures.contains_key(*name));
            if !is_there && !is_of_all {
                missing.push(format!("{}: {status}", operation.id));
            }
        }
    }
    missing
}

/// Tells where two values differ.
fn compare(place: &str, kept: &Value, recorded: &Value, differences: &mut Vec<String>) {
    let (Value::Object(kept), Value::Object(recorded)) = (kept, recorded) else {
        if kept != recorded {
            differences.push(format!("{place}: {kept} was kept, {recorded} was recorded"));
        }
        return;
    };
    let names: BTreeSet<&String> = kept.keys().chain(recorded.keys()).collect();
    for name in names {
        let [kept, recorded] = [kept, recorded].map(|of| of.get(name).unwrap_or(&Value::Null));
        compare(&format!("{place}/{name}"), kept, recorded, differences);
    }
}

#[derive(Debug, serde::Deserialize)]
struct Checked {
    requests: u32,
    answers: u32,
    failures: u32,
    events: u32,
}

#[tokio::test]
async fn each_example_fits_its_schema() {
    let server = Server::start().await;
    let folder = tempfile::tempdir().unwrap();
    let document = server.client().get("/openapi.json").send().await.text();
    let check = async |text: &str| {
        let file = folder.path().join("openapi.json");
        fs::write(&file, text).unwrap();
        crate::sdks::python(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/examples/validate.py"), &file)
            .await
    };
    let (fits, said) = check(&document).await;
    assert!(fits, "{said}");
    let checked: Checked = serde_json::from_str(said.lines().next().unwrap()).unwrap();
    assert!(checked.requests >= 7 && checked.answers >= 25 && checked.events >= 20, "{checked:?}");
    assert!(checked.failures > checked.answers, "{checked:?}");

    // An answer that lacks a field does not fit, and neither does an event under another's name.
    for (good, bad, named) in [
        (r#""workspace":"/"#, r#""workspaces":"/"#, "'workspace' is a required property"),
        (r"event: step\n", r"event: output\n", "is not valid under any of the given schemas"),
    ] {
        assert!(document.contains(good), "{good}");
        let (fits, said) = check(&document.replace(good, bad)).await;
        assert!(!fits && said.contains(named), "{bad}: {said}");
    }
}
