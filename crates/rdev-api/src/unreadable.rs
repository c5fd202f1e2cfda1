//! Bodies and queries that cannot be read: what is wrong with them, in plain words and by field.

use rdev_domain::shown;
use serde::de::DeserializeOwned;
use serde_json::error::Category;
use serde_path_to_error::{Path, Segment};

use crate::error::{ApiError, quoted};

/// Reads a JSON body.
///
/// # Errors
/// 400 `INVALID_BODY`; `details` names the field, if one is wrong.
pub(crate) fn read_body<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ApiError> {
    match bytes.trim_ascii_start().first() {
        None => return Err(ApiError::invalid_body("the body is empty: send a JSON object")),
        // Serde accepts an array in place of an object, with its items as the fields in their order.
        Some(b'[') => return Err(ApiError::invalid_body("the body must be a JSON object, not an array")),
        Some(_) => {}
    }
    let reader = &mut serde_json::Deserializer::from_slice(bytes);
    let body: T = serde_path_to_error::deserialize(&mut *reader)
        .map_err(|error| body_error(error.path(), error.inner()))?;
    let rest = |error: serde_json::Error| {
        let (line, column) = (error.line(), error.column());
        ApiError::invalid_body(format!(
            "the body goes on after its JSON object, at line {line} column {column}"
        ))
    };
    reader.end().map_err(rest)?;
    Ok(body)
}

/// Reads a query string. The guard of the route has refused unknown names before.
///
/// # Errors
/// 400 `INVALID_QUERY`; `details` names the parameter.
pub(crate) fn read_query<T: DeserializeOwned>(query: &str) -> Result<T, ApiError> {
    let pairs = form_urlencoded::parse(query.as_bytes());
    serde_path_to_error::deserialize(serde_urlencoded::Deserializer::new(pairs)).map_err(|error| {
        let fault = Fault::of(error.path(), &error.inner().to_string());
        let Some(name) = fault.field else { return ApiError::invalid_query(fault.message) };
        let value = pairs.into_iter().find(|(of, _)| *of == name).map(|(_, value)| value);
        let message = match value {
            Some(value) if is_about_a_number(&fault.message) => {
                format!("{} is not valid: accepted is a whole number", quoted(&value))
            }
            _ => fault.message,
        };
        ApiError::invalid_query(format!("{name}: {message}")).with_detail(name, message)
    })
}

/// Tells whether a message is that of the standard library about a text that is no number.
fn is_about_a_number(message: &str) -> bool {
    ["invalid digit", "number too", "cannot parse integer"].iter().any(|begin| message.starts_with(begin))
}

fn body_error(path: &Path, error: &serde_json::Error) -> ApiError {
    let place = format!(" at line {} column {}", error.line(), error.column());
    let text = error.to_string();
    let text = text.strip_suffix(&place).unwrap_or(&text);
    match error.classify() {
        Category::Data => {}
        Category::Eof => {
            return ApiError::invalid_body(format!("the body ends in the middle of its JSON,{place}"));
        }
        Category::Syntax | Category::Io => {
            return ApiError::invalid_body(format!("the body is not valid JSON: {text}{place}"));
        }
    }
    let Fault { field, message } = Fault::of(path, text);
    match field {
        Some(field) => ApiError::invalid_body(format!("{field}: {message}")).with_detail(field, message),
        None => ApiError::invalid_body(format!("the body is not valid: {message}")),
    }
}

/// Fault in one field, or in the whole.
struct Fault {
    field: Option<String>,
    message: String,
}

impl Fault {
    /// Reads serde's message. Only its text tells what was found and what was expected.
    fn of(path: &Path, text: &str) -> Self {
        let whole = (path.iter().len() > 0).then(|| path.to_string());
        for (begin, message) in [
            ("missing field `", "it is missing"),
            ("duplicate field `", "it is given twice"),
            ("unknown field `", "there is no such field"),
        ] {
            let Some((name, rest)) = text.strip_prefix(begin).and_then(|rest| rest.split_once('`')) else {
                continue;
            };
            let accepted: Vec<&str> = rest.split('`').skip(1).step_by(2).collect();
            let accepted = if accepted.is_empty() {
                String::new()
            } else {
                format!("; accepted: {}", accepted.join(", "))
            };
            return Self { field: Some(within(path, name)), message: format!("{message}{accepted}") };
        }
        let found = text.strip_prefix("invalid type: ").or_else(|| text.strip_prefix("invalid value: "));
        let message = match found.and_then(|found| found.rsplit_once(", expected ")) {
            Some((found, expected)) => {
                format!("{} was sent, accepted is {}", sent(found), accepted(expected))
            }
            None => text.to_owned(),
        };
        Self { field: whole, message }
    }
}

/// Returns the path of a field that serde names: the path may end with it, or with the object that holds it.
fn within(path: &Path, name: &str) -> String {
    let ends_with_it = matches!(path.iter().next_back(), Some(Segment::Map { key }) if key == name);
    match path.iter().len() {
        0 => shown(name).to_owned(),
        _ if ends_with_it => path.to_string(),
        _ => format!("{path}.{}", shown(name)),
    }
}

