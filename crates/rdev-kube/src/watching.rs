//! Keeps the registry current: a list, then a watch from its version on.
//!
//! A connection that is cut is watched on from the last version that was seen. Only where the cluster has
//! forgotten that version (410), and every now and then in case something was missed, the list is read anew.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{Config, Error, Event, watcher};
use rdev_ports::Clock;
use tokio::time::sleep;

use crate::cluster::Cluster;
use crate::labels::Role;
use crate::lookup::look_at_all;
use crate::registry::{Missing, Registry};

/// The whole list is read again after this time, whatever the watch has told.
const RESYNC: Duration = Duration::from_secs(600);
/// Pods that one answer to a list carries.
const PAGE: u32 = 500;
/// The cluster ends a watch after so many seconds, and it is begun anew: an unnoticed death ends with it.
const WATCH_SECONDS: u32 = 60;

/// Watches until it is aborted.
pub(crate) async fn keep(cluster: Cluster, role: Role, registry: Arc<Registry>, clock: Arc<dyn Clock>) {
    loop {
        let config = Config::default().labels(role.selector()).page_size(PAGE).timeout(WATCH_SECONDS);
        let mut events = watcher(cluster.pods(), config).default_backoff().boxed();
        let resync = sleep(RESYNC);
        tokio::pin!(resync);
        let mut failing = false;
        loop {
            let event = tokio::select! {
                event = events.next() => event,
                () = &mut resync => break,
            };
            match event {
                Some(Ok(event)) => {
                    if std::mem::take(&mut failing) {
                        tracing::info!("the cluster's pods are watched again");
                    }
                    let missing = take(&registry, event, &*clock);
                    look_at_all(&cluster, &registry, &*clock, missing).await;
                }
                Some(Err(error)) => {
                    registry.failing(clock.now());
                    // Trying again is the stream's own work; once is told, the rest is for debugging.
                    if !std::mem::replace(&mut failing, true) {
                        tracing::warn!(%error, "the cluster's pods cannot be watched, trying again");
                    } else {
                        tracing::debug!(%error, "still not");
                    }
                    // The stream itself would go on to ask from the version that is forgotten.
                    if is_forgotten(&error) {
                        break;
                    }
                }
                None => break,
            }
        }
    }
}

/// Takes what the watch tells; gives the pods that are to be looked at, since it does not tell what became of them.
fn take(
    registry: &Registry,
    event: Event<k8s_openapi::api::core::v1::Pod>,
    clock: &dyn Clock,
) -> Vec<Missing> {
    let now = clock.now();
    match event {
        Event::Init => registry.list_begins(),
        Event::InitApply(pod) => registry.listed(&pod, now),
        Event::InitDone => return registry.list_ended(now),
        Event::Apply(pod) => registry.apply(&pod, now),
        Event::Delete(pod) => return registry.deleted(&pod, now).into_iter().collect(),
    }
    Vec::new()
}

/// Whether a watch could not be begun since the cluster has forgotten the version that was seen last.
fn is_forgotten(error: &Error) -> bool {
    matches!(error, Error::WatchStartFailed(kube::Error::Api(status)) if status.code == 410)
}
