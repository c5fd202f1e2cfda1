//! One reader of an event stream: its cursor, and the bytes that it is sent next.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::Stream;
use futures_util::stream::unfold;
use rdev_domain::{AgentProvider, Entry, JobKind, Position, Seq};
use rdev_engine::{LogReader, Next};
use rdev_ports::Clock;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::agent::{AgentForm, Agents};
use super::cache::RenderCache;
use super::event_id::{ProjectEventId, is_counted, missing};
use super::quota::StreamPermit;
use super::render::{self, Form, Unsent};

/// First bytes of a stream: the milliseconds that a client waits before it connects again.
const HELLO: &[u8] = b"retry: 1000\n\n";
/// Last bytes when the server stops: the stream continues on another replica, or soon.
const RECONNECT: &[u8] = b"retry: 500\n: the server is stopping, connect again\n\n";
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
    /// Agents, and the jobs that are theirs.
    pub(super) agents: Agents,
    /// Rendered entries.
    pub(super) cache: RenderCache,
}

/// Reader of an event stream.
pub(super) struct Subscriber {
    context: Arc<SubscriberContext>,
    reader: LogReader,
    cursor: Cursor,
    /// Entries to send, and the agent whose output each holds.
    pending: VecDeque<(Arc<Entry>, Option<AgentProvider>)>,
    /// Form of the lines of agents.
    form: AgentForm,
    next_heartbeat: Instant,
    phase: Phase,
    _permit: StreamPermit,
}

enum Cursor {
    /// Number of the last event sent, in a job's stream.
    Command(Seq),
    /// Ids in a project's stream: entries and events up to `began` are skipped, and `last` is the last one sent.
    Project { began: ProjectEventId, last: ProjectEventId },
}

enum Phase {
    Hello {
        /// Id that the reader sent, and that this log does not know.
        unknown: Option<ProjectEventId>,
    },
    Open,
    Closed,
}

impl Subscriber {
    /// Reads a job's stream after the event `after`.
    pub(super) fn command(
        context: Arc<SubscriberContext>,
        permit: StreamPermit,
        reader: LogReader,
        after: Seq,
        form: AgentForm,
    ) -> Self {
        Self::new(context, permit, reader, Cursor::Command(after), form)
    }

    /// Reads a project's stream after the event `after`. `unknown` is the id that the reader sent, where this log has no
    /// such entry.
    pub(super) fn project(
        context: Arc<SubscriberContext>,
        permit: StreamPermit,
        reader: LogReader,
        (after, unknown): (ProjectEventId, Option<ProjectEventId>),
        form: AgentForm,
    ) -> Self {
        let phase = Phase::Hello { unknown };
        let cursor = Cursor::Project { began: after, last: after };
        Self { phase, ..Self::new(context, permit, reader, cursor, form) }
    }