/// Names a value in words of JSON.
fn sent(found: &str) -> String {
    let number = found.strip_prefix("integer `").or_else(|| found.strip_prefix("floating point `"));
    if let Some(number) = number {
        return format!("the number {}", number.trim_end_matches('`'));
    }
    if let Some(text) = found.strip_prefix("string \"") {
        // Serde has quoted and escaped it.
        return format!("the string \"{}\"", shown(text.strip_suffix('"').unwrap_or(text)));
    }
    match found {
        "sequence" => "an array".to_owned(),
        "map" => "an object".to_owned(),
        "unit value" => "null".to_owned(),
        other => other.trim_start_matches("boolean ").replace('`', ""),
    }
}

/// Names what is accepted in words of JSON.
fn accepted(expected: &str) -> &str {
    match expected {
        "a sequence" => "an array",
        "a map" => "an object",
        "a boolean" => "true or false",
        "u8" | "u16" | "u32" | "u64" | "usize" | "i32" | "i64" => "a whole number",
        other if other.starts_with("struct ") => "an object",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use axum::response::IntoResponse;
    use http_body_util::BodyExt;
    use rdev_api_types::{CommandPage, Details, ErrorBody, GitBody, ShellBody, TaskBody};

    use super::*;

    async fn told<T: DeserializeOwned>(read: Result<T, ApiError>) -> (String, Option<(String, String)>) {
        let answer = read.err().unwrap().into_response().into_body().collect().await.unwrap().to_bytes();
        let error = serde_json::from_slice::<ErrorBody>(&answer).unwrap().error;
        let detail = match error.details {
            Some(Details::Fields(fields)) => fields.into_iter().next(),
            other => {
                assert_eq!(other, None);
                None
            }
        };
        (error.message, detail.map(|detail| (detail.field, detail.message)))
    }

    #[tokio::test]
    async fn a_body_without_a_field_to_blame_is_told_as_a_whole() {
        for (body, message) in [
            ("", "the body is empty: send a JSON object"),
            (" \n", "the body is empty: send a JSON object"),
            ("[]", "the body must be a JSON object, not an array"),
            ("{\"command\":", "the body ends in the middle of its JSON, at line 1 column 11"),
            ("{1:2}", "the body is not valid JSON: key must be a string at line 1 column 2"),
            ("{\"command\":\"true\"} x", "the body goes on after its JSON object, at line 1 column 20"),
            ("\"x\"", "the body is not valid: the string \"x\" was sent, accepted is an object"),
            ("null", "the body is not valid: null was sent, accepted is an object"),
        ] {
            assert_eq!(
                told(read_body::<ShellBody>(body.as_bytes())).await,
                (message.to_owned(), None),
                "{body}"
            );
        }
    }

    #[tokio::test]
    async fn a_field_is_named_with_what_was_sent_and_what_is_accepted() {
        for (body, field, message) in [
            ("{}", "command", "it is missing"),
            (r#"{"command":[]}"#, "command", "an array was sent, accepted is a string"),
            (r#"{"command":1}"#, "command", "the number 1 was sent, accepted is a string"),
            (r#"{"command":null}"#, "command", "null was sent, accepted is a string"),
            (r#"{"command":true}"#, "command", "true was sent, accepted is a string"),
            (r#"{"command":"x","command":"y"}"#, "command", "it is given twice"),
            (
                r#"{"command":"x","comand":"y"}"#,
                "comand",
                "there is no such field; accepted: command, stream_id, timeout_seconds, env",
            ),
            (
                r#"{"command":"x","timeout_seconds":"60"}"#,
                "timeout_seconds",
                "the string \"60\" was sent, accepted is a whole number",
            ),
            (r#"{"command":"x","env":{"A":1.5}}"#, "env.A", "the number 1.5 was sent, accepted is a string"),
            (r#"{"command":"x","env":[]}"#, "env", "an array was sent, accepted is an object"),
        ] {
            let expected = (format!("{field}: {message}"), Some((field.to_owned(), message.to_owned())));
            assert_eq!(told(read_body::<ShellBody>(body.as_bytes())).await, expected, "{body}");
        }
        let (_, detail) = told(read_body::<GitBody>(br#"{"args":"status"}"#)).await;
        assert_eq!(detail.unwrap().1, "the string \"status\" was sent, accepted is an array");
        let (_, detail) = told(read_body::<GitBody>(br#"{"args":["log",5]}"#)).await;
        assert_eq!(
            detail.unwrap(),
            ("args[1]".to_owned(), "the number 5 was sent, accepted is a string".to_owned())
        );
        let (_, detail) =
            told(read_body::<TaskBody>(br#"{"type":"shell","steps":["a"],"priority":1.5}"#)).await;
        assert_eq!(detail.unwrap().0, "priority");
    }

    #[tokio::test]
    async fn a_parameter_is_named_with_its_value() {
        for (query, message) in [
            ("limit=abc", "\"abc\" is not valid: accepted is a whole number"),
            ("limit=-1", "\"-1\" is not valid: accepted is a whole number"),
            ("limit=", "\"\" is not valid: accepted is a whole number"),
            ("limit=99999999999", "\"99999999999\" is not valid: accepted is a whole number"),
            ("limit=1&limit=2", "it is given twice"),
        ] {
            let expected = (format!("limit: {message}"), Some(("limit".to_owned(), message.to_owned())));
            assert_eq!(told(read_query::<CommandPage>(query)).await, expected, "{query}");
        }
    }
}
