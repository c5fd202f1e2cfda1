//! Media types of streams and outputs, as callers prefer them by `Accept`.

use axum::http::HeaderMap;
use mediatype::{MediaType, Name, names};

use crate::extract::{JSON, preferred};

const EVENT_STREAM: MediaType<'static> = MediaType::new(names::TEXT, Name::new_unchecked("event-stream"));
const PLAIN: MediaType<'static> = MediaType::new(names::TEXT, names::PLAIN);
const NDJSON: MediaType<'static> = MediaType::new(names::APPLICATION, Name::new_unchecked("x-ndjson"));

/// Content type of lines of JSON.
pub(super) const NDJSON_TYPE: &str = "application/x-ndjson";

/// Framing of the events of a stream.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Framing {
    /// Server-sent events.
    #[default]
    Sse,
    /// One JSON object a line, with `id`, `event` and `data`.
    Ndjson,
}

impl Framing {
    /// Returns the framing of a stream that the caller prefers; server-sent events without a preference.
    pub(super) fn preferred(headers: &HeaderMap) -> Self {
        preferred(headers, &[EVENT_STREAM, NDJSON]).and_then(Self::of).unwrap_or_default()
    }

    /// Returns the value of `Content-Type`.
    pub(super) fn content_type(self) -> &'static str {
        match self {
            Self::Sse => "text/event-stream",
            Self::Ndjson => NDJSON_TYPE,
        }
    }

    fn of(media_type: &MediaType<'_>) -> Option<Self> {
        [(EVENT_STREAM, Self::Sse), (NDJSON, Self::Ndjson)]
            .into_iter()
            .find_map(|(known, framing)| (known == *media_type).then_some(framing))
    }
}

/// Returns the framing of the stream that the caller prefers to JSON as the answer to a POST; `None` where it does not.
pub(crate) fn reply_framing(headers: &HeaderMap) -> Option<Framing> {
    preferred(headers, &[JSON, EVENT_STREAM, NDJSON]).and_then(Framing::of)
}

/// Tells whether the caller prefers an output as lines of JSON to its bytes.
pub(super) fn prefers_data(headers: &HeaderMap) -> bool {
    preferred(headers, &[PLAIN, NDJSON]) == Some(&NDJSON)
}
