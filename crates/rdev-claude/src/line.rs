//! Fields of a line, each read leniently: one of an unknown type is as good as missing.

use std::collections::BTreeMap;

use rdev_domain::Json;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

/// JSON as it stands in the line.
pub(crate) type Raw<'a> = &'a RawValue;

/// Fields of every kind of line that matter; every other one is passed over.
#[derive(Debug, Deserialize)]
pub(crate) struct Line<'a> {
    #[serde(borrow, rename = "type")]
    pub(crate) kind: Option<Raw<'a>>,
    #[serde(borrow)]
    pub(crate) subtype: Option<Raw<'a>>,
    #[serde(borrow)]
    pub(crate) session_id: Option<Raw<'a>>,
    #[serde(borrow)]
    pub(crate) message: Option<Raw<'a>>,
    #[serde(borrow)]
    pub(crate) error: Option<Raw<'a>>,
    #[serde(borrow)]
    pub(crate) is_error: Option<Raw<'a>>,
    #[serde(borrow)]
    pub(crate) result: Option<Raw<'a>>,
    #[serde(borrow)]
    pub(crate) errors: Option<Raw<'a>>,
    #[serde(borrow)]
    pub(crate) api_error_status: Option<Raw<'a>>,
    #[serde(borrow)]
    pub(crate) usage: Option<Raw<'a>>,
    #[serde(borrow)]
    pub(crate) total_cost_usd: Option<Raw<'a>>,
    #[serde(borrow)]
    pub(crate) request: Option<Raw<'a>>,
}

/// A message of the agent or of a tool.
#[derive(Debug, Deserialize)]
pub(crate) struct Message<'a> {
    #[serde(borrow)]
    pub(crate) content: Option<Raw<'a>>,
}

/// Block of a message.
#[derive(Debug, Deserialize)]
pub(crate) struct Block<'a> {
    #[serde(borrow, rename = "type")]
    pub(crate) kind: Option<Raw<'a>>,
    #[serde(borrow)]
    pub(crate) text: Option<Raw<'a>>,
    #[serde(borrow)]
    pub(crate) thinking: Option<Raw<'a>>,
    #[serde(borrow)]
    pub(crate) id: Option<Raw<'a>>,
    #[serde(borrow)]
    pub(crate) name: Option<Raw<'a>>,
    #[serde(borrow)]
    pub(crate) input: Option<Raw<'a>>,
    #[serde(borrow)]
    pub(crate) tool_use_id: Option<Raw<'a>>,
    #[serde(borrow)]
    pub(crate) content: Option<Raw<'a>>,
    #[serde(borrow)]
    pub(crate) is_error: Option<Raw<'a>>,
}

/// Question of the agent to whoever started it.
#[derive(Debug, Deserialize)]
pub(crate) struct Request<'a> {
    #[serde(borrow)]
    pub(crate) subtype: Option<Raw<'a>>,
    #[serde(borrow)]
    pub(crate) tool_name: Option<Raw<'a>>,
    #[serde(borrow)]
    pub(crate) tool_use_id: Option<Raw<'a>>,
    #[serde(borrow)]
    pub(crate) input: Option<Raw<'a>>,
}

impl<'a> Line<'a> {
    /// Reads a line that is an object of JSON.
    pub(crate) fn read(line: &'a str) -> Option<Self> {
        object(line)
    }

    /// Name of the line's type.
    pub(crate) fn kind(&self) -> Option<String> {
        text(self.kind)
    }
}

/// Reads an object; `None` for anything else. A list would do for a struct of serde, so it is refused here.
pub(crate) fn object<'a, T: Deserialize<'a>>(json: &'a str) -> Option<T> {
    if !json.trim_start().starts_with('{') {
        return None;
    }
    serde_json::from_str(json).ok()
}

/// Reads a string.
pub(crate) fn text(field: Option<Raw<'_>>) -> Option<String> {
    let raw = field.filter(|raw| raw.get().starts_with('"'))?;
    // Half a surrogate pair is no text for serde_json; JavaScript writes it all the same.
    serde_json::from_str(raw.get()).or_else(|_| serde_json::from_str(Json::new(raw).as_str())).ok()
}

/// Reads a value of that type.
pub(crate) fn value<T: DeserializeOwned>(field: Option<Raw<'_>>) -> Option<T> {
    serde_json::from_str(field?.get()).ok()
}

/// Reads a list, each of its elements as it stands there.
pub(crate) fn list(field: Option<Raw<'_>>) -> Option<Vec<Raw<'_>>> {
    serde_json::from_str(field?.get()).ok()
}

/// Reads the whole numbers of an object by their names; other values are passed over.
pub(crate) fn numbers(field: Option<Raw<'_>>) -> Option<BTreeMap<String, u64>> {
    let fields: BTreeMap<String, Raw<'_>> = object(field?.get())?;
    Some(fields.into_iter().filter_map(|(name, raw)| Some((name, value(Some(raw))?))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_unknown_types_are_as_good_as_missing() {
        let line =
            Line::read(r#"{"type":"result","subtype":7,"session_id":null,"is_error":"no","new":[{}]}"#);
        let line = line.unwrap();
        assert_eq!(line.kind().as_deref(), Some("result"));
        assert_eq!((text(line.subtype), text(line.session_id)), (None, None));
        assert_eq!(value::<bool>(line.is_error), None);
        assert!(Line::read(r#"["result","success"]"#).is_none());
        assert!(Line::read("null").is_none());
    }

    #[test]
    fn half_a_surrogate_pair_is_text() {
        let line = Line::read(r#"{"type":"result","result":"a\ud83d b\n"}"#).unwrap();
        assert_eq!(text(line.result).as_deref(), Some("a\u{fffd} b\n"));
    }

    #[test]
    fn only_whole_numbers_are_read() {
        let line = Line::read(r#"{"usage":{"a":1,"b":-1,"c":1.5,"d":{"e":2},"f":18446744073709551615}}"#);
        let numbers = numbers(line.unwrap().usage).unwrap();
        assert_eq!(numbers, BTreeMap::from([("a".to_owned(), 1), ("f".to_owned(), u64::MAX)]));
    }
}
