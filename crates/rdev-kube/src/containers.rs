//! The containers in which commands can run: each is looked at once, when its pod becomes ready, by a task that holds up
//! nobody. Those who ask are told what is known.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use futures_util::{Stream, StreamExt};
use rdev_domain::{Condition, Failure, ProjectStatus, Reason};
use rdev_ports::{Clock, PodRef, Random, Reach, Readiness};
use tokio::sync::watch;
use tokio::time::timeout_at;

use crate::cluster::Cluster;
use crate::exec::Target;
use crate::labels::Role;
use crate::lock::lock;
use crate::looks::{Failed, Look, Running};
use crate::missing::Missing;
use crate::neighbours::Neighbours;
use crate::news::News;
use crate::pod::PodView;
use crate::registry::Registry;
use crate::runner::{Bundled, Runner};

/// Who asks for a container of which nothing is known waits for the look at it, until it has lasted so long: in a calm
/// cluster it is over by then, and nobody has to come again.
pub(crate) const LOOK_AWAITED: Duration = Duration::from_secs(1);
/// The reason of a status: its pod is ready, and programs cannot be started in it.
const NOT_REACHABLE: &str = "NotReachable";
/// The reason of a status: its pod is ready, and somebody looks whether programs can be started in it.
const NOT_YET_REACHED: &str = "NotYetReached";

/// Means that looks at containers need.
#[derive(Clone)]
pub(crate) struct Means {
    pub(crate) cluster: Cluster,
    pub(crate) bundled: Bundled,
    pub(crate) neighbours: Arc<Neighbours>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) random: Arc<dyn Random>,
}

/// Knowledge of containers, and the means of looks at them.
#[derive(Clone)]
pub(crate) struct Containers(Arc<Inner>);

struct Inner {
    means: Means,
    registry: Arc<Registry>,
    known: Mutex<Known>,
    became_ready: News<PodRef>,
}

#[derive(Default)]
struct Known {
    /// By pod and container, since a container that was started anew may have lost its folder of runs.
    looks: HashMap<ContainerKey, Look>,
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

impl Containers {
    pub(crate) fn new(means: Means, registry: Arc<Registry>) -> Self {
        Self(Arc::new(Inner { means, registry, known: Mutex::default(), became_ready: News::default() }))
    }

    /// Looks at each container whose pod becomes ready, before a command comes. It never ends.
    pub(crate) fn keep(&self) -> impl Future<Output = ()> + Send + use<> {
        let (containers, mut ready) = (self.clone(), Box::pin(self.0.registry.became_ready()));
        async move {
            while let Some(id) = ready.next().await {
                let pod = containers.0.registry.pod_of(&id);
                let Some(pod) = pod.filter(|pod| pod.status == ProjectStatus::Ready) else { continue };
                containers.look(&pod);
                containers.tell_if_ready(&pod);
            }
        }
    }

    /// Tells of sites that commands can run at from now on.
    pub(crate) fn became_ready(&self) -> impl Stream<Item = PodRef> + Send + use<> {
        self.0.became_ready.listen()
    }

    /// Tells whether commands can run in a pod whose container runs. One of which nothing is known is looked at, which is waited
    /// for until it has taken `awaited`.
    pub(crate) async fn readiness(&self, pod: PodView, awaited: Duration) -> Readiness {
        self.look(&pod);
        let news = match self.known().looks.get(&key(&pod)) {
            Some(Look::Running(running)) if running.is_news() => {
                Some((running.over.clone(), running.began + awaited))
            }
            _ => None,
        };
        if let Some((mut over, until)) = news {
            // Whichever comes first: what is known then is told.
            timeout_at(until, over.changed()).await.map(drop).unwrap_or_default();
        }
        self.told(&pod)
    }

    /// The status of a pod that is ready, from memory. One that may be looked at again is.
    pub(crate) fn status(&self, pod: &PodView) -> ProjectStatus {
        self.look(pod);
        let condition = |reason: &str, failure: Failure, since| Condition {
            reason: reason.to_owned(),
            message: failure.message,
            since,
        };
        let is_new = self.known().looks.get(&key(pod)).is_some_and(|look| look.failure().is_none());
        match self.told(pod) {
            Readiness::Ready(_) => ProjectStatus::Ready,
            Readiness::NotReady { cause: failure, since } if is_new => {
                ProjectStatus::Starting(condition(NOT_YET_REACHED, failure, since))
            }
            Readiness::NotReady { cause: failure, since } => {
                ProjectStatus::Failing(condition(NOT_REACHABLE, failure, since))
            }
            Readiness::Unusable { cause: failure } => {
                let since = self.known().looks.get(&key(pod)).and_then(|look| Some(look.failure()?.1));
                ProjectStatus::Failing(condition(NOT_REACHABLE, failure, since.unwrap_or(pod.created)))
            }
        }
    }

    /// The place of this identity, in a pod in which it was once, whatever that pod's phase, readiness and labels.
    pub(crate) async fn reach(&self, pod: PodView, pod_ref: &PodRef, uid: &str) -> Reach {
        let replaced = || Failure::new(Reason::PodLost, "the folder of its runs is gone, its end is unknown");
        match self.readiness(pod, LOOK_AWAITED).await {
            // Its own, or that of a pod before it.
            Readiness::Ready(place)
                if self.ready(&place.uid).is_some_and(|ready| ready.runner.has_runs_of(uid)) =>
            {
                Reach::Reachable(rdev_ports::Pod { pod_ref: pod_ref.clone(), uid: uid.to_owned(), ..place })
            }
            Readiness::Ready(_) => Reach::Lost(replaced()),
            Readiness::NotReady { cause: failure, since } => Reach::Unreachable { cause: failure, since },
            Readiness::Unusable { cause: failure } => {
                Reach::Unreachable { cause: failure, since: self.0.means.clock.now() }
            }
        }
    }

