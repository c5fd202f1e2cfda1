//! The containers in which commands can run: each is looked at once, when its first command comes.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rdev_domain::{Reason, Timestamp, Trouble};
use rdev_ports::{Place, Reach, Site, Standing};

use crate::cluster::Cluster;
use crate::exec::Target;
use crate::labels::Role;
use crate::missing::InVain;
use crate::neighbours::Neighbours;
use crate::pod::PodView;
use crate::registry::Registry;
use crate::runner::{Bundled, Runner};

/// A container that cannot be used is looked at again after this time.
const LOOK_AGAIN: Duration = Duration::from_secs(10);

/// What is known of containers.
#[derive(Clone, Default)]
pub(crate) struct Places {
    known: Arc<Mutex<Known>>,
}

#[derive(Default)]
struct Known {
    /// By pod and container, since a container that was started anew may have lost its folder of runs.
    looks: HashMap<ContainerKey, Arc<Look>>,
    /// The containers that are ready, by the uid of their place.
    ready: HashMap<String, Ready>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct ContainerKey {
    pod_uid: String,
    container_id: String,
}

/// How a runner is called in a place.
#[derive(Debug, Clone)]
pub(crate) struct Ready {
    pub(crate) target: Target,
    pub(crate) runner: Runner,
    key: ContainerKey,
}

/// One container; whoever looks at it holds the lock, the others wait for what is seen.
#[derive(Default)]
struct Look {
    seen: tokio::sync::Mutex<Seen>,
}

#[derive(Default)]
enum Seen {
    #[default]
    Nothing,
    Ready(Runner),
    InVain(InVain),
}

impl Places {
    /// Whether commands can run in a pod whose container runs.
    pub(crate) async fn standing(
        &self,
        cluster: &Cluster,
        bundled: Bundled,
        registry: &Registry,
        neighbours: &Neighbours,
        pod: PodView,
        now: Timestamp,
    ) -> Standing {
        let key = ContainerKey { pod_uid: pod.uid.clone(), container_id: pod.container_id.clone() };
        let look = self.look(&key, registry);
        let mut seen = look.seen.lock().await;
        let before = match &*seen {
            Seen::Ready(runner) => return ready(pod, runner),
            Seen::InVain(looks) if looks.is_final && now.since(looks.at) < LOOK_AGAIN => {
                return looks.standing();
            }
            Seen::InVain(looks) => Some(looks),
            Seen::Nothing => None,
        };
        let target = cluster.target(&pod.name, &pod.details.container);
        match Runner::of(cluster, bundled, &target, &pod, neighbours, now).await {
            Ok(runner) => {
                *seen = Seen::Ready(runner.clone());
                let standing = ready(pod, &runner);
                // Runs of pods before this one are read here as well.
                let uids: Vec<String> = runner.former.iter().chain([&runner.runs_uid]).cloned().collect();
                let ready = Ready { target, runner, key };
                self.known().ready.extend(uids.into_iter().map(|uid| (uid, ready.clone())));
                standing
            }
            Err(missing) => {
                let cluster_answers = registry.is_blind().is_none();
                let looks = InVain::after(before, missing, cluster_answers, now);
                let standing = looks.standing();
                if let Standing::Unusable(trouble) = &standing {
                    tracing::warn!(pod = pod.name, "commands cannot run there: {}", trouble.message);
                }
                *seen = Seen::InVain(looks);
                standing
            }
        }
    }

    /// The place of this identity, in a pod in which it was once, whatever that pod's phase, readiness and labels.
    pub(crate) async fn reach(
        &self,
        cluster: &Cluster,
        bundled: Bundled,
        registry: &Registry,
        neighbours: &Neighbours,
        pod: PodView,
        place: (&Site, &str),
        now: Timestamp,
    ) -> Reach {
        let (site, uid) = place;
        let replaced = || Trouble::new(Reason::PodLost, "the folder of its runs is gone, its end is unknown");
        match self.standing(cluster, bundled, registry, neighbours, pod, now).await {
            // Its own, or that of a pod before it.
            Standing::Ready(place)
                if self.ready(&place.uid).is_some_and(|ready| ready.runner.has_runs_of(uid)) =>
            {
                Reach::There(Place { site: site.clone(), uid: uid.to_owned(), ..place })
            }
            Standing::Ready(_) => Reach::Gone(replaced()),
            Standing::Waiting(trouble, since) => Reach::Later(trouble, since),
            Standing::Unusable(trouble) => Reach::Later(trouble, now),
        }
    }

    /// How the runner of a place is called.
    pub(crate) fn ready(&self, place_uid: &str) -> Option<Ready> {
        self.known().ready.get(place_uid).cloned()
    }

    /// Tells whether a lack of memory ends every command of a pod at once, as far as it is known.
    pub(crate) fn kills_all(&self, pod_uid: &str) -> bool {
        let known = self.known();
        known.ready.values().any(|ready| ready.key.pod_uid == pod_uid && ready.runner.kills_all == Some(true))
    }

    /// A program could not be started there: its container, or its runner, may be another by now.
    pub(crate) fn look_again(&self, ready: &Ready) {
        self.known().looks.remove(&ready.key);
    }

    /// The look at a container; those of pods that are gone are forgotten.
    fn look(&self, key: &ContainerKey, registry: &Registry) -> Arc<Look> {
        let mut known = self.known();
        if !known.looks.contains_key(key) {
            known.looks.retain(|key, _| registry.knows(&key.pod_uid));
            known.ready.retain(|_, ready| registry.knows(&ready.key.pod_uid));
        }
        known.looks.entry(key.clone()).or_default().clone()
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn ready(pod: PodView, runner: &Runner) -> Standing {
    let site = match pod.details.role {
        Role::Project => Site::Project(pod.details.project),
        Role::Worker => match pod.details.project.as_str().parse() {
            Ok(name) => Site::Worker(name),
            Err(error) => return Standing::Unusable(Trouble::new(Reason::PodNotReady, format!("{error}"))),
        },
    };
    Standing::Ready(Place { site, uid: runner.runs_uid.clone(), workspace: pod.details.workspace })
}
