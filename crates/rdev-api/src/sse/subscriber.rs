//! One reader of a stream: its place, and what it is sent next.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures_util::Stream;
use futures_util::stream::unfold;
use rdev_domain::{Entry, EntryBody, Seq};
use rdev_services::Follow;
use tokio::time::{Instant, sleep_until};

use super::render::{self, Form};
use super::{ProjectEventId, Streams};
use crate::metrics::OpenStream;

/// Sent first: how long a client waits before it connects again.
const HELLO: &[u8] = b"retry: 1000\n\n";
/// Sent last when the server stops: the stream goes on elsewhere, or soon.
const RECONNECT: &[u8] = b"retry: 500\n: the server is stopping, connect again\n\n";
/// Small entries that are ready at once are sent in one write of about this size.
const WRITE_BYTES: usize = 32 * 1024;

pub(super) struct Subscriber {
    streams: Streams,
    follow: Follow,
    place: Place,
    pending: VecDeque<Arc<Entry>>,
    next_heartbeat: Instant,
    phase: Phase,
    _open: OpenStream,
}

enum Place {
    /// In one command's stream: the last event that was sent.
    Command(Seq),
    /// In a project's: where it began; entries before it, and that far in it, are passed over.
    Project(ProjectEventId),
}

enum Phase {
    Hello,
    Open,
    Over,
}

impl Subscriber {
    pub(super) fn command(streams: Streams, follow: Follow, after: Seq) -> Self {
        Self::new(streams, follow, Place::Command(after))
    }

    pub(super) fn project(streams: Streams, follow: Follow, after: ProjectEventId) -> Self {
        Self::new(streams, follow, Place::Project(after))
    }

    fn new(streams: Streams, follow: Follow, place: Place) -> Self {
        let next_heartbeat = Instant::now() + streams.heartbeat;
        let (pending, phase, open) = (VecDeque::new(), Phase::Hello, OpenStream::begin());
        Self { streams, follow, place, pending, next_heartbeat, phase, _open: open }
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
            Phase::Hello => {
                self.phase = Phase::Open;
                return Some(Bytes::from_static(HELLO));
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
                entries = self.follow.next() => match entries {
                    Ok(entries) => self.pending.extend(entries),
                    Err(error) => return self.give_up(&error.into()),
                },
                () = sleep_until(self.next_heartbeat) => {
                    return Some(render::heartbeat(self.streams.clock.now()));
                }
            }
        }
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
            let Some(entry) = self.pending.pop_front() else {
                break;
            };
            let bytes = self.render(&entry)?;
            if together.is_empty() && (bytes.len() >= WRITE_BYTES || self.pending.is_empty()) {
                return Ok(bytes);
            }
            together.extend_from_slice(&bytes);
        }
        Ok(together.freeze())
    }

    fn render(&mut self, entry: &Entry) -> anyhow::Result<Bytes> {
        match &mut self.place {
            Place::Command(last) => {
                if entry.is_last() {
                    self.phase = Phase::Over;
                }
                let after = *last;
                *last = entry.last_seq.max(after);
                let counted = match &entry.body {
                    EntryBody::Status(_) => false,
                    EntryBody::Retry(retrying) => retrying.counted,
                    EntryBody::Output(_) | EntryBody::Complete(_) => true,
                };
                if !counted || entry.first_seq == after.next() {
                    return self.streams.whole(Form::Sse, entry);
                }
                let mut out = Vec::new();
                if entry.first_seq > after.next() {
                    render::pruned(&mut out, Form::Sse, entry, after);
                }
                render::entry(&mut out, Form::Sse, entry, after)?;
                Ok(out.into())
            }
            Place::Project(began) if entry.position > began.position => {
                self.streams.whole(Form::ProjectSse, entry)
            }
            Place::Project(began) if entry.position == began.position && entry.last_seq > began.seq => {
                let mut out = Vec::new();
                render::entry(&mut out, Form::ProjectSse, entry, began.seq)?;
                Ok(out.into())
            }
            Place::Project(_) => Ok(Bytes::new()),
        }
    }
}
