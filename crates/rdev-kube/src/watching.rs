//! Keeps the registry current: a list, then watches from its version on.
//!
//! A watch that ends is restarted from the last version seen. Only where the cluster has discarded that
//! version (410), and periodically in case an event was missed, the list is read again. While no watch
//! works the list is read at least every half minute, so that jobs go on, and the registry records the
//! failure of the watch.
//!
//! kube's own watcher does not report the start of a watch, so a watch that always fails looks like one
//! without events; it retries a discarded version, and waits for an answer without a limit.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{WatchEvent, WatchParams};
use kube::runtime::watcher::DefaultBackoff;
use rdev_domain::Timestamp;
use rdev_ports::Clock;
use tokio::time::{Instant, sleep, timeout};

use crate::cluster::{CallError, Cluster};
use crate::labels::Role;
use crate::lookup::refresh_all;
use crate::registry::{Registry, Unwatched};

/// Period of a complete list, whatever the watch has reported.
const RESYNC: Duration = Duration::from_secs(600);
/// Period of a complete list while no watch works.
const RESYNC_WITHOUT_WATCH: Duration = Duration::from_secs(10);
/// Longest time for a page of the list, and for the start of a watch.
const LIST_TIMEOUT: Duration = Duration::from_secs(30);
const WATCH_START_TIMEOUT: Duration = Duration::from_secs(10);
/// The cluster ends a watch after this many seconds, and a new one is started.
const WATCH_SECONDS: u32 = 60;
/// A watch that is silent for this long, even past its end, is dead.
const SILENCE_MAX: Duration = Duration::from_secs(65);
/// A watch that ends sooner has failed, whatever it reports.
const WATCH_MIN: Duration = Duration::from_secs(1);
/// The client is rebuilt after this time without a watch: its certificates and tokens may have been
/// replaced.
const RENEW_AFTER: Duration = Duration::from_secs(60);
/// Longest pause after a failure; pauses grow up to it.
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// Watches until it is aborted.
pub(crate) async fn run(cluster: Cluster, role: Role, registry: Arc<Registry>, clock: Arc<dyn Clock>) {
    let mut watcher =
        Watcher { cluster, role, registry, clock, backoff: DefaultBackoff::default(), failing_since: None };
    loop {
        match watcher.list().await {
            Ok(version) => watcher.watch_from(version).await,
            Err(error) => watcher.failed(error).await,
        }
    }
}

struct Watcher {
    cluster: Cluster,
    role: Role,
    registry: Arc<Registry>,
    clock: Arc<dyn Clock>,
    backoff: DefaultBackoff,
    /// Start of the failure of the watch, with this client.
    failing_since: Option<Timestamp>,
}

impl Watcher {
    /// Reads the whole list, and returns its version.
    async fn list(&self) -> Result<String, CallError> {
        self.registry.list_begins();
        let mut pages = pin!(self.cluster.pages(self.role.selector()));
        let mut version = None;
        while let Some(page) = CallError::within(LIST_TIMEOUT, pages.try_next()).await? {
            let now = self.clock.now();
            page.items.iter().for_each(|pod| self.registry.listed(pod, now));
            version = page.metadata.resource_version;
        }
        self.refresh_all(self.registry.list_ended(self.clock.now())).await;
        Ok(version.unwrap_or_default())
    }

    /// Watches repeatedly, until the list has to be read again.
    async fn watch_from(&mut self, mut version: String) {
        let listed = Instant::now();
        let mut forgotten = false;
        while !forgotten
            && listed.elapsed() < if self.failing_since.is_some() { RESYNC_WITHOUT_WATCH } else { RESYNC }
        {
            if let Err(error) = self.watch(&mut version).await {
                forgotten = error.is_gone();
                self.failed(error).await;
            }
        }
    }

    /// Runs one watch to its end.
    async fn watch(&mut self, version: &mut String) -> Result<(), CallError> {
        let params = WatchParams::default().labels(self.role.selector()).timeout(WATCH_SECONDS);
        let pods = self.cluster.pods();
        let events = CallError::within(WATCH_START_TIMEOUT, pods.watch(&params, version)).await?;
        let mut events = pin!(events);
        let began = Instant::now();
        self.watch_restored();
        let mut received = false;
        while let Some(event) =
            timeout(SILENCE_MAX, events.next()).await.map_err(|_| CallError::Silent(SILENCE_MAX))?
        {
            let unwatched = self.apply(event?, version)?;
            self.refresh_all(unwatched).await;
            received = true;
        }
        match received || began.elapsed() >= WATCH_MIN {
            true => Ok(()),
            false => Err(CallError::Ended),
        }
    }

    /// Applies an event of the watch; returns a pod that left the watch for an unknown reason.
    fn apply(&self, event: WatchEvent<Pod>, version: &mut String) -> Result<Option<Unwatched>, CallError> {
        let (now, mut unwatched) = (self.clock.now(), None);
        let seen = match event {
            WatchEvent::Added(pod) | WatchEvent::Modified(pod) => {
                self.registry.apply(&pod, now);
                pod.metadata.resource_version
            }
            WatchEvent::Deleted(pod) => {
                unwatched = self.registry.deleted(&pod, now);
                pod.metadata.resource_version
            }
            WatchEvent::Bookmark(bookmark) => Some(bookmark.metadata.resource_version),
            WatchEvent::Error(status) => return Err(kube::Error::Api(status).into()),
        };
        if let Some(seen) = seen {
            *version = seen;
        }
        Ok(unwatched)
    }

    async fn refresh_all(&self, pods: impl IntoIterator<Item = Unwatched>) {
        refresh_all(&self.cluster, &self.registry, &*self.clock, pods).await;
    }

    fn watch_restored(&mut self) {
        self.registry.watch_restored();
        if self.failing_since.take().is_some() {
            tracing::info!(role = ?self.role, "watch of pods restored");
        }
    }

    /// Records a failure, and pauses before the retry.
    async fn failed(&mut self, error: CallError) {
        let now = self.clock.now();
        match self.failing_since {
            // The first failure is a warning, each further one a debug message.
            None => {
                tracing::warn!(role = ?self.role, %error, "watch of pods failed, retrying");
            }
            Some(_) => tracing::debug!(role = ?self.role, %error, "watch of pods still fails"),
        }
        self.registry.watch_failed(error, now);
        if now.since(*self.failing_since.get_or_insert(now)) >= RENEW_AFTER {
            self.failing_since = Some(now);
            if let Err(error) = self.cluster.renew().await {
                tracing::warn!(?error, "the cluster's client cannot be rebuilt");
            }
        }
        sleep(self.backoff.next().unwrap_or(PAUSE_MAX)).await;
    }
}
