//! The form of the answer to a submission: acceptance, or events.

use axum::extract::{FromRef, FromRequestParts};
use axum::http::request::Parts;

use crate::error::ApiError;
use crate::extract::prefers_events;
use crate::sse::{Opening, Streams};
use crate::tickets::Tickets;

/// Form of the answer to a submission, as its caller prefers.
pub(crate) enum ReplyAs {
    /// The accepted command or task, at once.
    Accepted,
    /// Its events, as `Accept: text/event-stream` asks.
    Events(Opening),
}

impl<S: Send + Sync> FromRequestParts<S> for ReplyAs
where
    Streams: FromRef<S>,
    Tickets: FromRef<S>,
{
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        if !prefers_events(&parts.headers) {
            return Ok(Self::Accepted);
        }
        Opening::from_request_parts(parts, state).await.map(Self::Events)
    }
}
