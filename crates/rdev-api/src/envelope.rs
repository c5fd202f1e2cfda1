//! The shapes around every answer.

use axum::Json;
use axum::http::HeaderName;
use axum::response::{IntoResponse, Response};
use rdev_ports::Occurrence;
use serde::Serialize;
use utoipa::ToSchema;

use crate::request::RequestMeta;

/// On the answer to a request that came before under its idempotency key.
const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");

/// The header that tells of a repetition, if this is one.
pub(crate) fn replayed(asked: Occurrence) -> Option<[(HeaderName, &'static str); 1]> {
    match asked {
        Occurrence::First => None,
        Occurrence::Repeated => Some([(REPLAYED, "true")]),
    }
}

/// About the answer.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Meta {
    /// Id of the request, as in `X-Request-Id`.
    #[schema(example = "0199d7e8c0de7000a0b1c2d3e4f50617")]
    request_id: String,
    /// When the request was received.
    #[schema(format = DateTime, example = "2026-01-24T20:00:00.123456Z")]
    timestamp: String,
}

/// About a page of a list.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ListMeta {
    #[serde(flatten)]
    meta: Meta,
    /// Give it as `cursor` to get the next page; null at the end.
    next_cursor: Option<String>,
}

/// One thing.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Data<T> {
    pub(crate) data: T,
    pub(crate) meta: Meta,
}

/// A page of things.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct List<T> {
    data: Vec<T>,
    meta: ListMeta,
}

impl Meta {
    /// For the request that is being answered.
    pub(crate) fn current() -> Self {
        let request = RequestMeta::current();
        Self { request_id: request.id.to_string(), timestamp: request.at.to_string() }
    }
}

impl<T: Serialize> Data<T> {
    pub(crate) fn new(data: T) -> Self {
        Self { data, meta: Meta::current() }
    }
}

impl<T: Serialize> List<T> {
    /// All there is, on one page.
    pub(crate) fn whole(data: Vec<T>) -> Self {
        Self { data, meta: ListMeta { meta: Meta::current(), next_cursor: None } }
    }

    /// Cuts `items`, which may hold one more than `limit`, to the page; the last one's `cursor` leads on.
    pub(crate) fn page(mut items: Vec<T>, limit: usize, cursor: impl Fn(&T) -> String) -> Self {
        let more = items.len() > limit;
        items.truncate(limit);
        let next_cursor = if more { items.last().map(cursor) } else { None };
        Self { data: items, meta: ListMeta { meta: Meta::current(), next_cursor } }
    }
}

impl<T: Serialize> IntoResponse for Data<T> {
    fn into_response(self) -> Response {
        Json(self).into_response()
    }
}

impl<T: Serialize> IntoResponse for List<T> {
    fn into_response(self) -> Response {
        Json(self).into_response()
    }
}
