//! One reader of an event stream: its cursor, and the bytes that it is sent next.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::Stream;
use futures_util::stream::unfold;
use rdev_domain::{Entry, EntryBody, JobKind, Position, Seq};
use rdev_engine::{LogReader, Next};
use rdev_ports::Clock;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::agent::Agents;
use super::cache::RenderCache;
use super::event_id::{LogEventId, is_counted, missing};
use super::negotiation::Framing;
use super::parts::parts;
use super::quota::StreamPermit;
use super::render::{self, Form, Ids, Reading, Unsent};
use super::renewal::Renewal;
use super::shape::Shape;

/// First bytes of a stream: the milliseconds that a client waits before it connects again.
const HELLO: &[u8] = b"retry: 1000\n\n";
/// Last bytes when the server stops: the stream continues on another replica, or soon.
const RECONNECT: &[u8] = b"retry: 500\n: the server is stopping, connect again\n\n";
/// Last bytes when the key of the stream is no longer accepted.
const KEY_IS_GONE: &[u8] = b": the key of this stream is no longer accepted\n\n";
/// Size of one write, about: small entries that are ready together are sent together.
const WRITE_BYTES: usize = 32 * 1024;

/// Settings and ports that all subscribers share.
pub(super) struct SubscriberContext {
    /// Time between heartbeats of a silent stream.
    pub(super) heartbeat: Duration,
    /// Cancelled when readers are to reconnect.
    pub(super) drain: CancellationToken,
    /// Clock of heartbeats.
    pub(super) clock: Arc<dyn Clock>,
    /// Readers of the lines of agents.
    pub(super) agents: Agents,
    /// Rendered entries.
    pub(super) cache: RenderCache,
}

/// Reader of an event stream.
pub(super) struct Subscriber {
    context: Arc<SubscriberContext>,
    reader: LogReader,
    cursor: Cursor,
    /// True where the reader was not sent an id as far as the cursor: it began there, or was sent nothing of the last entries.
    id_is_due: bool,
    /// Entries to send.
    pending: VecDeque<Arc<Entry>>,
    shape: Shape,
    next_heartbeat: Instant,
    /// New tickets, where the stream was opened with one.
    renewal: Option<Box<Renewal>>,
    phase: Phase,
    permit: StreamPermit,
}

/// Permit, ticket and shape of a subscriber, whatever it reads.
pub(super) struct Seat {
    pub(super) permit: StreamPermit,
    pub(super) renewal: Option<Box<Renewal>>,
    pub(super) shape: Shape,
}

/// Place of a subscriber in the stream of one job.
pub(super) struct JobPlace {
    /// Number of the event after which the subscriber begins.
    pub(super) after: Seq,
    /// True where the subscriber does not know `after`.
    pub(super) is_new: bool,
}

/// Place of a subscriber in a log of several jobs.
pub(super) struct LogPlace {
    /// Id after which the subscriber begins.
    pub(super) after: LogEventId,
    /// True where the subscriber does not know `after`.
    pub(super) is_new: bool,
    /// Id that the subscriber sent, where the log has no such entry.
    pub(super) unknown: Option<LogEventId>,
    /// True where the subscriber's key may read no tasks.
    pub(super) hides_tasks: bool,
}

enum Cursor {
    /// Number of the last event sent, in a job's stream.
    Job(Seq),
    /// Ids in a log of several jobs: entries and events up to `began` are skipped, and `last` is the last one sent.
    Log { began: LogEventId, last: LogEventId, hides_tasks: bool },
}

enum Phase {
    Hello {
        /// Id that the reader sent, and that this log does not know.
        unknown: Option<LogEventId>,
    },
    Open,
    Closed,
}

impl Subscriber {
    /// Reads the stream of one job.
    pub(super) fn job(
        context: Arc<SubscriberContext>,
        seat: Seat,
        reader: LogReader,
        place: JobPlace,
    ) -> Self {
        let shape = Shape { types: seat.shape.types.with_complete(), ..seat.shape };
        Self::new(context, Seat { shape, ..seat }, reader, Cursor::Job(place.after), place.is_new)
    }

    /// Reads a log of several jobs.
    pub(super) fn log(
        context: Arc<SubscriberContext>,
        seat: Seat,
        reader: LogReader,
        place: LogPlace,
    ) -> Self {
        let LogPlace { after, is_new, unknown, hides_tasks } = place;
        let cursor = Cursor::Log { began: after, last: after, hides_tasks };
        let subscriber = Self::new(context, seat, reader, cursor, is_new);
        Self { phase: Phase::Hello { unknown }, ..subscriber }
    }

    fn new(
        context: Arc<SubscriberContext>,
        Seat { permit, renewal, shape }: Seat,
        reader: LogReader,
        cursor: Cursor,
        id_is_due: bool,
    ) -> Self {
        let next_heartbeat = Instant::now() + context.heartbeat;
        let (pending, phase) = (VecDeque::new(), Phase::Hello { unknown: None });
        Self { context, reader, cursor, id_is_due, pending, shape, next_heartbeat, renewal, phase, permit }
    }

