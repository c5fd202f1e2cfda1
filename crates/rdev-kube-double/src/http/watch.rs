//! Watches: lines of events, until the client disconnects or the timeout ends.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::unfold;
use http_body_util::{BodyExt, StreamBody};
use hyper::StatusCode;
use hyper::body::Frame;
use tokio::sync::{broadcast, watch};
use tokio::time::{Instant, sleep_until};

use super::answers::{Answer, Failure, answer};
use super::call::Call;
use crate::faults::How;
use crate::inner::Inner;
use crate::selector::Selector;
use crate::store::Change;

/// Default timeout; the real server uses half an hour to an hour.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30 * 60);

/// Start of a watch.
enum Start {
    After(u64),
    /// With an event for every existing pod.
    Everything {
        told: bool,
    },
}

pub(super) fn start(call: &Call) -> Result<Answer, Failure> {
    let begin = beginning(call)?;
    let timeout = match call.query.get("timeoutSeconds").map(str::parse::<u64>) {
        None | Some(Ok(0)) => DEFAULT_TIMEOUT,
        Some(Ok(seconds)) => Duration::from_secs(seconds),
        Some(Err(_)) => return Err(Failure::bad_request("invalid timeoutSeconds")),
    };
    let now = Instant::now();
    let mut watch = Watch {
        changes: call.inner.changes(),
        cuts: call.inner.faults.watch_cuts(),
        inner: Arc::clone(&call.inner),
        selector: call.selector.clone(),
        seen: 0,
        lines: VecDeque::new(),
        over: false,
        bookmarks: call.query.flag("allowWatchBookmarks"),
        bookmarks_sent: call.inner.bookmarks(),
        next_bookmark: now + call.inner.config.bookmark_every,
        deadline: now + timeout,
    };
    watch.begin(&begin);
    let stream = unfold(watch, |mut watch| async move {
        let line = watch.next().await?;
        Some((line.map(Frame::data), watch))
    });
    Ok(answer(StatusCode::OK, "application/json", BodyExt::boxed_unsync(StreamBody::new(stream))))
}

fn beginning(call: &Call) -> Result<Start, Failure> {
    let version = match call.query.get("resourceVersion") {
        None | Some("0") => None,
        Some(text) => Some(text.parse().map_err(|_| Failure::bad_request("invalid resourceVersion"))?),
    };
    if call.query.get("sendInitialEvents").is_some() {
        if !call.inner.config.streaming_lists {
            let message = "ListOptions.meta.k8s.io \"\" is invalid: sendInitialEvents: Forbidden: \
                           sendInitialEvents is forbidden for watch unless the WatchList feature gate is enabled";
            return Err(Failure::invalid(message));
        }
        if call.query.get("resourceVersionMatch") != Some("NotOlderThan") {
            let message = "ListOptions.meta.k8s.io \"\" is invalid: resourceVersionMatch: Forbidden: \
                           sendInitialEvents requires setting resourceVersionMatch to NotOlderThan";
            return Err(Failure::invalid(message));
        }
        if call.query.flag("sendInitialEvents") {
            return Ok(Start::Everything { told: true });
        }
    }
    Ok(version.map_or(Start::Everything { told: false }, Start::After))
}

struct Watch {
    inner: Arc<Inner>,
    selector: Selector,
    /// Version up to which all changes are in `lines` or were sent.
    seen: u64,
    lines: VecDeque<Bytes>,
    /// True when no line follows those in the queue.
    over: bool,
    changes: watch::Receiver<()>,
    cuts: broadcast::Receiver<How>,
    bookmarks: bool,
    bookmarks_sent: u64,
    next_bookmark: Instant,
    deadline: Instant,
}

