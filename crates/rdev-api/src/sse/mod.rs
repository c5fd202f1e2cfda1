//! Answers that do not end: server-sent events, rendered once for all their readers.

pub(crate) mod payload;
pub(crate) mod render;
mod subscriber;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream::{BoxStream, unfold};
use futures_util::{Stream, StreamExt};
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use rdev_domain::{Entry, Position, Seq};
use rdev_ports::Clock;
use rdev_services::Follow;
use tokio_util::sync::CancellationToken;

use self::render::Form;
use self::subscriber::Subscriber;
use crate::server::Handoff;

/// Rendered entries kept for other readers of the same stream.
const CACHE_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// Entries that the cache expects; only a hint.
const CACHE_ENTRIES: usize = 256;

/// Makes event streams.
#[derive(Clone)]
pub(crate) struct Streams {
    heartbeat: Duration,
    drain: CancellationToken,
    clock: Arc<dyn Clock>,
    rendered: Arc<Cache<(Position, Form), Bytes, ByBytes>>,
}

#[derive(Clone)]
struct ByBytes;

impl Weighter<(Position, Form), Bytes> for ByBytes {
    fn weight(&self, _: &(Position, Form), bytes: &Bytes) -> u64 {
        bytes.len() as u64 + 64
    }
}

/// Id of an event in a project's stream: opaque to clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ProjectEventId {
    pub(crate) position: Position,
    pub(crate) seq: Seq,
}

impl ProjectEventId {
    /// Where reading begins: the entry itself may have more to tell.
    pub(crate) fn read_after(self) -> Position {
        Position(self.position.0.saturating_sub(1))
    }
}

impl std::str::FromStr for ProjectEventId {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (position, seq) = text.split_once('-').ok_or(())?;
        let parse = |text: &str| text.parse::<u64>().ok().filter(|n| *n <= i64::MAX as u64).ok_or(());
        Ok(Self { position: Position(parse(position)?), seq: Seq(parse(seq)?) })
    }
}

impl Streams {
    pub(crate) fn new(heartbeat: Duration, drain: CancellationToken, clock: Arc<dyn Clock>) -> Self {
        let rendered = Arc::new(Cache::with_weighter(CACHE_ENTRIES, CACHE_BYTES_MAX, ByBytes));
        Self { heartbeat, drain, clock, rendered }
    }

    /// The events of a command after `after`; ends with its last.
    pub(crate) fn command(&self, follow: Follow, after: Option<Seq>, handoff: Option<Handoff>) -> Response {
        let after = after.unwrap_or(Seq::ZERO);
        response(Subscriber::command(self.clone(), follow, after).events().boxed(), handoff)
    }

    /// The events of a project after `after`; ends when the server does.
    pub(crate) fn project(
        &self,
        follow: Follow,
        after: ProjectEventId,
        handoff: Option<Handoff>,
    ) -> Response {
        response(Subscriber::project(self.clone(), follow, after).events().boxed(), handoff)
    }

    /// An entry that is wanted whole: made once, whoever asks.
    fn whole(&self, form: Form, entry: &Entry) -> anyhow::Result<Bytes> {
        self.rendered.get_or_insert_with(&(entry.position, form), || {
            let mut out = Vec::new();
            render::entry(&mut out, form, entry, Seq::ZERO)?;
            Ok(out.into())
        })
    }
}

/// What is stored of a command, to its end or to the end of what there is by now.
pub(crate) fn stored(follow: Follow, form: Form) -> impl Stream<Item = anyhow::Result<Bytes>> {
    unfold(Some(follow), move |follow| async move {
        let mut follow = follow?;
        let read = async {
            let entries = follow.ready().await?;
            let mut out = Vec::new();
            for entry in &entries {
                render::entry(&mut out, form, entry, Seq::ZERO)?;
            }
            anyhow::Ok((!entries.is_empty()).then(|| Bytes::from(out)))
        };
        match read.await {
            Ok(None) => None,
            Ok(Some(bytes)) => Some((Ok(bytes), Some(follow))),
            // The answer has begun: cutting it is the only way left to say that it is not whole.
            Err(error) => {
                tracing::error!(error = format!("{error:#}"), "an output could not be read to its end");
                Some((Err(error), None))
            }
        }
    })
}

fn response(events: BoxStream<'static, Bytes>, handoff: Option<Handoff>) -> Response {
    let headers = [
        (header::CONTENT_TYPE, "text/event-stream"),
        (header::CACHE_CONTROL, "no-store"),
        // nginx and its like would hold events back until a buffer is full.
        (header::HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    match handoff {
        // No other request follows on a connection that is handed over, and clients are told so.
        Some(handoff) => ([(header::CONNECTION, "close")], headers, handoff.body(events)).into_response(),
        None => (headers, Body::from_stream(events.map(Ok::<_, Infallible>))).into_response(),
    }
}