    /// Returns the bytes of the stream.
    pub(super) fn events(self) -> impl Stream<Item = Bytes> {
        unfold(self, |mut subscriber| async move {
            let bytes = subscriber.next().await?;
            subscriber.next_heartbeat = Instant::now() + subscriber.context.heartbeat;
            Some((bytes, subscriber))
        })
    }

    async fn next(&mut self) -> Option<Bytes> {
        match self.phase {
            Phase::Hello { unknown } => {
                self.phase = Phase::Open;
                return Some(self.hello(unknown));
            }
            Phase::Open => {}
            Phase::Closed => return None,
        }
        loop {
            if let Some(bytes) = self.due() {
                return Some(bytes);
            }
            match self.take_pending() {
                Ok(bytes) if bytes.is_empty() => {}
                Ok(bytes) => return Some(bytes),
                Err(error) => return self.abort(&error),
            }
            if matches!(self.phase, Phase::Closed) {
                return None;
            }
            tokio::select! {
                biased;
                () = self.permit.ended() => {
                    self.phase = Phase::Closed;
                    return self.farewell();
                }
                next = self.reader.next() => match next {
                    Ok(Next::Entries(entries)) => self.pending.extend(entries.into_iter().flat_map(parts)),
                    Ok(Next::Pruned(to)) => return Some(self.pruned(to)),
                    Ok(Next::Missing(last)) => {
                        let gap = self.missing(last);
                        if !gap.is_empty() {
                            return Some(gap);
                        }
                    }
                    Err(error) => return self.abort(&error.into()),
                },
                () = sleep_until(self.next_heartbeat) => {}
            }
        }
    }

    /// Returns the last bytes before the log's end. Lines of JSON have none: a reader that has seen no `complete` comes again.
    fn farewell(&self) -> Option<Bytes> {
        let is_stopping = self.context.drain.is_cancelled();
        let last = if is_stopping { RECONNECT } else { KEY_IS_GONE };
        (self.shape.framing == Framing::Sse).then_some(Bytes::from_static(last))
    }

    /// Returns what is due whatever the log holds: a new ticket, or a heartbeat, also while entries come of which nothing is
    /// sent.
    fn due(&mut self) -> Option<Bytes> {
        let now = Instant::now();
        if let Some(ticket) = self.renewal.as_mut().and_then(|renewal| renewal.due(now, &*self.context.clock))
        {
            return Some(render::ticket(self.shape.framing, &ticket));
        }
        (now >= self.next_heartbeat).then(|| self.heartbeat())
    }

    /// Renders a heartbeat. It has an id where one is due: a reader that is cut before its first event, or after many of which
    /// it was sent none, resumes here.
    fn heartbeat(&mut self) -> Bytes {
        let id = std::mem::take(&mut self.id_is_due).then(|| match &self.cursor {
            Cursor::Job(last) => last.0.to_string(),
            Cursor::Log { last, .. } => last.to_string(),
        });
        render::heartbeat(self.shape.framing, id.as_deref(), self.context.clock.now())
    }

    /// Returns the first bytes, which come at once. Of lines of JSON they are an event in any case.
    fn hello(&mut self, unknown: Option<LogEventId>) -> Bytes {
        let framing = self.shape.framing;
        let event = match (unknown, &self.cursor) {
            (Some(unknown), Cursor::Log { began, .. }) => {
                let known_from = LogEventId { position: Position(began.position.0 + 1), seq: Seq::ZERO };
                render::log_gap(framing, Some(unknown), known_from, Unsent::UnknownId)
            }
            _ if self.id_is_due || framing == Framing::Ndjson => self.heartbeat(),
            _ => return Bytes::from_static(HELLO),
        };
        match framing {
            Framing::Sse => [HELLO, &event].concat().into(),
            Framing::Ndjson => event,
        }
    }

    /// Ends the response; the client reconnects with its last event id, and misses nothing.
    fn abort(&mut self, error: &anyhow::Error) -> Option<Bytes> {
        tracing::error!(error = format!("{error:#}"), "reading events failed, the stream is cut");
        None
    }

    /// Returns the pending entries as one write. A large entry is passed on without a copy, shared with other readers.
    fn take_pending(&mut self) -> anyhow::Result<Bytes> {
        let mut together = BytesMut::new();
        while together.len() < WRITE_BYTES {
            let Some(entry) = self.pending.pop_front() else {
                break;
            };
            let more = self.take_followers(&entry);
            let bytes = self.render(&entry, &more)?;
            self.id_is_due = bytes.is_empty();
            if together.is_empty() && (bytes.len() >= WRITE_BYTES || self.pending.is_empty()) {
                return Ok(bytes);
            }
            together.extend_from_slice(&bytes);
        }
        Ok(together.freeze())
    }