    /// How the runner of a place is called.
    pub(crate) fn ready(&self, identity: &str) -> Option<Ready> {
        self.known().ready.get(identity).cloned()
    }

    /// Tells whether a lack of memory ends every command of a pod at once, as far as it is known.
    pub(crate) fn kills_all(&self, pod_uid: &str) -> bool {
        let known = self.known();
        known.ready.values().any(|ready| ready.key.pod_uid == pod_uid && ready.runner.kills_all == Some(true))
    }

    /// A program could not be started there: its container, or its runner, may be another by now.
    pub(crate) fn look_again(&self, ready: &Ready) {
        let mut known = self.known();
        if matches!(known.looks.get(&ready.key), Some(Look::Ready(_))) {
            known.looks.remove(&ready.key);
        }
    }

    /// Ends all looks.
    pub(crate) fn close(&self) {
        self.known().looks.clear();
    }

    fn told(&self, pod: &PodView) -> Readiness {
        let known = self.known();
        let look = known.looks.get(&key(pod));
        if let Some(Look::Ready(runner)) = look {
            return ready(pod, runner);
        }
        if let Some(readiness) = look.and_then(Look::readiness) {
            return readiness;
        }
        let since = look.and_then(Look::since).unwrap_or_else(|| self.0.means.clock.now());
        let message = format!("pod {} runs, and rdev has yet to see whether programs start in it", pod.name);
        Readiness::NotReady { cause: Failure::new(Reason::PodNotReady, message), since }
    }

    /// Has a container looked at, unless somebody does, or has, or is to wait before he does so again.
    fn look(&self, pod: &PodView) {
        let key = key(pod);
        let mut known = self.known();
        let Some(before) = Look::due(known.looks.get(&key)) else { return };
        if !known.looks.contains_key(&key) {
            let registry = &self.0.registry;
            known.looks.retain(|key, _| registry.knows(&key.pod_uid));
            known.ready.retain(|_, ready| registry.knows(&ready.key.pod_uid));
        }
        let (is_over, over) = watch::channel(());
        let limit = Failed::limit(before.as_ref());
        let (containers, pod, of, seen) = (self.clone(), pod.clone(), key.clone(), before.clone());
        // It waits for the lock that is held here before it tells what it has found.
        let task = tokio::spawn(async move {
            let Means { cluster, bundled, neighbours, clock, .. } = &containers.0.means;
            let (target, cluster) = (cluster.target(&pod), cluster.with_limit(limit));
            let found = Runner::of(&cluster, *bundled, &target, &pod, neighbours, clock.now()).await;
            containers.found(of, target, found, seen.as_ref());
            drop(is_over);
            containers.tell_if_ready(&pod);
        });
        let running = Running::new(task.abort_handle(), over, before, self.0.means.clock.now());
        known.looks.insert(key, Look::Running(running));
    }

    /// The look at a container is over. One that nobody waits for any more has been ended.
    fn found(
        &self,
        key: ContainerKey,
        target: Target,
        found: Result<Runner, Missing>,
        before: Option<&Failed>,
    ) {
        let mut known = self.known();
        let is_ours = |look: &Look| matches!(look, Look::Running(running) if running.is(tokio::task::id()));
        if !known.looks.get(&key).is_some_and(is_ours) {
            return;
        }
        let look = match found {
            Ok(runner) => {
                let ready = Ready { target, runner: runner.clone(), key: key.clone() };
                // Runs of pods before this one are read here as well.
                let uids = runner.former.iter().chain([&runner.runs_uid]);
                known.ready.extend(uids.map(|uid| (uid.clone(), ready.clone())));
                Look::Ready(runner)
            }
            Err(missing) => {
                let cluster_answers = self.0.registry.is_blind().is_none();
                let (now, fraction) = (self.0.means.clock.now(), self.0.means.random.fraction());
                let failed = Failed::after(before, missing, cluster_answers, now, fraction);
                if before.is_none() {
                    let (failure, _) = failed.failure();
                    tracing::warn!(pod = target.pod, "commands cannot run there: {}", failure.message);
                }
                Look::Failed(failed)
            }
        };
        known.looks.insert(key, look);
    }

    fn tell_if_ready(&self, pod: &PodView) {
        // One that is to go is looked at as well, for what runs there.
        if let (Readiness::Ready(place), ProjectStatus::Ready) = (self.told(pod), &pod.status) {
            self.0.became_ready.tell(place.pod_ref);
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        lock(&self.0.known)
    }
}

fn key(pod: &PodView) -> ContainerKey {
    ContainerKey { pod_uid: pod.uid.clone(), container_id: pod.container_id.clone() }
}

fn ready(pod: &PodView, runner: &Runner) -> Readiness {
    let pod_ref = match pod.details.role {
        Role::Project => PodRef::Project(pod.details.project.clone()),
        Role::Worker => match pod.details.project.as_str().parse() {
            Ok(name) => PodRef::Worker(name),
            Err(error) => {
                return Readiness::Unusable { cause: Failure::new(Reason::PodNotReady, format!("{error}")) };
            }
        },
    };
    Readiness::Ready(rdev_ports::Pod {
        pod_ref,
        uid: runner.runs_uid.clone(),
        workspace: pod.details.workspace.clone(),
    })
}
