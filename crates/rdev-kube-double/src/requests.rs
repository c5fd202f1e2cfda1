//! Log of requests.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context;
use tokio::sync::watch;

/// Most requests in the log; then the oldest is removed.
const REQUESTS_MAX: usize = 100_000;
/// Longest wait for a request.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// A request as the server understood it, refused ones included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// `get`, `list`, `watch`, `create`, `delete`; for other paths the HTTP method.
    pub verb: String,
    /// `pods`, `pods/exec`, `namespaces`, `selfsubjectaccessreviews`; for others the path.
    pub resource: String,
    /// Namespace in the path.
    pub namespace: Option<String>,
    /// Name in the path, or in the field selector.
    pub name: Option<String>,
    /// Label selector in the query.
    pub label_selector: Option<String>,
    /// Field selector in the query.
    pub field_selector: Option<String>,
    /// Resource version in the query.
    pub resource_version: Option<String>,
    /// Arguments of exec.
    pub command: Vec<String>,
    /// Verbs that had to be allowed: exec of 1.35 needs two.
    pub needs: Vec<String>,
    /// Name behind the token; `None` without a valid one.
    pub user: Option<String>,
    /// Time of arrival.
    pub at: Instant,
}

impl Request {
    /// Compares verb and resource: `is("list", "pods")`.
    pub fn is(&self, verb: &str, resource: &str) -> bool {
        self.verb == verb && self.resource == resource
    }
}

/// The requests of a cluster.
pub(crate) struct Requests {
    seen: Mutex<VecDeque<Request>>,
    changes: watch::Sender<()>,
}

impl Requests {
    pub(crate) fn new() -> Self {
        Self { seen: Mutex::default(), changes: watch::Sender::new(()) }
    }

    pub(crate) fn add(&self, request: Request) {
        let mut seen = self.seen();
        if seen.len() == REQUESTS_MAX {
            seen.pop_front();
        }
        seen.push_back(request);
        drop(seen);
        self.changes.send_replace(());
    }

    pub(crate) fn all(&self) -> Vec<Request> {
        self.seen().iter().cloned().collect()
    }

    pub(crate) fn count(&self, wanted: impl Fn(&Request) -> bool) -> usize {
        self.seen().iter().filter(|request| wanted(request)).count()
    }

    pub(crate) fn forget(&self) {
        self.seen().clear();
    }

    pub(crate) async fn find(&self, wanted: impl Fn(&Request) -> bool) -> anyhow::Result<Request> {
        let mut changes = self.changes.subscribe();
        let found = async {
            loop {
                changes.borrow_and_update();
                if let Some(found) = self.seen().iter().find(|request| wanted(request)) {
                    return Ok(found.clone());
                }
                changes.changed().await?;
            }
        };
        tokio::time::timeout(REQUEST_TIMEOUT, found).await.context("no such request came")?
    }

    fn seen(&self) -> MutexGuard<'_, VecDeque<Request>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