    /// Takes the pending entries whose lines come in one event with those of `first`: those that follow it at once, as long as
    /// all have room in it. A larger entry is rendered by itself, once for all its readers.
    fn take_followers(&mut self, first: &Entry) -> Vec<Arc<Entry>> {
        let (Some(max), EntryBody::Output(frames)) = (self.shape.batch, &first.body) else {
            return Vec::new();
        };
        // A part of the entry may have been sent.
        if matches!(&self.cursor, Cursor::Log { began, .. } if first.position <= began.position) {
            return Vec::new();
        }
        let (mut last, mut bytes) = (first.last_seq, frames.len());
        let mut is_next = |next: &mut Arc<Entry>| {
            let EntryBody::Output(frames) = &next.body else { return false };
            let follows = next.job == first.job && next.first_seq == last.next();
            let lines = next.last_seq.0.saturating_sub(first.first_seq.0).saturating_add(1);
            (last, bytes) = (next.last_seq, bytes + frames.len());
            follows && lines <= max.into() && bytes <= WRITE_BYTES
        };
        std::iter::from_fn(|| self.pending.pop_front_if(&mut is_next)).collect()
    }

    fn render(&mut self, entry: &Entry, more: &[Arc<Entry>]) -> anyhow::Result<Bytes> {
        let (shape, cache) = (self.shape, &self.context.cache);
        let reading = Reading { agent: self.context.agents.lines(entry.kind, shape.agent), shape };
        let newest = more.last().map_or(entry, |newest| newest);
        let form = self.form();
        match &mut self.cursor {
            Cursor::Job(last) => {
                if entry.is_last() {
                    self.phase = Phase::Closed;
                }
                let after = *last;
                *last = newest.last_seq.max(after);
                if entry.is_last() && entry.last_seq <= after {
                    return end_of_another(form, entry);
                }
                let missing = missing(entry, after);
                let is_whole = missing.is_none() && (!is_counted(entry) || entry.first_seq == after.next());
                if is_whole && more.is_empty() {
                    return cache.whole(form, reading, entry);
                }
                let mut out = Vec::new();
                if let Some((from, to)) = missing {
                    render::gap(&mut out, form, &entry.stream, (from, Some(to)), Unsent::Removed);
                }
                render::entries_read_by(&mut out, form, reading, (entry, more), after)?;
                Ok(out.into())
            }
            Cursor::Log { began, last, hides_tasks } => {
                if entry.position < began.position {
                    return Ok(Bytes::new());
                }
                *last = LogEventId { position: newest.position, seq: newest.last_seq };
                let is_hidden = *hides_tasks && matches!(entry.kind, JobKind::Task(_));
                if is_hidden || !shape.types.has_any_of(&entry.body) {
                    return Ok(Bytes::new());
                }
                let is_whole = entry.position > began.position;
                if is_whole && more.is_empty() {
                    return cache.whole(form, reading, entry);
                }
                let mut out = Vec::new();
                let after = if is_whole { Seq::ZERO } else { began.seq };
                if entry.last_seq > after {
                    render::entries_read_by(&mut out, form, reading, (entry, more), after)?;
                }
                Ok(out.into())
            }
        }
    }

    fn form(&self) -> Form {
        let ids = match self.cursor {
            Cursor::Job(_) => Ids::Numbers,
            Cursor::Log { .. } => Ids::Positions,
        };
        Form::Events(self.shape.framing, ids)
    }

    /// Announces that retention removed entries up to this position of a log of several jobs.
    fn pruned(&self, to: Position) -> Bytes {
        match &self.cursor {
            Cursor::Log { last, .. } => {
                let whole_from = LogEventId { position: Position(to.0 + 1), seq: Seq::ZERO };
                let from = (last.position > Position::ZERO).then_some(*last);
                render::log_gap(self.shape.framing, from, whole_from, Unsent::Removed)
            }
            Cursor::Job(_) => Bytes::new(),
        }
    }

    /// Announces that retention removed the stream up to this event, or as a whole.
    fn missing(&mut self, to: Option<Seq>) -> Bytes {
        let (mut out, form) = (Vec::new(), self.form());
        let Cursor::Job(last) = &mut self.cursor else { return Bytes::new() };
        if to.is_none() {
            self.phase = Phase::Closed;
        }
        if to.is_none_or(|to| to > *last)
            && let Some(stream) = self.reader.stream()
        {
            let missing = (last.next().0, to.map(|to| to.0));
            render::gap(&mut out, form, stream, missing, Unsent::Removed);
            *last = to.unwrap_or(*last);
        }
        out.into()
    }
}

/// Renders the end of a stream for a reader whose last event is beyond that end: the reader knows another stream of this
/// name, and was sent nothing of this one.
fn end_of_another(form: Form, end: &Entry) -> anyhow::Result<Bytes> {
    let mut out = Vec::new();
    if end.last_seq.before() > Seq::ZERO {
        let unsent = (1, Some(end.last_seq.before().0));
        render::gap(&mut out, form, &end.stream, unsent, Unsent::UnknownId);
    }
    render::entry(&mut out, form, end, Seq::ZERO)?;
    Ok(out.into())
}
