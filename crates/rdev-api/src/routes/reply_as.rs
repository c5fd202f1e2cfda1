//! The form of the answer to a submission: acceptance, or events.

use axum::extract::{FromRef, FromRequestParts};
use axum::http::request::Parts;
use rdev_api_types::{ReplyQuery, SubscriptionQuery};

use crate::error::ApiError;
use crate::extract::Query;
use crate::sse::{Opening, Shape, Streams, reply_framing};
use crate::tickets::Tickets;

/// Form of the answer to a submission, as its caller prefers.
pub(crate) enum ReplyAs {
    /// The accepted command or task, at once.
    Accepted,
    /// Its events in this shape, as `Accept` asks.
    Events(Opening, Shape),
}

impl<S: Send + Sync> FromRequestParts<S> for ReplyAs
where
    Streams: FromRef<S>,
    Tickets: FromRef<S>,
{
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let Query(ReplyQuery { stderr, batch }) = Query::from_request_parts(parts, state).await?;
        let query = SubscriptionQuery { stderr, batch, ..SubscriptionQuery::default() };
        let shape = Shape::asked(&query, None, &parts.headers)?;
        let Some(framing) = reply_framing(&parts.headers) else {
            return Ok(Self::Accepted);
        };
        let opening = Opening::from_request_parts(parts, state).await?;
        Ok(Self::Events(opening, Shape { framing, ..shape }))
    }
}