impl Watch {
    fn begin(&mut self, start: &Start) {
        let inner = Arc::clone(&self.inner);
        let world = inner.world();
        match *start {
            Start::After(version) => {
                self.seen = version;
                if let Err(expired) = world.store.watchable(version) {
                    self.fail(&Failure::expired(version, expired));
                }
            }
            Start::Everything { told } => {
                self.seen = world.store.version();
                for object in world.store.objects().values() {
                    if self.selector.matches(&object.pod) {
                        self.lines.push_back(event("ADDED", &object.json));
                    }
                }
                if told && self.bookmarks {
                    self.lines.push_back(bookmark(self.seen, true));
                }
            }
        }
    }

    /// Returns the next line; `None` at the end, an error where the connection has to be cut.
    async fn next(&mut self) -> Option<io::Result<Bytes>> {
        loop {
            if let Some(line) = self.lines.pop_front() {
                return Some(Ok(line));
            }
            if self.over {
                return None;
            }
            // A change after this read wakes the watch again.
            self.changes.borrow_and_update();
            self.read();
            if !self.lines.is_empty() {
                continue;
            }
            tokio::select! {
                () = sleep_until(self.deadline) => self.over = true,
                () = sleep_until(self.next_bookmark), if self.bookmarks => self.add_bookmark(),
                changed = self.changes.changed() => self.over = changed.is_err(),
                how = self.cuts.recv() => match how {
                    Ok(How::HalfOpen) => std::future::pending().await,
                    Ok(How::Close) => return Some(Err(io::ErrorKind::ConnectionAborted.into())),
                    Err(_) => {}
                },
            }
        }
    }

    fn read(&mut self) {
        let inner = Arc::clone(&self.inner);
        let world = inner.world();
        match world.store.since(self.seen) {
            Ok(changes) => {
                for change in changes {
                    self.seen = change.version;
                    self.lines.extend(self.event_of(&change));
                }
                self.seen = self.seen.max(world.store.version());
            }
            Err(expired) => self.fail(&Failure::expired(self.seen, expired)),
        }
        drop(world);
        if self.inner.bookmarks() != self.bookmarks_sent {
            self.bookmarks_sent = self.inner.bookmarks();
            if self.bookmarks {
                self.add_bookmark();
            }
        }
    }

    /// Returns the event for a change. An object that begins to match the selector is new to this watch,
    /// one that no longer matches is deleted.
    fn event_of(&self, change: &Change) -> Option<Bytes> {
        let before = change.before.as_ref().is_some_and(|before| self.selector.matches(&before.pod));
        let after = !change.deleted && self.selector.matches(&change.after.pod);
        match (before, after) {
            (false, false) => None,
            (false, true) => Some(event("ADDED", &change.after.json)),
            (true, true) => Some(event("MODIFIED", &change.after.json)),
            (true, false) if change.deleted => Some(event("DELETED", &change.after.json)),
            (true, false) => Some(event("DELETED", &change.departed().json)),
        }
    }

    fn add_bookmark(&mut self) {
        self.lines.push_back(bookmark(self.seen, false));
        self.next_bookmark = Instant::now() + self.inner.config.bookmark_every;
    }

    fn fail(&mut self, failure: &Failure) {
        let status = serde_json::to_vec(&failure.status()).unwrap_or_default();
        self.lines.push_back(event("ERROR", &status));
        self.over = true;
    }
}

fn event(kind: &str, object: &[u8]) -> Bytes {
    let mut line = Vec::with_capacity(object.len() + 40);
    line.extend_from_slice(br#"{"type":""#);
    line.extend_from_slice(kind.as_bytes());
    line.extend_from_slice(br#"","object":"#);
    line.extend_from_slice(object);
    line.extend_from_slice(b"}\n");
    line.into()
}

fn bookmark(version: u64, initial: bool) -> Bytes {
    let annotations =
        if initial { r#","annotations":{"k8s.io/initial-events-end":"true"}"# } else { Default::default() };
    let object = format!(
        r#"{{"kind":"Pod","apiVersion":"v1","metadata":{{"resourceVersion":"{version}","creationTimestamp":null{annotations}}},"spec":{{"containers":null}},"status":{{}}}}"#
    );
    event("BOOKMARK", object.as_bytes())
}
