//! Event streams, opened as responses.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{FromRef, FromRequestParts};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use rdev_domain::Seq;
use rdev_engine::{LogReader, ProjectLogReader, Subscription};
use rdev_ports::Clock;
use tokio_util::sync::CancellationToken;

use super::agent::{AgentForm, Agents};
use super::cache::RenderCache;
use super::event_id::ProjectEventId;
use super::quota::{StreamPermit, StreamQuota};
use super::subscriber::{Subscriber, SubscriberContext};
use crate::error::ApiError;
use crate::extract::Caller;
use crate::server::Handoff;

/// Opens event streams.
#[derive(Clone)]
pub(crate) struct Streams {
    context: Arc<SubscriberContext>,
    quota: Arc<StreamQuota>,
}

/// Permit of an event stream within its key's quota, and its connection: taken before anything else is done for the
/// stream.
pub(crate) struct Opening {
    permit: StreamPermit,
    /// The connection, where it can be written to without hyper.
    handoff: Option<Handoff>,
}

impl<S: Send + Sync> FromRequestParts<S> for Opening
where
    Streams: FromRef<S>,
{
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let Caller(caller) = Caller::from_request_parts(parts, state).await?;
        let permit = Streams::from_ref(state).quota.acquire(caller.key)?;
        Ok(Self { permit, handoff: parts.extensions.get::<Handoff>().cloned() })
    }
}

impl Streams {
    /// Opens streams with these heartbeats, at most `per_key` of one key at the same time. On `drain` each tells its
    /// reader to reconnect, and ends.
    pub(crate) fn new(
        heartbeat: Duration,
        per_key: usize,
        drain: CancellationToken,
        clock: Arc<dyn Clock>,
        agents: Agents,
    ) -> Self {
        let context = SubscriberContext { heartbeat, drain, clock, agents, cache: RenderCache::default() };
        Self { context: Arc::new(context), quota: StreamQuota::new(per_key) }
    }

    /// Responds with the events of a job after `after`; ends with the job's last event.
    pub(crate) fn command(
        &self,
        opening: Opening,
        reader: LogReader,
        after: Option<Seq>,
        form: AgentForm,
    ) -> Response {
        let (Opening { permit, handoff }, after) = (opening, after.unwrap_or(Seq::ZERO));
        let subscriber = Subscriber::command(self.context.clone(), permit, reader, after, form);
        response(subscriber.events().boxed(), handoff)
    }

    /// Responds with the rest of a subscription; 204 when the reader has all of a stream that has ended.
    pub(crate) fn subscription(
        &self,
        opening: Opening,
        subscription: Subscription,
        after: Option<Seq>,
        form: AgentForm,
    ) -> Response {
        match subscription {
            Subscription::Complete => StatusCode::NO_CONTENT.into_response(),
            Subscription::Open(reader) => self.command(opening, reader, after, form),
        }
    }

    /// Responds with the events of a project after `asked`, or from the log's start; ends when the server stops.
    pub(crate) fn project(
        &self,
        opening: Opening,
        log: ProjectLogReader,
        asked: Option<ProjectEventId>,
        form: AgentForm,
    ) -> Response {
        let Opening { permit, handoff } = opening;
        let ProjectLogReader { reader, begun, unknown } = log;
        let (after, unknown) = match asked {
            Some(asked) if unknown => (ProjectEventId::after(begun), Some(asked)),
            Some(asked) => (asked, None),
            None => (ProjectEventId::after(begun), None),
        };
        let subscriber = Subscriber::project(self.context.clone(), permit, reader, (after, unknown), form);
        response(subscriber.events().boxed(), handoff)
    }
}

fn response(events: BoxStream<'static, Bytes>, handoff: Option<Handoff>) -> Response {
    let headers = [
        (header::CONTENT_TYPE, "text/event-stream"),
        (header::CACHE_CONTROL, "no-store"),
        // nginx and similar proxies would hold events back until a buffer is full.
        (header::HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    match handoff {
        // No other request can follow on a connection that is handed off.
        Some(handoff) => ([(header::CONNECTION, "close")], headers, handoff.body(events)).into_response(),
        None => (headers, Body::from_stream(events.map(Ok::<_, Infallible>))).into_response(),
    }
}
