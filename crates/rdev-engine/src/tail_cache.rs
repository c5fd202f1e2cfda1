//! Cache of the newest entries of the logs that somebody follows, so that a thousand subscribers of one log do not
//! read the same row a thousand times.
//!
//! It is a cache and a bell: a subscriber that finds nothing here reads the log.

mod tail;

use std::sync::Arc;

use rdev_domain::{Entry, EntryBody, JobId, JobKind, LogView, Position, ProjectId};
use rdev_ports::{Appended, Signal, Signals, SingleProcess};
use tokio::sync::{Notify, watch};

use crate::weak_map::WeakMap;

use tail::Budget;
pub(crate) use tail::Tail;

/// Tails of the logs that this process writes or follows; clones share them.
#[derive(Clone)]
pub struct TailCache {
    inner: Arc<Inner>,
}

struct Inner {
    jobs: WeakMap<JobId, Tail>,
    views: WeakMap<LogView, Tail>,
    budget: Arc<Budget>,
    signals: Arc<dyn Signals>,
    /// Announces entries to followers.
    announcements: watch::Sender<()>,
    /// Announces entries of a store with several writers, which followed views without a project show once they are
    /// settled.
    unsettled: Notify,
}

/// Cache of a process that is the only user of its store.
impl Default for TailCache {
    fn default() -> Self {
        Self::new(Arc::new(SingleProcess))
    }
}

impl TailCache {
    /// Makes an empty cache that announces new entries to the other processes by these signals.
    pub fn new(signals: Arc<dyn Signals>) -> Self {
        let inner = Inner {
            jobs: WeakMap::default(),
            views: WeakMap::default(),
            budget: Arc::default(),
            signals,
            announcements: watch::Sender::new(()),
            unsettled: Notify::new(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Announces a stored entry to the subscribers of its logs, in this process and in the others.
    pub(crate) fn publish(&self, entry: Entry) {
        let (project, position) = (entry.log_project().cloned(), entry.position);
        if self.is_shared() {
            let (project, job) = (project.clone(), entry.job.clone());
            self.inner.signals.publish(Signal::Appended(vec![Appended { project, job, position }]));
        }
        let is_output = matches!(entry.body, EntryBody::Output(_));
        if !is_output {
            self.inner.announcements.send_replace(());
        }
        if let Some(tail) = self.inner.jobs.get(&entry.job) {
            if !matches!(entry.kind, JobKind::Command(_)) && entry.is_last() {
                // Any server may reopen a task or an operation: the log alone knows whether this entry is the last one.
                tail.forget();
                tail.advance(position);
            } else {
                tail.push(Arc::new(entry));
            }
        }
        self.advance_views(project.as_ref(), position, is_output);
    }

    /// Notes what other processes have appended.
    pub(crate) fn apply(&self, appended: &[Appended]) {
        for Appended { project, job, position } in appended {
            self.advance_job(job, *position);
            self.advance_views(project.as_ref(), *position, false);
        }
        self.inner.announcements.send_replace(());
    }

    /// Returns a receiver that changes when entries of any job were stored that are no output, and when other processes
    /// have stored any.
    pub(crate) fn announcements(&self) -> watch::Receiver<()> {
        self.inner.announcements.subscribe()
    }

    /// Tells whether other processes may share the store.
    pub(crate) fn is_shared(&self) -> bool {
        self.inner.signals.shared()
    }

    /// Notes that a job's log reaches at least to this position.
    pub(crate) fn advance_job(&self, id: &JobId, position: Position) {
        if let Some(tail) = self.inner.jobs.get(id) {
            tail.advance(position);
        }
    }

    /// Notes an entry in the log of a project, or in none, in every view that shows the entry. Of several writers one may
    /// still store an entry before this position: a view without a project shows the entry once it is settled.
    fn advance_views(&self, project: Option<&ProjectId>, position: Position, is_output: bool) {
        for output in [true, false] {
            if is_output && !output {
                continue;
            }
            if let Some(project) = project {
                self.advance_view(&LogView { project: Some(project.clone()), output }, position);
            }
            let everything = LogView { project: None, output };
            match self.is_shared() {
                true if self.inner.views.get(&everything).is_some() => self.inner.unsettled.notify_one(),
                true => {}
                false => self.advance_view(&everything, position),
            }
        }
    }

    /// Notes that a view reaches at least to this position.
    pub(crate) fn advance_view(&self, view: &LogView, position: Position) {
        if let Some(tail) = self.inner.views.get(view) {
            tail.advance(position);
        }
    }

    /// Has the settled position looked up for views without a project.
    pub(crate) fn notify_unsettled(&self) {
        self.inner.unsettled.notify_one();
    }

    /// Waits until entries were stored that followed views without a project show once they are settled.
    pub(crate) async fn unsettled(&self) {
        self.inner.unsettled.notified().await;
    }

    /// Notes that everything up to this position is settled.
    pub(crate) fn settle(&self, position: Position) {
        for output in [true, false] {
            self.advance_view(&LogView { project: None, output }, position);
        }
    }

    /// Returns the jobs and the views that somebody follows.
    pub(crate) fn followed(&self) -> (Vec<JobId>, Vec<LogView>) {
        (self.inner.jobs.keys_where(Tail::is_followed), self.inner.views.keys_where(Tail::is_followed))
    }

    /// Returns the tail of a job's log, made if nobody holds it yet.
    pub(crate) fn job(&self, id: &JobId) -> Arc<Tail> {
        self.inner.jobs.get_or_insert_with(id, || Tail::new(&self.inner.budget))
    }

    /// Returns the tail of a view, made if nobody holds it yet.
    pub(crate) fn view(&self, view: &LogView) -> Arc<Tail> {
        self.inner.views.get_or_insert_with(view, || Tail::new(&self.inner.budget))
    }
}
