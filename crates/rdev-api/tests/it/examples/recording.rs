//! Recordings: exchanges with a server by the operation of the document, with fixed values in place of those that change.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use rdev_client::types::ErrorBody;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::support::Answer;

/// Each time.
const MOMENT: &str = "2026-01-24T20:00:00.000000Z";
/// Each id, after its prefix.
const ID: &str = "0199d7e8c0de7000a0b1c2d3e4f50617";
/// Each commit.
const COMMIT: &str = "9fceb02d0ae598e95dc970b74767f19372d61af8";
/// Each measured duration, in milliseconds.
const DURATION_MS: u32 = 414;
const TICKET: &str = "1769288400000000.YWRtaW4.6kQm2Xc0hV9sT4yB7nLwRw3dJpZ8uE1fKaG5oCiNxMt";
const REPOSITORY: &str = "https://github.com/example/demo.git";
const DATA_DIR: &str = "/var/lib/rdev";
/// Words before the seconds that a caller is to wait.
const AGAIN: &str = "try again in ";
const OTHER_HOST: &str = "10.43.0.1:443";

/// Recorded examples, as the document embeds them.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Examples {
    pub(super) failures: BTreeMap<String, Example>,
    pub(super) operations: BTreeMap<String, Exchanges>,
}

#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Exchanges {
    pub(super) request: Option<Example>,
    pub(super) answers: BTreeMap<String, Example>,
    pub(super) failures: BTreeMap<String, BTreeSet<String>>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Example {
    pub(super) value: Value,
}

impl Examples {
    fn file() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("src/openapi/examples.json")
    }

    pub(super) fn kept() -> Self {
        serde_json::from_slice(&std::fs::read(Self::file()).unwrap()).unwrap()
    }

    pub(super) fn keep(&self) {
        std::fs::write(Self::file(), serde_json::to_string_pretty(self).unwrap() + "\n").unwrap();
    }

    /// Records an exchange. The first one of an operation and a status is its example.
    pub(super) fn record(&mut self, id: &str, request: Option<&Value>, answer: &Answer) {
        let status = answer.status.as_str().to_owned();
        let exchanges = self.operations.entry(id.to_owned()).or_default();
        if let (true, Some(request)) = (answer.status.is_success(), request) {
            exchanges.request.get_or_insert_with(|| Example { value: plain("", request.clone()) });
        }
        if answer.headers.get("content-type").is_none_or(|kind| kind != "application/json") {
            return;
        }
        let example = || Example { value: plain("", serde_json::from_slice(&answer.body).unwrap()) };
        let is_failure =
            !answer.status.is_success() && serde_json::from_slice::<ErrorBody>(&answer.body).is_ok();
        if is_failure {
            let name = name_of(&answer.json(answer.status.as_u16()));
            self.failures.entry(name.clone()).or_insert_with(example);
            exchanges.failures.entry(status).or_default().insert(name);
        } else {
            exchanges.answers.entry(status).or_insert_with(example);
        }
    }
}

/// Name of a failure: its code, and the field where the code tells little.
fn name_of(failure: &ErrorBody) -> String {
    let code = &failure.error.code;
    match (code.as_str(), failure.fields().first()) {
        ("VALIDATION_FAILED", Some(field)) => {
            let field: String =
                field.chars().filter(|c| c.is_ascii_alphanumeric() || "_-".contains(*c)).collect();
            format!("{code}.{field}")
        }
        _ => code.clone(),
    }
}

/// Replaces everything that is another one in the next recording. `field` is the name of the field that holds the value.
fn plain(field: &str, value: Value) -> Value {
    match value {
        Value::Object(fields) if field == "wait_ms" => {
            let fixed = |(name, value): (String, Value)| {
                let value = if name == "tasks" { value } else { json!(DURATION_MS) };
                (name, value)
            };
            fields.into_iter().map(fixed).collect()
        }
        Value::Object(fields) => {
            fields.into_iter().map(|(name, value)| (name.clone(), plain(&name, value))).collect()
        }
        Value::Array(values) => values.into_iter().map(|value| plain(field, value)).collect(),
        Value::Number(_) if field.ends_with("_ms") && field != "timeout_ms" => json!(DURATION_MS),
        Value::String(_) if field == "ticket" => json!(TICKET),
        Value::String(_) if field == "repository" => json!(REPOSITORY),
        Value::String(_) if field == "commit" => json!(COMMIT[..12]),
        Value::String(_) if field == "version" => json!("1.0.0"),
        Value::String(text) if text.parse::<Timestamp>().is_ok() => json!(MOMENT),
        Value::String(text) => json!(plain_text(&text)),
        other => other,
    }
}

fn plain_text(text: &str) -> String {
    let mut plain = String::new();
    // What can be a part of an id, and what is between.
    for word in text.split_inclusive(|c: char| !c.is_ascii_hexdigit()) {
        let (hex, end) = match word.char_indices().next_back() {
            Some((at, last)) if !last.is_ascii_hexdigit() => word.split_at(at),
            _ => (word, ""),
        };
        plain += match hex.len() {
            32 => ID,
            40 => COMMIT,
            _ => hex,
        };
        plain += end;
    }
    let plain = with_places(&plain);
    match plain.split_once(AGAIN) {
        Some((before, after)) => {
            format!("{before}{AGAIN}6{}", after.trim_start_matches(|c: char| c.is_ascii_digit()))
        }
        None => plain,
    }
}

/// Replaces folders and addresses of this machine.
fn with_places(text: &str) -> String {
    let words = text.split(' ').map(|word| {
        let data_dir = word.find("/data/").filter(|_| word.contains("/rdev-it-"));
        let begin = word.find('/').filter(|_| data_dir.is_some());
        if let (Some(begin), Some(end)) = (begin, data_dir) {
            return format!("{}{DATA_DIR}{}", &word[..begin], &word[end + "/data".len()..]);
        }
        match word.split_once("127.0.0.1:") {
            Some((before, after)) => {
                let rest = after.trim_start_matches(|c: char| c.is_ascii_digit());
                format!("{before}{OTHER_HOST}{rest}")
            }
            None => word.to_owned(),
        }
    });
    words.collect::<Vec<_>>().join(" ")
}

#[test]
fn what_changes_is_replaced_and_nothing_else() {
    let id = "0199d7e8c0de7000a0b1c2d3e4f5ffff";
    let of = |value: Value| plain("", value);
    assert_eq!(of(json!({"id": format!("cmd-{id}"), "n": 5})), json!({"id": format!("cmd-{ID}"), "n": 5}));
    let url = format!("/queue/tasks/task-{id}/events?stream_id=task-{id}");
    assert_eq!(of(json!([url])), json!([format!("/queue/tasks/task-{ID}/events?stream_id=task-{ID}")]));
    assert_eq!(
        of(json!({"at": "2026-07-01T00:00:00.5Z", "on": "2026"})),
        json!({"at": MOMENT, "on": "2026"})
    );
    assert_eq!(
        of(json!({"duration_ms": 5, "timeout_ms": 6})),
        json!({"duration_ms": DURATION_MS, "timeout_ms": 6})
    );
    assert_eq!(
        of(json!({"w": "/tmp/rdev-it-xyz/data/workspaces/demo"})),
        json!({"w": "/var/lib/rdev/workspaces/demo"})
    );
    assert_eq!(of(json!("no: try again in 59 s")), json!("no: try again in 6 s"));
    let sum = "ab".repeat(32);
    assert_eq!(of(json!({"sha256": sum})), json!({"sha256": sum}));
}
