//! Containers in which jobs can run. Each is probed once, when its pod becomes ready, by a background
//! task; queries are answered from the cache.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use futures_util::{Stream, StreamExt};
use rdev_domain::{Condition, Failure, ProjectStatus, Reason};
use rdev_ports::{Clock, PodRef, Random, Reach, Readiness};
use tokio::sync::watch;
use tokio::time::timeout_at;

use crate::broadcast::Broadcast;
use crate::cluster::Cluster;
use crate::exec::ExecTarget;
use crate::labels::Role;
use crate::lock::lock;
use crate::pod::PodView;
use crate::probe::{Failed, ProbeState, Running};
use crate::registry::Registry;
use crate::runner::{Bundled, Runner};
use crate::runner_error::RunnerError;
use crate::shared_runs::SharedRuns;

/// Longest time for which a query waits for the first probe of a container: in a calm cluster the probe
/// ends sooner, and no caller has to retry.
pub(crate) const PROBE_AWAITED: Duration = Duration::from_secs(1);
/// Reason of a status: the pod is ready, and programs cannot be started in it.
const NOT_REACHABLE: &str = "NotReachable";
/// Reason of a status: the pod is ready, and its first probe is running.
const NOT_YET_REACHED: &str = "NotYetReached";

/// Dependencies of probes.
#[derive(Clone)]
pub(crate) struct ProbeContext {
    pub(crate) cluster: Cluster,
    pub(crate) bundled: Bundled,
    pub(crate) shared_runs: Arc<SharedRuns>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) random: Arc<dyn Random>,
}

/// Cache of probes, and their dependencies.
#[derive(Clone)]
pub(crate) struct Containers(Arc<Inner>);

struct Inner {
    context: ProbeContext,
    registry: Arc<Registry>,
    cache: Mutex<Cache>,
    became_ready: Broadcast<PodRef>,
}

#[derive(Default)]
struct Cache {
    /// By pod and container, since a restarted container may have lost its folder of runs.
    probes: HashMap<ContainerKey, ProbeState>,
    /// The containers that are ready, by the identity of their folder of runs.
    ready: HashMap<String, Ready>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct ContainerKey {
    pod_uid: String,
    container_id: String,
}

/// A usable runner, with its container.
#[derive(Debug, Clone)]
pub(crate) struct Ready {
    pub(crate) target: ExecTarget,
    pub(crate) runner: Runner,
    key: ContainerKey,
}

impl Containers {
    pub(crate) fn new(context: ProbeContext, registry: Arc<Registry>) -> Self {
        Self(Arc::new(Inner {
            context,
            registry,
            cache: Mutex::default(),
            became_ready: Broadcast::default(),
        }))
    }

    /// Probes each container whose pod becomes ready, before the first job. Never ends.
    pub(crate) fn run(&self) -> impl Future<Output = ()> + Send + use<> {
        let (containers, mut ready) = (self.clone(), Box::pin(self.0.registry.became_ready()));
        async move {
            while let Some(id) = ready.next().await {
                let pod = containers.0.registry.pod_of(&id);
                let Some(pod) = pod.filter(|pod| pod.status == ProjectStatus::Ready) else { continue };
                containers.probe(&pod);
                containers.broadcast_if_ready(&pod);
            }
        }
    }

    /// Returns a stream of pods in which jobs can run from now on.
    pub(crate) fn became_ready(&self) -> impl Stream<Item = PodRef> + Send + use<> {
        self.0.became_ready.subscribe()
    }

    /// Returns the readiness of a pod whose container runs. Probes an unknown container, and waits for
    /// the result until the probe has taken `awaited`.
    pub(crate) async fn readiness(&self, pod: PodView, awaited: Duration) -> Readiness {
        self.probe(&pod);
        let pending = match self.cache().probes.get(&key(&pod)) {
            Some(ProbeState::Running(running)) if running.is_first_answer() => {
                Some((running.over.clone(), running.began + awaited))
            }
            _ => None,
        };
        if let Some((mut over, until)) = pending {
            // At the limit the current knowledge is returned.
            timeout_at(until, over.changed()).await.map(drop).unwrap_or_default();
        }
        self.cached_readiness(&pod)
    }

    /// Returns the status of a ready pod from the cache. Starts a probe when one is due.
    pub(crate) fn status(&self, pod: &PodView) -> ProjectStatus {
        self.probe(pod);
        let condition = |reason: &str, failure: Failure, since| Condition {
            reason: reason.to_owned(),
            message: failure.message,
            since,
        };
        let is_new = self.cache().probes.get(&key(pod)).is_some_and(|state| state.failure().is_none());
        match self.cached_readiness(pod) {
            Readiness::Ready(_) => ProjectStatus::Ready,
            Readiness::NotReady { cause: failure, since } if is_new => {
                ProjectStatus::Starting(condition(NOT_YET_REACHED, failure, since))
            }
            Readiness::NotReady { cause: failure, since } => {
                ProjectStatus::Failing(condition(NOT_REACHABLE, failure, since))
            }
            Readiness::Unusable { cause: failure } => {
                let since = self.cache().probes.get(&key(pod)).and_then(|state| Some(state.failure()?.1));
                ProjectStatus::Failing(condition(NOT_REACHABLE, failure, since.unwrap_or(pod.created)))
            }
        }
    }

