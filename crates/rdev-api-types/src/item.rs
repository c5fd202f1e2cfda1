//! One event as a whole: a line of a stream that is sent as lines of JSON.

use serde::de::Error;
use serde::{Deserialize, Deserializer};

use crate::{Event, EventName, RawJson};

/// Event with its id, as a line of a stream with `Accept: application/x-ndjson` holds it: `{"id", "event", "data"}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamItem {
    /// Id of the event, for `Last-Event-ID`; `None` for events that have none.
    pub id: Option<String>,
    /// The event.
    pub event: Event,
}

#[derive(Deserialize)]
struct Written {
    #[serde(default)]
    id: Option<String>,
    event: EventName,
    data: RawJson,
}

impl<'de> Deserialize<'de> for StreamItem {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Written { id, event, data } = Written::deserialize(deserializer)?;
        let event = Event::read(event, &*data.0).map_err(D::Error::custom)?;
        Ok(Self { id, event })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_an_event_with_its_id() {
        let read = |text: &str| serde_json::from_str::<StreamItem>(text);
        let part = r#"{"seq":3,"stream":"stdout","timestamp":"2026-01-24T20:00:00Z","lines":["a","b"]}"#;
        let item =
            read(&format!(r#"{{"id":"4","event":"lines","data":{{"stream_id":"s","parts":[{part}]}}}}"#))
                .unwrap();
        assert_eq!(item.id.as_deref(), Some("4"));
        assert_eq!(item.event.seq(), Some(4));
        assert_eq!(
            serde_json::to_string(&item.event).unwrap(),
            format!(r#"{{"stream_id":"s","parts":[{part}]}}"#)
        );
        let beat = read(r#"{"event":"heartbeat","data":{"timestamp":"2026-01-24T20:00:00Z"}}"#).unwrap();
        assert_eq!(beat.id, None);
        assert_eq!(read(r#"{"event":"of_later","data":[1]}"#).unwrap().event, Event::Unknown);
        assert!(read(r#"{"id":"4","event":"lines","data":{"stream_id":"s"}}"#).is_err());
    }
}
