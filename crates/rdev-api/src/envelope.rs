//! Answers in their envelopes.

use axum::Json;
use axum::http::HeaderName;
use rdev_api_types::{Data, IDEMPOTENT_REPLAYED, List, ListMeta, Meta};
use rdev_ports::Occurrence;

use crate::request::RequestMeta;

const REPLAYED: HeaderName = HeaderName::from_static(IDEMPOTENT_REPLAYED);

/// Returns the header that marks a repetition, if this is one.
pub(crate) fn replayed(occurrence: Occurrence) -> Option<[(HeaderName, &'static str); 1]> {
    match occurrence {
        Occurrence::First => None,
        Occurrence::Repeated => Some([(REPLAYED, "true")]),
    }
}

/// Returns the facts about the answer to the present request.
pub(crate) fn meta() -> Meta {
    let request = RequestMeta::current();
    Meta { request_id: request.id.to_string(), timestamp: request.at.to_string().into() }
}

/// Answers with one resource.
pub(crate) fn data<T>(data: T) -> Json<Data<T>> {
    Json(Data { data, meta: meta() })
}

/// Answers with all resources, on one page.
pub(crate) fn whole<T>(data: Vec<T>) -> Json<List<T>> {
    Json(List { data, meta: ListMeta { meta: meta(), next_cursor: None } })
}

/// Answers with a page: `items`, which may hold one more than `limit`, cut to it; `cursor` names the last one for the
/// next page.
pub(crate) fn page<T>(mut items: Vec<T>, limit: u32, cursor: impl Fn(&T) -> String) -> Json<List<T>> {
    let limit = limit as usize;
    let more = items.len() > limit;
    items.truncate(limit);
    let next_cursor = if more { items.last().map(cursor) } else { None };
    Json(List { data: items, meta: ListMeta { meta: meta(), next_cursor } })
}