    /// Reaches the pod with this identity, in a pod that once had it, whatever that pod's phase,
    /// readiness and labels.
    pub(crate) async fn reach(&self, pod: PodView, pod_ref: &PodRef, uid: &str) -> Reach {
        let replaced = || Failure::new(Reason::PodLost, "the folder of runs is gone, so the end is unknown");
        match self.readiness(pod, PROBE_AWAITED).await {
            // Its own identity, or that of a pod before it.
            Readiness::Ready(ready_pod)
                if self.ready(&ready_pod.uid).is_some_and(|ready| ready.runner.has_runs_of(uid)) =>
            {
                Reach::Reachable(rdev_ports::Pod {
                    pod_ref: pod_ref.clone(),
                    uid: uid.to_owned(),
                    ..ready_pod
                })
            }
            Readiness::Ready(_) => Reach::Lost(replaced()),
            Readiness::NotReady { cause: failure, since } => Reach::Unreachable { cause: failure, since },
            Readiness::Unusable { cause: failure } => {
                Reach::Unreachable { cause: failure, since: self.0.context.clock.now() }
            }
        }
    }

    /// Returns how the runner of a pod is called.
    pub(crate) fn ready(&self, identity: &str) -> Option<Ready> {
        self.cache().ready.get(identity).cloned()
    }

    /// Tells whether a lack of memory ends every job of a pod at once, as far as that is known.
    pub(crate) fn kills_all(&self, pod_uid: &str) -> bool {
        let cache = self.cache();
        cache.ready.values().any(|ready| ready.key.pod_uid == pod_uid && ready.runner.kills_all == Some(true))
    }

    /// Discards the probe of a container in which a program could not be started: the container or its
    /// runner may have been replaced.
    pub(crate) fn invalidate(&self, ready: &Ready) {
        let mut cache = self.cache();
        if matches!(cache.probes.get(&ready.key), Some(ProbeState::Ready(_))) {
            cache.probes.remove(&ready.key);
        }
    }

    /// Aborts all probes.
    pub(crate) fn close(&self) {
        self.cache().probes.clear();
    }

    fn cached_readiness(&self, pod: &PodView) -> Readiness {
        let cache = self.cache();
        let state = cache.probes.get(&key(pod));
        if let Some(ProbeState::Ready(runner)) = state {
            return ready(pod, runner);
        }
        if let Some(readiness) = state.and_then(ProbeState::readiness) {
            return readiness;
        }
        let since = state.and_then(ProbeState::since).unwrap_or_else(|| self.0.context.clock.now());
        let message = format!("pod {} runs; the probe of its container has not ended yet", pod.name);
        Readiness::NotReady { cause: Failure::new(Reason::PodNotReady, message), since }
    }

    /// Starts a probe of the container, unless one runs, has succeeded, or is not due yet.
    fn probe(&self, pod: &PodView) {
        let key = key(pod);
        let mut cache = self.cache();
        let Some(before) = ProbeState::due(cache.probes.get(&key)) else { return };
        if !cache.probes.contains_key(&key) {
            let registry = &self.0.registry;
            cache.probes.retain(|key, _| registry.knows(&key.pod_uid));
            cache.ready.retain(|_, ready| registry.knows(&ready.key.pod_uid));
        }
        let (is_over, over) = watch::channel(());
        let limit = Failed::limit(before.as_ref());
        let (containers, pod, of, seen) = (self.clone(), pod.clone(), key.clone(), before.clone());
        // The task waits for the lock held here before it stores its result.
        let task = tokio::spawn(async move {
            let ProbeContext { cluster, bundled, shared_runs, clock, .. } = &containers.0.context;
            let (target, cluster) = (cluster.target(&pod), cluster.with_limit(limit));
            let found = Runner::of(&cluster, *bundled, &target, &pod, shared_runs, clock.now()).await;
            containers.probed(of, target, found, seen.as_ref());
            drop(is_over);
            containers.broadcast_if_ready(&pod);
        });
        let running = Running::new(task.abort_handle(), over, before, self.0.context.clock.now());
        cache.probes.insert(key, ProbeState::Running(running));
    }

    /// Stores the result of a probe. A probe that was replaced stores nothing.
    fn probed(
        &self,
        key: ContainerKey,
        target: ExecTarget,
        found: Result<Runner, RunnerError>,
        before: Option<&Failed>,
    ) {
        let mut cache = self.cache();
        let is_ours = |state: &ProbeState| matches!(state, ProbeState::Running(running) if running.is(tokio::task::id()));
        if !cache.probes.get(&key).is_some_and(is_ours) {
            return;
        }
        let state = match found {
            Ok(runner) => {
                let ready = Ready { target, runner: runner.clone(), key: key.clone() };
                // The runner also reads the runs of pods before this one.
                let uids = runner.former.iter().chain([&runner.runs_uid]);
                cache.ready.extend(uids.map(|uid| (uid.clone(), ready.clone())));
                ProbeState::Ready(runner)
            }
            Err(error) => {
                let cluster_answers = self.0.registry.watch_failure().is_none();
                let (now, fraction) = (self.0.context.clock.now(), self.0.context.random.fraction());
                let failed = Failed::after(before, error, cluster_answers, now, fraction);
                if before.is_none() {
                    let (failure, _) = failed.failure();
                    tracing::warn!(pod = target.pod, "jobs cannot run in this pod: {}", failure.message);
                }
                ProbeState::Failed(failed)
            }
        };
        cache.probes.insert(key, state);
    }

    fn broadcast_if_ready(&self, pod: &PodView) {
        // A terminating pod is probed as well, for the jobs that run there.
        if let (Readiness::Ready(ready_pod), ProjectStatus::Ready) = (self.cached_readiness(pod), &pod.status)
        {
            self.0.became_ready.send(ready_pod.pod_ref);
        }
    }

    fn cache(&self) -> MutexGuard<'_, Cache> {
        lock(&self.0.cache)
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
