//! Lookup of single pods that the watch does not report, or not yet.

use std::collections::HashMap;

use anyhow::anyhow;
use futures_util::stream::iter;
use futures_util::{StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::Pod;
use kube::core::ObjectList;
use rdev_ports::Clock;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use crate::cluster::{ANSWER_TIMEOUT, Cluster};
use crate::registry::{Registry, Unwatched};

/// Most concurrent lookups.
const LOOKUPS_MAX: usize = 8;

/// Refreshes one pod in the registry.
pub(crate) async fn refresh(cluster: &Cluster, registry: &Registry, clock: &dyn Clock, pod: &Unwatched) {
    let Unwatched { name, uid } = pod;
    match timeout(ANSWER_TIMEOUT, cluster.pods().get_opt(name)).await {
        Ok(Ok(Some(pod))) if pod.metadata.uid.as_ref() == Some(uid) => registry.apply(&pod, clock.now()),
        Ok(Ok(_)) => registry.not_found(uid, clock.now()),
        Ok(Err(error)) => tracing::debug!(pod = name, %error, "lookup of a pod failed"),
        Err(_) => tracing::debug!(pod = name, "lookup of a pod failed: no answer"),
    }
}

/// Refreshes each of these pods once. A pod without an answer in time stays doubtful: nothing starts in
/// it, and it is looked up again after the next list, or when a job in it is not reached.
pub(crate) async fn refresh_all(
    cluster: &Cluster,
    registry: &Registry,
    clock: &dyn Clock,
    pods: impl IntoIterator<Item = Unwatched>,
) {
    let lookups = iter(pods)
        .for_each_concurrent(LOOKUPS_MAX, |pod| async move { refresh(cluster, registry, clock, &pod).await });
    if timeout(ANSWER_TIMEOUT, lookups).await.is_err() {
        tracing::debug!("lookups of pods timed out");
    }
}

/// Cache of the last list of the namespace's pods: names by uid, and the time of the request. Finds a pod
/// whose labels were changed while no watch ran. Concurrent callers share one list.
#[derive(Default)]
pub(crate) struct PodNames(Mutex<Option<(Instant, HashMap<String, String>)>>);

impl PodNames {
    /// Returns the name of the pod of this uid; `None` when no such pod exists now.
    pub(crate) async fn name_of(&self, uid: &str, cluster: &Cluster) -> anyhow::Result<Option<String>> {
        let asked = Instant::now();
        let mut last = self.0.lock().await;
        if let Some((at, names)) = &*last
            && *at >= asked
        {
            return Ok(names.get(uid).cloned());
        }
        let at = Instant::now();
        let names = timeout(ANSWER_TIMEOUT, names(cluster))
            .await
            .map_err(|_| anyhow!("the cluster has not listed its pods within {ANSWER_TIMEOUT:?}"))??;
        let name = names.get(uid).cloned();
        *last = Some((at, names));
        Ok(name)
    }
}

async fn names(cluster: &Cluster) -> kube::Result<HashMap<String, String>> {
    let of = |page: ObjectList<Pod>| {
        page.items.into_iter().filter_map(|pod| Some(Ok((pod.metadata.uid?, pod.metadata.name?))))
    };
    cluster.pages("").map_ok(|page| iter(of(page))).try_flatten().try_collect().await
}
