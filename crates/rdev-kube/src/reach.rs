//! Reaches the places of what was started, by the uid of their pod.

use std::time::Duration;

use rdev_domain::{Error, Reason, Result, Trouble};
use rdev_ports::{Place, Pods, Reach, Site, Standing};
use tokio::time::timeout;

use crate::cluster::ANSWER_TIMEOUT;
use crate::lookup;
use crate::pod::PodView;
use crate::registry::Missing;
use crate::{Kube, id_of, waiting};

/// The next pod of a site, which has the folder of runs of the one before, is waited for so long.
const HEIR_PATIENCE: Duration = Duration::from_secs(300);

impl Kube {
    /// The place of this identity, whatever its pod's phase, readiness, labels and rivals; or, once its pod is gone, where
    /// its folder of runs is by now.
    pub(crate) async fn reach_place(&self, site: &Site, place_uid: &str) -> Result<Reach> {
        match self.reach_own(site, place_uid).await? {
            Reach::Gone(trouble) => self.reach_heir(site, place_uid, trouble).await,
            reach => Ok(reach),
        }
    }

    /// The next pod of a site may have the folder of runs of the one before, on a claim: what was written there is read to
    /// its end. Such a pod is waited for.
    async fn reach_heir(&self, site: &Site, place_uid: &str, trouble: Trouble) -> Result<Reach> {
        let watched = self.watched(site);
        let standing = self.place(site).await?;
        Ok(match standing {
            Some(Standing::Ready(place)) if watched.places.has_been(place_uid) => {
                Reach::There(Place { uid: place_uid.to_owned(), ..place })
            }
            Some(Standing::Waiting(_, since))
                if self.keeps_runs(site, place_uid) && self.clock.now().since(since) < HEIR_PATIENCE =>
            {
                Reach::Later(trouble, since)
            }
            _ => Reach::Gone(trouble),
        })
    }

    /// Tells whether the folder of runs of a pod that is gone may come again, as its own volumes have told, or those of the
    /// pod that has come in its stead.
    fn keeps_runs(&self, site: &Site, place_uid: &str) -> bool {
        let registry = &self.watched(site).registry;
        let next = || id_of(site).and_then(|id| registry.pod_of(&id)).is_some_and(|pod| pod.keeps_runs);
        registry.keeps_runs(pod_uid_of(place_uid)) || next()
    }

    async fn reach_own(&self, site: &Site, place_uid: &str) -> Result<Reach> {
        let watched = self.once_listed(site).await?;
        let (registry, pod_uid) = (&watched.registry, pod_uid_of(place_uid));
        if !registry.watches(pod_uid) {
            self.look_at(site, pod_uid).await.map_err(|error| Error::unavailable("cluster", error))?;
        }
        let reach = self.reach_known(site, place_uid, registry.find(pod_uid)).await;
        if !matches!(reach, Reach::Later(..)) {
            return Ok(reach);
        }
        // What is known may be old: the pod may be gone, or its container.
        self.look_at(site, pod_uid).await.map_err(|error| Error::unavailable("cluster", error))?;
        match registry.find(pod_uid) {
            Some(PodView { over: None, .. }) => Ok(reach),
            pod => Ok(self.reach_known(site, place_uid, pod).await),
        }
    }

    /// Reaches a place in a pod as it is known, `None` when it is gone.
    async fn reach_known(&self, site: &Site, place_uid: &str, pod: Option<PodView>) -> Reach {
        let (watched, now) = (self.watched(site), self.clock.now());
        let Some(pod) = pod else {
            let unknown = || Trouble::new(Reason::PodLost, "its pod is gone");
            return Reach::Gone(watched.registry.end(pod_uid_of(place_uid)).unwrap_or_else(unknown));
        };
        if let Some(trouble) = pod.over {
            return Reach::Gone(trouble);
        }
        if !pod.runs {
            let message = format!("the container of its pod {} does not run", pod.name);
            return match waiting(&pod.status) {
                Some(Standing::Waiting(trouble, since)) => Reach::Later(trouble, since),
                _ => Reach::Later(Trouble::new(Reason::PodNotReady, message), now),
            };
        }
        let (places, registry, place) = (&watched.places, &watched.registry, (site, place_uid));
        let neighbours = &self.neighbours;
        places.reach(&self.cluster, self.bundled, registry, neighbours, pod, place, now).await
    }

    /// A fresh look at the pod of this uid, after something went wrong in it, or where the watch does not tell of it: it
    /// may tell later, or the pod's labels may have been changed.
    pub(crate) async fn look_at(&self, site: &Site, pod_uid: &str) -> anyhow::Result<()> {
        let registry = &self.watched(site).registry;
        let uid = pod_uid.to_owned();
        if let Some(PodView { name, .. }) = registry.find(pod_uid) {
            lookup::look_at(&self.cluster, registry, &*self.clock, &Missing { name, uid }).await;
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
            (Some(pod), Some(id)) => registry.found(&pod, id).map_err(anyhow::Error::msg),
            _ => Ok(registry.not_found(pod_uid, self.clock.now())),
        }
    }
}

/// The identity of a folder of runs begins with the pod in which it was made.
pub(crate) fn pod_uid_of(place_uid: &str) -> &str {
    place_uid.split('.').next().unwrap_or_default()
}
