//! One reader of a stream: its place, and what it is sent next.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures_util::Stream;
use futures_util::stream::unfold;
use rdev_domain::{AgentProvider, Entry, JobKind, Position, Seq};
use rdev_engine::{LogReader, Next};
use tokio::time::{Instant, sleep_until};

use super::agent::AgentForm;
use super::render::{self, Form, Unsent};
use super::share::Share;
use super::{ProjectEventId, Streams, is_counted, missing};

/// Sent first: how long a client waits before it connects again.
const HELLO: &[u8] = b"retry: 1000\n\n";
/// Sent last when the server stops: the stream goes on elsewhere, or soon.
const RECONNECT: &[u8] = b"retry: 500\n: the server is stopping, connect again\n\n";
/// Small entries that are ready at once are sent in one write of about this size.
const WRITE_BYTES: usize = 32 * 1024;

pub(super) struct Subscriber {
    streams: Streams,
    follow: LogReader,
    place: Place,
    /// Entries to send, and the agent whose output each holds.
    pending: VecDeque<(Arc<Entry>, Option<AgentProvider>)>,
    /// How lines of agents are sent.
    form: AgentForm,
    next_heartbeat: Instant,
    phase: Phase,
    _share: Share,
}

enum Place {
    /// In one command's stream: the last event that was sent.
    Command(Seq),
    /// In a project's: where it began; entries before it, and that far in it, are passed over. And the last entry
    /// that was sent.
    Project { began: ProjectEventId, last: ProjectEventId },
}

enum Phase {
    Hello {
        /// The id that the reader came with, and that this log does not know.
        unknown: Option<ProjectEventId>,
    },
    Open,
    Over,
}

impl Subscriber {
    pub(super) fn command(
        streams: Streams,
        share: Share,
        follow: LogReader,
        after: Seq,
        form: AgentForm,
    ) -> Self {
        Self::new(streams, share, follow, Place::Command(after), form)
    }

    /// `unknown` is the id that the reader came with, where this log has no such entry.
    pub(super) fn project(
        streams: Streams,
        share: Share,
        follow: LogReader,
        (after, unknown): (ProjectEventId, Option<ProjectEventId>),
        form: AgentForm,
    ) -> Self {
        let (phase, place) = (Phase::Hello { unknown }, Place::Project { began: after, last: after });
        Self { phase, ..Self::new(streams, share, follow, place, form) }
    }

    fn new(streams: Streams, share: Share, follow: LogReader, place: Place, form: AgentForm) -> Self {
        let next_heartbeat = Instant::now() + streams.heartbeat;
        let (pending, phase) = (VecDeque::new(), Phase::Hello { unknown: None });
        Self { streams, follow, place, pending, form, next_heartbeat, phase, _share: share }
    }