    fn new(
        context: Arc<SubscriberContext>,
        permit: StreamPermit,
        reader: LogReader,
        cursor: Cursor,
        form: AgentForm,
    ) -> Self {
        let next_heartbeat = Instant::now() + context.heartbeat;
        let (pending, phase) = (VecDeque::new(), Phase::Hello { unknown: None });
        Self { context, reader, cursor, pending, form, next_heartbeat, phase, _permit: permit }
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
                () = self.context.drain.cancelled() => {
                    self.phase = Phase::Closed;
                    return Some(Bytes::from_static(RECONNECT));
                }
                next = self.reader.next() => match next {
                    Ok(Next::Entries(entries)) => {
                        if let Err(error) = self.learn(entries).await {
                            return self.abort(&error.into());
                        }
                    }
                    Ok(Next::Pruned(to)) => return Some(self.pruned(to)),
                    Ok(Next::Missing(last)) => {
                        let gap = self.missing(last);
                        if !gap.is_empty() {
                            return Some(gap);
                        }
                    }
                    Err(error) => return self.abort(&error.into()),
                },
                () = sleep_until(self.next_heartbeat) => {
                    return Some(render::heartbeat(self.context.clock.now()));
                }
            }
        }
    }

    /// Takes entries to send, and learns which of them hold the output of an agent.
    async fn learn(&mut self, entries: Vec<Arc<Entry>>) -> rdev_domain::Result<()> {
        for entry in entries {
            let agent = match (self.form, self.reader.kind()) {
                (AgentForm::Raw, _) => None,
                (_, Some(kind)) => JobKind::agent(kind),
                (_, None) => self.context.agents.of(&entry).await?,
            };
            self.pending.push_back((entry, agent));
        }
        Ok(())
    }

    fn hello(&self, unknown: Option<ProjectEventId>) -> Bytes {
        let (Some(unknown), Cursor::Project { began, .. }) = (unknown, &self.cursor) else {
            return Bytes::from_static(HELLO);
        };
        let known_from = ProjectEventId { position: Position(began.position.0 + 1), seq: Seq::ZERO };
        let gap = render::project_gap(Some(unknown), known_from, Unsent::UnknownId);
        [HELLO, &gap].concat().into()
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
            let Some((entry, agent)) = self.pending.pop_front() else {
                break;
            };
            let bytes = self.render(&entry, agent)?;
            if together.is_empty() && (bytes.len() >= WRITE_BYTES || self.pending.is_empty()) {
                return Ok(bytes);
            }
            together.extend_from_slice(&bytes);
        }
        Ok(together.freeze())
    }

    fn render(&mut self, entry: &Entry, agent: Option<AgentProvider>) -> anyhow::Result<Bytes> {
        let agent = self.context.agents.lines(agent, self.form);
        match &mut self.cursor {
            Cursor::Command(last) => {
                if entry.is_last() {
                    self.phase = Phase::Closed;
                }
                let after = *last;
                *last = entry.last_seq.max(after);
                if entry.is_last() && entry.last_seq <= after {
                    return end_of_another(entry);
                }
                let missing = missing(entry, after);
                if missing.is_none() && (!is_counted(entry) || entry.first_seq == after.next()) {
                    return self.context.cache.whole(Form::Sse, agent, entry);
                }
                let mut out = Vec::new();
                if let Some((from, to)) = missing {
                    render::gap(&mut out, Form::Sse, &entry.stream, (from, Some(to)), Unsent::Removed);
                }
                render::entry_read_by(&mut out, Form::Sse, agent, entry, after)?;
                Ok(out.into())
            }
            Cursor::Project { began, last } => {
                if entry.position < began.position {
                    return Ok(Bytes::new());
                }
                *last = ProjectEventId { position: entry.position, seq: entry.last_seq };
                if entry.position > began.position {
                    return self.context.cache.whole(Form::ProjectSse, agent, entry);
                }
                let mut out = Vec::new();
                if entry.last_seq > began.seq {
                    render::entry_read_by(&mut out, Form::ProjectSse, agent, entry, began.seq)?;
                }
                Ok(out.into())
            }
        }
    }

    /// Announces that retention removed entries up to this position of the project's log.
    fn pruned(&self, to: Position) -> Bytes {
        match &self.cursor {
            Cursor::Project { last, .. } => {
                let whole_from = ProjectEventId { position: Position(to.0 + 1), seq: Seq::ZERO };
                let from = (last.position > Position::ZERO).then_some(*last);
                render::project_gap(from, whole_from, Unsent::Removed)
            }
            Cursor::Command(_) => Bytes::new(),
        }
    }

    /// Announces that retention removed the stream up to this event, or as a whole.
    fn missing(&mut self, to: Option<Seq>) -> Bytes {
        let mut out = Vec::new();
        let Cursor::Command(last) = &mut self.cursor else { return Bytes::new() };
        if to.is_none() {
            self.phase = Phase::Closed;
        }
        if to.is_none_or(|to| to > *last)
            && let Some(stream) = self.reader.stream()
        {
            let missing = (last.next().0, to.map(|to| to.0));
            render::gap(&mut out, Form::Sse, stream, missing, Unsent::Removed);
            *last = to.unwrap_or(*last);
        }
        out.into()
    }
}

/// Renders the end of a stream for a reader whose last event is beyond that end: the reader knows another stream of this
/// name, and was sent nothing of this one.
fn end_of_another(end: &Entry) -> anyhow::Result<Bytes> {
    let mut out = Vec::new();
    if end.last_seq.before() > Seq::ZERO {
        let unsent = (1, Some(end.last_seq.before().0));
        render::gap(&mut out, Form::Sse, &end.stream, unsent, Unsent::UnknownId);
    }
    render::entry(&mut out, Form::Sse, end, Seq::ZERO)?;
    Ok(out.into())
}
