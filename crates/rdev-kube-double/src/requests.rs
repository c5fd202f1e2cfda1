//! What clients have asked for.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context;
use tokio::sync::watch;

/// Requests that are remembered; then the oldest is forgotten.
const REQUESTS_MAX: usize = 100_000;
/// A request that is waited for longer than this will not come.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// A request as the server understood it, also one that it refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// `get`, `list`, `watch`, `create`, `delete`; of another path the HTTP method.
    pub verb: String,
    /// `pods`, `pods/exec`, `namespaces`, `selfsubjectaccessreviews`; of others the path.
    pub resource: String,
    /// From the path.
    pub namespace: Option<String>,
    /// From the path, or the one that the field selector asks for.
    pub name: Option<String>,
    /// From the query.
    pub label_selector: Option<String>,
    /// From the query.
    pub field_selector: Option<String>,
    /// From the query.
    pub resource_version: Option<String>,
    /// Of exec.
    pub command: Vec<String>,
    /// The verbs that it had to be allowed: exec of 1.35 needs two.
    pub needs: Vec<String>,
    /// Name behind the token; `None` without a valid one.
    pub user: Option<String>,
    /// When it came.
    pub at: Instant,
}

impl Request {
    /// `is("list", "pods")`.
    pub fn is(&self, verb: &str, resource: &str) -> bool {
        self.verb == verb && self.resource == resource
    }
}

/// The requests of a cluster.
pub(crate) struct Requests {
    seen: Mutex<VecDeque<Request>>,
    bell: watch::Sender<()>,
}

impl Requests {
    pub(crate) fn new() -> Self {
        Self { seen: Mutex::default(), bell: watch::Sender::new(()) }
    }

    pub(crate) fn add(&self, request: Request) {
        let mut seen = self.seen();
        if seen.len() == REQUESTS_MAX {
            seen.pop_front();
        }
        seen.push_back(request);
        drop(seen);
        self.bell.send_replace(());
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
        let mut bell = self.bell.subscribe();
        let found = async {
            loop {
                bell.borrow_and_update();
                if let Some(found) = self.seen().iter().find(|request| wanted(request)) {
                    return Ok(found.clone());
                }
                bell.changed().await?;
            }
        };
        tokio::time::timeout(REQUEST_TIMEOUT, found).await.context("no such request came")?
    }

    fn seen(&self) -> MutexGuard<'_, VecDeque<Request>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