    pub(super) fn events(self) -> impl Stream<Item = Bytes> {
        unfold(self, |mut subscriber| async move {
            let bytes = subscriber.next().await?;
            subscriber.next_heartbeat = Instant::now() + subscriber.streams.heartbeat;
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
            Phase::Over => return None,
        }
        loop {
            match self.take_pending() {
                Ok(bytes) if bytes.is_empty() => {}
                Ok(bytes) => return Some(bytes),
                Err(error) => return self.give_up(&error),
            }
            if matches!(self.phase, Phase::Over) {
                return None;
            }
            tokio::select! {
                biased;
                () = self.streams.drain.cancelled() => {
                    self.phase = Phase::Over;
                    return Some(Bytes::from_static(RECONNECT));
                }
                next = self.follow.next() => match next {
                    Ok(Next::Entries(entries)) => {
                        if let Err(error) = self.learn(entries).await {
                            return self.give_up(&error.into());
                        }
                    }
                    Ok(Next::Pruned(to)) => return Some(self.pruned(to)),
                    Ok(Next::Missing(last)) => {
                        let gap = self.gone(last);
                        if !gap.is_empty() {
                            return Some(gap);
                        }
                    }
                    Err(error) => return self.give_up(&error.into()),
                },
                () = sleep_until(self.next_heartbeat) => {
                    return Some(render::heartbeat(self.streams.clock.now()));
                }
            }
        }
    }

    /// Takes entries to send, and learns which of them hold the output of an agent.
    async fn learn(&mut self, entries: Vec<Arc<Entry>>) -> rdev_domain::Result<()> {
        for entry in entries {
            let agent = match (self.form, self.follow.kind()) {
                (AgentForm::Raw, _) => None,
                (_, Some(kind)) => JobKind::agent(kind),
                (_, None) => self.streams.agents.of(&entry).await?,
            };
            self.pending.push_back((entry, agent));
        }
        Ok(())
    }

    fn hello(&self, unknown: Option<ProjectEventId>) -> Bytes {
        let (Some(unknown), Place::Project { began, .. }) = (unknown, &self.place) else {
            return Bytes::from_static(HELLO);
        };
        let known_from = ProjectEventId { position: Position(began.position.0 + 1), seq: Seq::ZERO };
        let gap = render::project_gap(Some(unknown), known_from, Unsent::UnknownId);
        [HELLO, &gap].concat().into()
    }

    /// Ends the response; the client connects again with its last event id, and misses nothing.
    fn give_up(&mut self, error: &anyhow::Error) -> Option<Bytes> {
        tracing::error!(error = format!("{error:#}"), "a stream was cut, its events could not be read");
        None
    }

    /// What is ready, as one write. A large entry is handed on as it was made, shared with other readers.
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
        let agent = self.streams.agents.lines(agent, self.form);
        match &mut self.place {
            Place::Command(last) => {
                if entry.is_last() {
                    self.phase = Phase::Over;
                }
                let after = *last;
                *last = entry.last_seq.max(after);
                if entry.is_last() && entry.last_seq <= after {
                    return end_of_another(entry);
                }
                let missing = missing(entry, after);
                if missing.is_none() && (!is_counted(entry) || entry.first_seq == after.next()) {
                    return self.streams.whole(Form::Sse, agent, entry);
                }
                let mut out = Vec::new();
                if let Some((from, to)) = missing {
                    render::gap(&mut out, Form::Sse, &entry.stream, (from, Some(to)), Unsent::Removed);
                }
                render::entry_read_by(&mut out, Form::Sse, agent, entry, after)?;
                Ok(out.into())
            }
            Place::Project { began, last } => {
                if entry.position < began.position {
                    return Ok(Bytes::new());
                }
                *last = ProjectEventId { position: entry.position, seq: entry.last_seq };
                if entry.position > began.position {
                    return self.streams.whole(Form::ProjectSse, agent, entry);
                }
                let mut out = Vec::new();
                if entry.last_seq > began.seq {
                    render::entry_read_by(&mut out, Form::ProjectSse, agent, entry, began.seq)?;
                }
                Ok(out.into())
            }
        }
    }

    /// Something up to this position of the project's log is not there any more.
    fn pruned(&self, to: Position) -> Bytes {
        match &self.place {
            Place::Project { last, .. } => {
                let whole_from = ProjectEventId { position: Position(to.0 + 1), seq: Seq::ZERO };
                let from = (last.position > Position::ZERO).then_some(*last);
                render::project_gap(from, whole_from, Unsent::Removed)
            }
            Place::Command(_) => Bytes::new(),
        }
    }

    /// The stream is not there any more up to this event, or as a whole.
    fn gone(&mut self, to: Option<Seq>) -> Bytes {
        let mut out = Vec::new();
        let Place::Command(last) = &mut self.place else { return Bytes::new() };
        if to.is_none() {
            self.phase = Phase::Over;
        }
        if to.is_none_or(|to| to > *last)
            && let Some(stream) = self.follow.stream()
        {
            let missing = (last.next().0, to.map(|to| to.0));
            render::gap(&mut out, Form::Sse, stream, missing, Unsent::Removed);
            *last = to.unwrap_or(*last);
        }
        out.into()
    }
}

/// The end of a stream whose reader came with the number of an event beyond it, and so knows another stream: it was
/// sent nothing of this one.
fn end_of_another(end: &Entry) -> anyhow::Result<Bytes> {
    let mut out = Vec::new();
    if end.last_seq.before() > Seq::ZERO {
        let unsent = (1, Some(end.last_seq.before().0));
        render::gap(&mut out, Form::Sse, &end.stream, unsent, Unsent::UnknownId);
    }
    render::entry(&mut out, Form::Sse, end, Seq::ZERO)?;
    Ok(out.into())
}
