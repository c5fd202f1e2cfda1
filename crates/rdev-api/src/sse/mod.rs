//! Answers that do not end: server-sent events, rendered once for all their readers.

pub(crate) mod agent;
pub(crate) mod render;
mod share;
pub(crate) mod stored;
mod subscriber;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use rdev_domain::{Entry, EntryBody, Position, Seq};
use rdev_engine::{Begin, LogReader, ProjectLogReader};
use rdev_ports::Clock;
use tokio_util::sync::CancellationToken;

use self::agent::{AgentForm, AgentLines, Agents};
use self::render::Form;
pub(crate) use self::share::Opening;
use self::share::Shares;
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
    shares: Arc<Shares>,
    agents: Agents,
    rendered: Arc<Cache<Rendering, Bytes, ByBytes>>,
}

/// What an entry was made into.
type Rendering = (Position, Form, AgentForm);

#[derive(Clone)]
struct ByBytes;

impl Weighter<Rendering, Bytes> for ByBytes {
    fn weight(&self, _: &Rendering, bytes: &Bytes) -> u64 {
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
    /// After everything up to this entry.
    pub(crate) fn after(position: Position) -> Self {
        Self { position, seq: Seq(u64::MAX) }
    }

    /// Position from which reading goes on for who comes back with it: the entry itself may have more to tell. The end of
    /// a gap has no
    /// event's number.
    pub(crate) fn begin(self) -> Begin {
        match self {
            Self { position: Position::ZERO, .. } => Begin::Start,
            Self { position, seq: Seq::ZERO } => Begin::From(position),
            Self { position, .. } => Begin::Within(position),
        }
    }
}

impl std::fmt::Display for ProjectEventId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}", self.position.0, self.seq.0)
    }
}

impl std::str::FromStr for ProjectEventId {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (position, seq) = text.split_once('-').ok_or(())?;
        let parse = |text| number(text).ok_or(());
        Ok(Self { position: Position(parse(position)?), seq: Seq(parse(seq)?) })
    }
}

/// A number as ids have it, which the API's document says as a pattern: 1 to 18 digits, and nothing else.
pub(crate) fn number(text: &str) -> Option<u64> {
    let digits = (1..=18).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

impl Streams {
    /// Streams with these heartbeats, at most `per_key` of one key at the same time; they say goodbye on `drain`.
    pub(crate) fn new(
        heartbeat: Duration,
        per_key: usize,
        drain: CancellationToken,
        clock: Arc<dyn Clock>,
        agents: Agents,
    ) -> Self {
        let rendered = Arc::new(Cache::with_weighter(CACHE_ENTRIES, CACHE_BYTES_MAX, ByBytes));
        Self { heartbeat, drain, clock, shares: Shares::of(per_key), agents, rendered }
    }

    /// The events of a command after `after`; ends with its last.
    pub(crate) fn command(
        &self,
        opening: Opening,
        follow: LogReader,
        after: Option<Seq>,
        form: AgentForm,
    ) -> Response {
        let (Opening { share, handoff }, after) = (opening, after.unwrap_or(Seq::ZERO));
        response(Subscriber::command(self.clone(), share, follow, after, form).events().boxed(), handoff)
    }

    /// The events of a project after `asked`, or from the log's start; ends when the server does.
    pub(crate) fn project(
        &self,
        opening: Opening,
        following: ProjectLogReader,
        asked: Option<ProjectEventId>,
        form: AgentForm,
    ) -> Response {
        let Opening { share, handoff } = opening;
        let ProjectLogReader { reader: follow, begun, unknown } = following;
        let (after, unknown) = match asked {
            Some(asked) if unknown => (ProjectEventId::after(begun), Some(asked)),
            Some(asked) => (asked, None),
            None => (ProjectEventId::after(begun), None),
        };
        let subscriber = Subscriber::project(self.clone(), share, follow, (after, unknown), form);
        response(subscriber.events().boxed(), handoff)
    }

    /// An entry that is wanted whole: made once, whoever asks.
    fn whole(&self, form: Form, agent: Option<AgentLines<'_>>, entry: &Entry) -> anyhow::Result<Bytes> {
        let make = || {
            let mut out = Vec::new();
            render::entry_read_by(&mut out, form, agent, entry, Seq::ZERO)?;
            Ok(out.into())
        };
        match entry.body {
            // At its place there may still be what it was made into when it was the end.
            EntryBody::FormerEnd(_) => make(),
            _ => {
                let agent_form = agent.map_or(AgentForm::Raw, |lines| lines.form);
                self.rendered.get_or_insert_with(&(entry.position, form, agent_form), make)
            }
        }
    }
}

/// The events that are missing between the event `after` of a stream and an entry that comes next: the numbers of
/// the first and the last. A status tells how far the stream was when it was stored.
fn missing(entry: &Entry, after: Seq) -> Option<(u64, u64)> {
    let before = if is_counted(entry) { entry.first_seq.0 - 1 } else { entry.last_seq.0 };
    (before > after.0).then_some((after.next().0, before))
}

/// Whether the entry's events take numbers.
fn is_counted(entry: &Entry) -> bool {
    match &entry.body {
        EntryBody::Status(_) | EntryBody::Stalled(_) => false,
        EntryBody::Retry(retrying) => retrying.counted,
        EntryBody::Output(_) | EntryBody::Complete(_) | EntryBody::FormerEnd(_) => true,
    }
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
