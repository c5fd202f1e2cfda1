//! Exactness of what the server writes: its documented fields, values of the closed sets, and times that are times.

use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

/// Holds a text of the server to be what its wire type writes, field by field.
pub(super) fn hold<T: Serialize>(read: &T, text: &str) {
    let written = serde_json::to_string(read).expect("wire types are JSON");
    let value =
        |text: &str| serde_json::from_str::<Value>(text).unwrap_or_else(|error| panic!("{error} in {text}"));
    let told = value(text);
    // The order of fields is nobody's business.
    assert!(written == text || value(&written) == told, "{text} is more than its type knows: {written}");
    hold_times(&told);
}

/// Names of fields that are times, or null.
fn is_time(name: &str) -> bool {
    name.ends_with("_at") || matches!(name, "timestamp" | "run_after" | "since")
}

fn hold_times(value: &Value) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                match value {
                    Value::String(time) if is_time(name) => {
                        time.parse::<Timestamp>()
                            .unwrap_or_else(|error| panic!("{name} is no time: {error}"));
                    }
                    // Whatever an agent has written.
                    _ if matches!(name.as_str(), "input" | "content") => {}
                    value => hold_times(value),
                }
            }
        }
        Value::Array(values) => values.iter().for_each(hold_times),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
