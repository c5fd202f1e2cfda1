//! Reaches the places of what was started, by the uid of their pod.

use rdev_domain::{Error, Reason, Timestamp, Trouble};
use rdev_ports::{Reach, Site, Standing};
use tokio::time::timeout;

use crate::cluster::ANSWER_TIMEOUT;
use crate::known::{End, GONE_SHOWN};
use crate::neighbours::pod_of;
use crate::pod::PodView;
use crate::{Kube, id_of, waiting};

impl Kube {
    /// The place of this identity, whatever its pod's phase, readiness, labels and rivals.
    pub(crate) async fn reach_place(&self, site: &Site, place_uid: &str) -> rdev_domain::Result<Reach> {
        let watched = self.once_listed(site).await?;
        let (registry, pod_uid) = (&watched.registry, pod_of(place_uid));
        if !registry.watches(pod_uid) {
            self.look_at(site, pod_uid).await.map_err(|error| Error::unavailable("cluster", error))?;
        }
        if let Some(id) = id_of(site) {
            // So that what runs there for the project can be asked for.
            registry.was_of(pod_uid, &id, self.clock.now());
        }
        let reach = self.reach_known(site, place_uid).await;
        if !matches!(reach, Reach::Later(..)) {
            return Ok(reach);
        }
        // What is known may be old: the pod may be gone.
        self.look_at(site, pod_uid).await.map_err(|error| Error::unavailable("cluster", error))?;
        match registry.find(pod_uid) {
            Some(PodView { over: None, .. }) => Ok(reach),
            _ => Ok(self.reach_known(site, place_uid).await),
        }
    }

    /// Reaches a place, by what is known of its pod.
    async fn reach_known(&self, site: &Site, place_uid: &str) -> Reach {
        let (watched, now) = (self.watched(site), self.clock.now());
        let pod = match self.pod_with_runs_of(site, pod_of(place_uid)) {
            Ok(pod) => pod,
            Err(Lost { trouble, at, waits: true }) => return Reach::Later(trouble, at),
            Err(Lost { trouble, .. }) => return Reach::Gone(trouble),
        };
        if !pod.runs {
            let message = format!("the container of its pod {} does not run", pod.name);
            return match waiting(&pod.status) {
                Some(Standing::Waiting(trouble, since)) => Reach::Later(trouble, since),
                _ => Reach::Later(Trouble::new(Reason::PodNotReady, message), now),
            };
        }
        watched.places.reach(pod, site, place_uid).await
    }

    /// The pod in which the runs of the pod of this uid are: that one, or the next, where their folder outlives pods.
    fn pod_with_runs_of(&self, site: &Site, pod_uid: &str) -> Result<PodView, Lost> {
        let (registry, now) = (&self.watched(site).registry, self.clock.now());
        let (trouble, at, waits) = match (registry.find(pod_uid), registry.end(pod_uid)) {
            (Some(PodView { over: Some(trouble), details, .. }), _) => (trouble, now, details.runs_outlive),
            (Some(pod), _) => return Ok(pod),
            (None, Some(End { trouble, at, runs_outlive })) => {
                (trouble, at, runs_outlive && now.since(at) <= GONE_SHOWN)
            }
            (None, None) => (Trouble::new(Reason::PodLost, "its pod is gone"), now, false),
        };
        let next = id_of(site).and_then(|id| registry.pod_of(&id));
        match next.filter(|next| next.uid != pod_uid && next.over.is_none()) {
            Some(next) if next.details.runs_outlive => Ok(next),
            next => Err(Lost { trouble, at, waits: waits && next.is_none() }),
        }
    }

    /// A fresh look at the pod of this uid, after something went wrong in it, or where the watch does not tell of it: it
    /// may tell later, or the pod's labels may have been changed.
    pub(crate) async fn look_at(&self, site: &Site, pod_uid: &str) -> anyhow::Result<()> {
        let watched = self.watched(site);
        let registry = &watched.registry;
        if let Some(pod) = registry.find(pod_uid) {
            watched.fresh.look_at(&pod.name, pod_uid).await;
            return Ok(());
        }
        if registry.end(pod_uid).is_some() {
            return Ok(());
        }
        let Some(name) = self.survey.name_of(pod_uid, &self.cluster).await? else {
            registry.not_found(pod_uid, self.clock.now());
            return Ok(());
        };
        let pod = timeout(ANSWER_TIMEOUT, self.cluster.pods().get_opt(&name)).await??;
        match (pod.filter(|pod| pod.metadata.uid.as_deref() == Some(pod_uid)), id_of(site)) {
            (Some(pod), Some(id)) => registry.found(&pod, id, self.clock.now()).map_err(anyhow::Error::msg),
            _ => {
                registry.not_found(pod_uid, self.clock.now());
                Ok(())
            }
        }
    }
}

/// No pod has the runs.
struct Lost {
    trouble: Trouble,
    at: Timestamp,
    /// One may come that has.
    waits: bool,
}
