//! Refresh of single pods after a failure in them, since the watch may report later. Concurrent requests
//! are batched and answered from one list: an API server that restarts does not receive a thousand
//! requests at once.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use futures_util::TryStreamExt;
use k8s_openapi::api::core::v1::Pod;
use rdev_ports::Clock;
use tokio::time::timeout;

use crate::cluster::{ANSWER_TIMEOUT, Cluster};
use crate::lock::lock;
use crate::lookup::refresh;
use crate::registry::{Registry, Unwatched};

/// Refreshes the pods of a registry on request.
pub(crate) struct PodRefresher {
    cluster: Cluster,
    registry: Arc<Registry>,
    clock: Arc<dyn Clock>,
    /// The next batch, which waits for the answer to the one before.
    next: Mutex<Arc<Batch>>,
    /// Held by the one request in flight.
    in_flight: tokio::sync::Mutex<()>,
}

/// Pods that are requested together.
#[derive(Default)]
struct Batch {
    /// Names, by uid.
    pods: Mutex<BTreeMap<String, String>>,
    answered: AtomicBool,
}

impl PodRefresher {
    pub(crate) fn new(cluster: Cluster, registry: Arc<Registry>, clock: Arc<dyn Clock>) -> Self {
        Self { cluster, registry, clock, next: Mutex::default(), in_flight: tokio::sync::Mutex::default() }
    }

    /// Refreshes a pod in the registry. Changes nothing when the cluster does not answer.
    pub(crate) async fn refresh(&self, name: &str, uid: &str) {
        let batch = {
            let next = lock(&self.next);
            let mut pods = lock(&next.pods);
            pods.insert(uid.to_owned(), name.to_owned());
            next.clone()
        };
        // The holder of the lock refreshes its whole batch. When it is dropped, the next waiter does.
        let _in_flight = self.in_flight.lock().await;
        if batch.answered.load(Ordering::Acquire) {
            return;
        }
        *lock(&self.next) = Arc::default();
        let pods = lock(&batch.pods).clone();
        match timeout(ANSWER_TIMEOUT, self.fetch(&pods)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(?pods, %error, "refresh of pods failed"),
            Err(_) => tracing::debug!(?pods, "refresh of pods failed: no answer"),
        }
        batch.answered.store(true, Ordering::Release);
    }

    async fn fetch(&self, pods: &BTreeMap<String, String>) -> kube::Result<()> {
        if let Some((uid, name)) = pods.first_key_value()
            && pods.len() == 1
        {
            let pod = Unwatched { name: name.clone(), uid: uid.clone() };
            refresh(&self.cluster, &self.registry, &*self.clock, &pod).await;
            return Ok(());
        }
        // Lists all pods: one whose label was removed still exists.
        let pages: Vec<_> = self.cluster.pages("").try_collect().await?;
        let existing: Vec<Pod> = pages.into_iter().flat_map(|page| page.items).collect();
        let now = self.clock.now();
        let uid = |pod: &Pod| pod.metadata.uid.clone().unwrap_or_default();
        for pod in existing.iter().filter(|pod| pods.contains_key(&uid(pod))) {
            self.registry.apply(pod, now);
        }
        for gone in pods.keys().filter(|gone| !existing.iter().any(|pod| uid(pod) == **gone)) {
            self.registry.not_found(gone, now);
        }
        Ok(())
    }
}
