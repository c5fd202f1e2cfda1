//! The form of the answer to a submission: acceptance, or events.

use axum::extract::{FromRef, FromRequestParts};
use axum::http::request::Parts;
use rdev_api_types::{ReplyQuery, SubscriptionQuery};

use crate::error::ApiError;
use crate::extract::{Query, prefers_events};
use crate::sse::{Opening, Shape, Streams};
use crate::tickets::Tickets;

/// Form of the answer to a submission, as its caller prefers.
pub(crate) enum ReplyAs {
    /// The accepted command or task, at once.
    Accepted,
    /// Its events in this shape, as `Accept: text/event-stream` asks.
    Events(Opening, Shape),
}

impl<S: Send + Sync> FromRequestParts<S> for ReplyAs
where
    Streams: FromRef<S>,
    Tickets: FromRef<S>,
{
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let Query(ReplyQuery { stderr }) = Query::from_request_parts(parts, state).await?;
        let shape = Shape::asked(&SubscriptionQuery { stderr, ..SubscriptionQuery::default() }, None)?;
        if !prefers_events(&parts.headers) {
            return Ok(Self::Accepted);
        }
        Ok(Self::Events(Opening::from_request_parts(parts, state).await?, shape))
    }
}
