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
use rdev_domain::{Position, Principal, Scope, Seq};
use rdev_engine::{LogReader, Subscription, ViewReader};
use rdev_ports::Clock;
use tokio_util::sync::CancellationToken;

use super::agent::Agents;
use super::cache::RenderCache;
use super::event_id::LogEventId;
use super::negotiation::Framing;
use super::quota::{StreamPermit, StreamQuota};
use super::renewal::Renewal;
use super::shape::Shape;
use super::subscriber::{JobPlace, LogPlace, Seat, Subscriber, SubscriberContext};
use crate::error::ApiError;
use crate::extract::Caller;
use crate::keys::Keys;
use crate::request::RequestMeta;
use crate::server::Handoff;
use crate::tickets::{TicketUse, Tickets};

/// Pause between two looks for keys that are no longer accepted.
const KEYS_CHECKED_EVERY: Duration = Duration::from_millis(500);

/// Opens event streams.
#[derive(Clone)]
pub(crate) struct Streams {
    context: Arc<SubscriberContext>,
    quota: Arc<StreamQuota>,
    keys: Keys,
}

/// Permit of an event stream within its key's quota, and its connection: taken before anything else is done for the
/// stream.
pub(crate) struct Opening {
    caller: Principal,
    permit: StreamPermit,
    renewal: Option<Box<Renewal>>,
    /// The connection, where it can be written to without hyper.
    handoff: Option<Handoff>,
}

impl<S: Send + Sync> FromRequestParts<S> for Opening
where
    Streams: FromRef<S>,
    Tickets: FromRef<S>,
{
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let Caller(caller) = Caller::from_request_parts(parts, state).await?;
        let permit = Streams::from_ref(state).quota.acquire(caller.key.clone())?;
        let renewal = parts.extensions.get::<TicketUse>().map(|ticket| {
            Box::new(Renewal::new(Tickets::from_ref(state), ticket.clone(), RequestMeta::current().at))
        });
        Ok(Self { caller, permit, renewal, handoff: parts.extensions.get::<Handoff>().cloned() })
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
        keys: Keys,
    ) -> Self {
        let quota = StreamQuota::new(per_key, drain.clone());
        let context = SubscriberContext { heartbeat, drain, clock, agents, cache: RenderCache::default() };
        Self { context: Arc::new(context), quota, keys }
    }

    /// Ends streams within a second when their key is no longer accepted, until `stop`.
    pub(crate) async fn watch_keys(self, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(KEYS_CHECKED_EVERY) => {}
            }
            self.quota.end_where(|key| self.keys.with_id(key).next().is_none());
        }
    }

    /// Responds with the events of a job from the first one on; ends with the job's last event.
    pub(crate) fn command(&self, opening: Opening, reader: LogReader, shape: Shape) -> Response {
        self.job(opening, reader, JobPlace { after: Seq::ZERO, is_new: false }, shape)
    }

    fn job(&self, opening: Opening, reader: LogReader, place: JobPlace, shape: Shape) -> Response {
        let Opening { permit, renewal, handoff, .. } = opening;
        let seat = Seat { permit, renewal, shape };
        let subscriber = Subscriber::job(self.context.clone(), seat, reader, place);
        response(subscriber.events().boxed(), shape.framing, handoff)
    }

    /// Responds with the rest of a subscription; 204 when the reader has all of a stream that has ended.
    pub(crate) fn subscription(
        &self,
        opening: Opening,
        subscription: Subscription,
        shape: Shape,
    ) -> Response {
        match subscription {
            Subscription::Complete => StatusCode::NO_CONTENT.into_response(),
            Subscription::Open { reader, after, after_is_new } => {
                let place = JobPlace { after: after.unwrap_or(Seq::ZERO), is_new: after_is_new };
                self.job(opening, reader, place, shape)
            }
        }
    }

    /// Responds with the events of a log of several jobs after `asked`, or where the reader begins; ends when the server stops.
    /// Tasks are left out where the caller may read none.
    pub(crate) fn log(
        &self,
        opening: Opening,
        view: ViewReader,
        asked: Option<LogEventId>,
        shape: Shape,
    ) -> Response {
        let hides_tasks = !opening.caller.has(Scope::QueueRead);
        let Opening { permit, renewal, handoff, .. } = opening;
        let ViewReader { reader, begun, unknown } = view;
        let is_new = asked.is_none() && begun.is_some();
        let begun = LogEventId::after(begun.unwrap_or(Position::ZERO));
        let (after, unknown) = match asked {
            Some(asked) if unknown => (begun, Some(asked)),
            Some(asked) => (asked, None),
            None => (begun, None),
        };
        let seat = Seat { permit, renewal, shape };
        let place = LogPlace { after, is_new, unknown, hides_tasks };
        let subscriber = Subscriber::log(self.context.clone(), seat, reader, place);
        response(subscriber.events().boxed(), shape.framing, handoff)
    }
}

fn response(events: BoxStream<'static, Bytes>, framing: Framing, handoff: Option<Handoff>) -> Response {
    let headers = [
        (header::CONTENT_TYPE, framing.content_type()),
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
