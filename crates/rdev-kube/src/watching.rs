//! Keeps the registry current: a list, then watches from its version on.
//!
//! A watch that ends is begun again from the last version that was seen. Only where the cluster has forgotten that version
//! (410), and every now and then in case something was missed, the list is read anew. While no watch can be had the list
//! is read at least every half a minute, so that commands go on, and the registry knows that it is blind meanwhile.
//!
//! kube's own watcher does not tell that a watch has begun, so one that always fails looks like one where nothing
//! happens; it asks on from a version that is forgotten, and waits for an answer without a limit.

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
use crate::lookup::look_at_all;
use crate::registry::{Registry, Unseen};

/// The whole list is read again after this time, whatever the watch has told.
const RESYNC: Duration = Duration::from_secs(600);
/// While no watch can be had it is read again after this time.
const RESYNC_BLIND: Duration = Duration::from_secs(10);
/// Longest that a page of the list, and the beginning of a watch, may take.
const LIST_TIMEOUT: Duration = Duration::from_secs(30);
const WATCH_START_TIMEOUT: Duration = Duration::from_secs(10);
/// The cluster ends a watch after so many seconds, and it is begun anew.
const WATCH_SECONDS: u32 = 60;
/// One of which nothing is heard for so long, not even its end, is dead.
const SILENCE_MAX: Duration = Duration::from_secs(65);
/// One that ends sooner has failed, whatever it says.
const WATCH_MIN: Duration = Duration::from_secs(1);
/// The client is built anew after so long without a watch: certificates and tokens that it has read may be replaced.
const RENEW_AFTER: Duration = Duration::from_secs(60);
/// Longest pause after a failure; they grow up to it.
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// Watches until it is aborted.
pub(crate) async fn keep(cluster: Cluster, role: Role, registry: Arc<Registry>, clock: Arc<dyn Clock>) {
    let mut watcher =
        Watcher { cluster, role, registry, clock, backoff: DefaultBackoff::default(), blind_since: None };
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
    /// Nothing could be watched since then, with this client.
    blind_since: Option<Timestamp>,
}

impl Watcher {
    /// Reads the whole list, and gives its version.
    async fn list(&self) -> Result<String, CallError> {
        self.registry.list_begins();
        let mut pages = pin!(self.cluster.pages(self.role.selector()));
        let mut version = None;
        while let Some(page) = CallError::within(LIST_TIMEOUT, pages.try_next()).await? {
            let now = self.clock.now();
            page.items.iter().for_each(|pod| self.registry.listed(pod, now));
            version = page.metadata.resource_version;
        }
        self.look_at_all(self.registry.list_ended(self.clock.now())).await;
        Ok(version.unwrap_or_default())
    }

    /// Watches on and on, until the list is to be read anew.
    async fn watch_from(&mut self, mut version: String) {
        let listed = Instant::now();
        let mut forgotten = false;
        while !forgotten && listed.elapsed() < if self.blind_since.is_some() { RESYNC_BLIND } else { RESYNC }
        {
            if let Err(error) = self.watch(&mut version).await {
                forgotten = error.is_gone();
                self.failed(error).await;
            }
        }
    }

    /// One watch, to its end.
    async fn watch(&mut self, version: &mut String) -> Result<(), CallError> {
        let params = WatchParams::default().labels(self.role.selector()).timeout(WATCH_SECONDS);
        let pods = self.cluster.pods();
        let events = CallError::within(WATCH_START_TIMEOUT, pods.watch(&params, version)).await?;
        let mut events = pin!(events);
        let began = Instant::now();
        self.seeing();
        let mut heard = false;
        while let Some(event) =
            timeout(SILENCE_MAX, events.next()).await.map_err(|_| CallError::Silent(SILENCE_MAX))?
        {
            let unseen = self.take(event?, version)?;
            self.look_at_all(unseen).await;
            heard = true;
        }
        match heard || began.elapsed() >= WATCH_MIN {
            true => Ok(()),
            false => Err(CallError::Ended),
        }
    }

    /// Takes what the watch tells; gives a pod of which it does not tell what became.
    fn take(&self, event: WatchEvent<Pod>, version: &mut String) -> Result<Option<Unseen>, CallError> {
        let (now, mut unseen) = (self.clock.now(), None);
        let seen = match event {
            WatchEvent::Added(pod) | WatchEvent::Modified(pod) => {
                self.registry.apply(&pod, now);
                pod.metadata.resource_version
            }
            WatchEvent::Deleted(pod) => {
                unseen = self.registry.deleted(&pod, now);
                pod.metadata.resource_version
            }
            WatchEvent::Bookmark(bookmark) => Some(bookmark.metadata.resource_version),
            WatchEvent::Error(status) => return Err(kube::Error::Api(status).into()),
        };
        if let Some(seen) = seen {
            *version = seen;
        }
        Ok(unseen)
    }

    async fn look_at_all(&self, pods: impl IntoIterator<Item = Unseen>) {
        look_at_all(&self.cluster, &self.registry, &*self.clock, pods).await;
    }

    fn seeing(&mut self) {
        self.registry.seeing();
        if self.blind_since.take().is_some() {
            tracing::info!(role = ?self.role, "the cluster's pods are watched again");
        }
    }

    /// Tells of a failure, and waits before anything is tried again.
    async fn failed(&mut self, error: CallError) {
        let now = self.clock.now();
        match self.blind_since {
            // Once is told, the rest is for debugging.
            None => {
                tracing::warn!(role = ?self.role, %error, "the cluster's pods cannot be watched, trying again");
            }
            Some(_) => tracing::debug!(role = ?self.role, %error, "still not"),
        }
        self.registry.blind(error, now);
        if now.since(*self.blind_since.get_or_insert(now)) >= RENEW_AFTER {
            self.blind_since = Some(now);
            if let Err(error) = self.cluster.renew().await {
                tracing::warn!(?error, "the cluster's client cannot be built anew");
            }
        }
        sleep(self.backoff.next().unwrap_or(PAUSE_MAX)).await;
    }
}
