//! Reaches the pods of started jobs, by their uid.

use rdev_domain::{Error, Failure, Reason, Timestamp};
use rdev_ports::{PodRef, Reach, Readiness};
use tokio::time::timeout;

use crate::cluster::ANSWER_TIMEOUT;
use crate::pod::PodView;
use crate::pod_index::{End, GONE_SHOWN};
use crate::shared_runs::pod_of;
use crate::{Kube, id_of, waiting};

impl Kube {
    /// Reaches the pod of this identity, whatever its phase, readiness, labels and rivals.
    pub(crate) async fn reach_pod(&self, pod_ref: &PodRef, identity: &str) -> rdev_domain::Result<Reach> {
        let watched = self.wait_until_listed(pod_ref).await?;
        let (registry, pod_uid) = (&watched.registry, pod_of(identity));
        if !registry.watches(pod_uid) {
            self.refresh(pod_ref, pod_uid).await.map_err(|error| Error::unavailable("cluster", error))?;
        }
        if let Some(id) = id_of(pod_ref) {
            // Makes the project's jobs in that pod reachable.
            registry.was_of(pod_uid, &id, self.clock.now());
        }
        let reach = self.reach_known(pod_ref, identity).await;
        if !matches!(reach, Reach::Unreachable { .. }) {
            return Ok(reach);
        }
        // The index may be stale: the pod may be gone.
        self.refresh(pod_ref, pod_uid).await.map_err(|error| Error::unavailable("cluster", error))?;
        match registry.find(pod_uid) {
            Some(PodView { over: None, .. }) => Ok(reach),
            _ => Ok(self.reach_known(pod_ref, identity).await),
        }
    }

    /// Reaches a pod by what the registry knows of it.
    async fn reach_known(&self, pod_ref: &PodRef, identity: &str) -> Reach {
        let (watched, now) = (self.watched(pod_ref), self.clock.now());
        let pod = match self.pod_with_runs_of(pod_ref, pod_of(identity)) {
            Ok(pod) => pod,
            Err(Lost { failure, at, waits: true }) => {
                return Reach::Unreachable { cause: failure, since: at };
            }
            Err(Lost { failure, .. }) => return Reach::Lost(failure),
        };
        if !pod.runs {
            let message = format!("the container of pod {} does not run", pod.name);
            return match waiting(&pod.status) {
                Some(Readiness::NotReady { cause: failure, since }) => {
                    Reach::Unreachable { cause: failure, since }
                }
                _ => Reach::Unreachable { cause: Failure::new(Reason::PodNotReady, message), since: now },
            };
        }
        watched.containers.reach(pod, pod_ref, identity).await
    }

    /// Returns the pod that has the runs of the pod of this uid: that pod, or the next one where the
    /// folder outlives pods.
    fn pod_with_runs_of(&self, pod_ref: &PodRef, pod_uid: &str) -> Result<PodView, Lost> {
        let (registry, now) = (&self.watched(pod_ref).registry, self.clock.now());
        let (failure, at, waits) = match (registry.find(pod_uid), registry.end(pod_uid)) {
            (Some(PodView { over: Some(failure), details, .. }), _) => (failure, now, details.runs_outlive),
            (Some(pod), _) => return Ok(pod),
            (None, Some(End { failure, at, runs_outlive })) => {
                (failure, at, runs_outlive && now.since(at) <= GONE_SHOWN)
            }
            (None, None) => (Failure::new(Reason::PodLost, "its pod is gone"), now, false),
        };
        let next = id_of(pod_ref).and_then(|id| registry.pod_of(&id));
        match next.filter(|next| next.uid != pod_uid && next.over.is_none()) {
            Some(next) if next.details.runs_outlive => Ok(next),
            next => Err(Lost { failure, at, waits: waits && next.is_none() }),
        }
    }

    /// Refreshes the pod of this uid after a failure in it, or where the watch does not report it: the
    /// watch may be late, or the pod's labels may have changed.
    pub(crate) async fn refresh(&self, pod_ref: &PodRef, pod_uid: &str) -> anyhow::Result<()> {
        let watched = self.watched(pod_ref);
        let registry = &watched.registry;
        if let Some(pod) = registry.find(pod_uid) {
            watched.refresher.refresh(&pod.name, pod_uid).await;
            return Ok(());
        }
        if registry.end(pod_uid).is_some() {
            return Ok(());
        }
        let Some(name) = self.pod_names.name_of(pod_uid, &self.cluster).await? else {
            registry.not_found(pod_uid, self.clock.now());
            return Ok(());
        };
        let pod = timeout(ANSWER_TIMEOUT, self.cluster.pods().get_opt(&name)).await??;
        match (pod.filter(|pod| pod.metadata.uid.as_deref() == Some(pod_uid)), id_of(pod_ref)) {
            (Some(pod), Some(id)) => registry.adopt(&pod, id, self.clock.now()).map_err(anyhow::Error::msg),
            _ => {
                registry.not_found(pod_uid, self.clock.now());
                Ok(())
            }
        }
    }
}

/// No pod has the runs.
struct Lost {
    failure: Failure,
    at: Timestamp,
    /// True while a pod with the runs may still appear.
    waits: bool,
}
