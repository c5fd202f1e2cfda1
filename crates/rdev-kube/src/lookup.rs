//! Looks at single pods, for what the watch does not tell, or not yet.

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
use crate::registry::{Registry, Unseen};

/// Pods that are looked at at once.
const LOOKS_MAX: usize = 8;

/// Looks at one pod.
pub(crate) async fn look_at(cluster: &Cluster, registry: &Registry, clock: &dyn Clock, pod: &Unseen) {
    let Unseen { name, uid } = pod;
    match timeout(ANSWER_TIMEOUT, cluster.pods().get_opt(name)).await {
        Ok(Ok(Some(pod))) if pod.metadata.uid.as_ref() == Some(uid) => registry.apply(&pod, clock.now()),
        Ok(Ok(_)) => registry.not_found(uid, clock.now()),
        Ok(Err(error)) => tracing::debug!(pod = name, %error, "it cannot be looked at"),
        Err(_) => tracing::debug!(pod = name, "it cannot be looked at: no answer"),
    }
}

/// Looks once at each of these. What is not answered in time stays doubtful: nothing is started in it, and it is looked
/// at again after the next list, or when something that runs in it is not reached.
pub(crate) async fn look_at_all(
    cluster: &Cluster,
    registry: &Registry,
    clock: &dyn Clock,
    pods: impl IntoIterator<Item = Unseen>,
) {
    let looks = iter(pods)
        .for_each_concurrent(LOOKS_MAX, |pod| async move { look_at(cluster, registry, clock, &pod).await });
    if timeout(ANSWER_TIMEOUT, looks).await.is_err() {
        tracing::debug!("not every pod was looked at");
    }
}

/// The names of all pods of the namespace, by uid: the way to one whose labels were changed while nobody watched. The
/// last list, and when it was asked for. Many that ask at once are answered by one.
#[derive(Default)]
pub(crate) struct Survey(Mutex<Option<(Instant, HashMap<String, String>)>>);

impl Survey {
    /// The name of the pod of this uid; `None` when there is no such pod now.
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
