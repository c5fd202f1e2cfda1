//! The shapes around every answer, and the middleware that gives each request its id.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Request, State};
use axum::http::HeaderValue;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use rdev_domain::Timestamp;
use rdev_ports::Clock;
use serde::Serialize;
use utoipa::ToSchema;

pub(crate) const REQUEST_ID: &str = "x-request-id";
/// Longest request id that is taken over from the caller.
const REQUEST_ID_BYTES_MAX: usize = 128;

tokio::task_local! {
    /// The request that this task answers: answers and errors are made far from where it came in.
    static REQUEST: RequestMeta;
}

#[derive(Clone)]
struct RequestMeta {
    id: Arc<str>,
    at: Timestamp,
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
        REQUEST
            .try_with(|request| Self {
                request_id: request.id.to_string(),
                timestamp: request.at.to_string(),
            })
            .unwrap_or_else(|_| Self { request_id: String::new(), timestamp: String::new() })
    }
}

/// When the current request was received.
pub(crate) fn received_at() -> Timestamp {
    REQUEST.try_with(|request| request.at).unwrap_or(Timestamp::from_micros(0))
}

impl<T: Serialize> Data<T> {
    pub(crate) fn new(data: T) -> Self {
        Self { data, meta: Meta::current() }
    }
}

impl<T: Serialize> List<T> {
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

/// Gives the request its id, the caller's own if it is a sound one, and puts it on the answer.
pub(crate) async fn request_id(
    State(clock): State<Arc<dyn Clock>>,
    request: Request,
    next: Next,
) -> Response {
    let given = request.headers().get(REQUEST_ID).and_then(|id| id.to_str().ok()).filter(|id| {
        !id.is_empty() && id.len() <= REQUEST_ID_BYTES_MAX && id.bytes().all(|byte| byte.is_ascii_graphic())
    });
    let id: Arc<str> = match given {
        Some(id) => id.into(),
        None => uuid::Uuid::now_v7().simple().to_string().into(),
    };
    let meta = RequestMeta { id: id.clone(), at: clock.now() };
    let mut response = REQUEST.scope(meta, next.run(request)).await;
    if let Ok(id) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    response
}
