//! Fresh looks at pods, after something went wrong in them: the watch may tell later. Those who ask while one is asked for
//! are answered together, from one list: an API server that comes back is not asked a thousand times at once.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use futures_util::TryStreamExt;
use k8s_openapi::api::core::v1::Pod;
use rdev_ports::Clock;
use tokio::time::timeout;

use crate::cluster::{ANSWER_TIMEOUT, Cluster};
use crate::lock::lock;
use crate::lookup::look_at;
use crate::registry::{Registry, Unseen};

/// Brings the pods of a registry up to date, those that are asked for.
pub(crate) struct Fresh {
    cluster: Cluster,
    registry: Arc<Registry>,
    clock: Arc<dyn Clock>,
    /// The next batch, which waits for the answer to the one before.
    next: Mutex<Arc<Batch>>,
    /// One request at a time.
    turn: tokio::sync::Mutex<()>,
}

/// Pods that are asked for together.
#[derive(Default)]
struct Batch {
    /// Names, by uid.
    pods: Mutex<BTreeMap<String, String>>,
    answered: AtomicBool,
}

impl Fresh {
    pub(crate) fn new(cluster: Cluster, registry: Arc<Registry>, clock: Arc<dyn Clock>) -> Self {
        Self { cluster, registry, clock, next: Mutex::default(), turn: tokio::sync::Mutex::default() }
    }

    /// Has the registry learn how a pod stands now. It returns without that when the cluster does not answer.
    pub(crate) async fn look_at(&self, name: &str, uid: &str) {
        let batch = {
            let next = lock(&self.next);
            let mut pods = lock(&next.pods);
            pods.insert(uid.to_owned(), name.to_owned());
            next.clone()
        };
        // Whoever has the turn asks for all of his batch. Should he be dropped, the next of them does.
        let _turn = self.turn.lock().await;
        if batch.answered.load(Ordering::Acquire) {
            return;
        }
        *lock(&self.next) = Arc::default();
        let pods = lock(&batch.pods).clone();
        match timeout(ANSWER_TIMEOUT, self.ask(&pods)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(?pods, %error, "they cannot be looked at"),
            Err(_) => tracing::debug!(?pods, "they cannot be looked at: no answer"),
        }
        batch.answered.store(true, Ordering::Release);
    }

    async fn ask(&self, pods: &BTreeMap<String, String>) -> kube::Result<()> {
        if let Some((uid, name)) = pods.first_key_value()
            && pods.len() == 1
        {
            let pod = Unseen { name: name.clone(), uid: uid.clone() };
            look_at(&self.cluster, &self.registry, &*self.clock, &pod).await;
            return Ok(());
        }
        // All of them: one whose label was taken off is still there.
        let pages: Vec<_> = self.cluster.pages("").try_collect().await?;
        let there: Vec<Pod> = pages.into_iter().flat_map(|page| page.items).collect();
        let now = self.clock.now();
        let uid = |pod: &Pod| pod.metadata.uid.clone().unwrap_or_default();
        for pod in there.iter().filter(|pod| pods.contains_key(&uid(pod))) {
            self.registry.apply(pod, now);
        }
        for gone in pods.keys().filter(|gone| !there.iter().any(|pod| uid(pod) == **gone)) {
            self.registry.not_found(gone, now);
        }
        Ok(())
    }
}
