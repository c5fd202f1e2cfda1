//! Runs jobs in the pods of a Kubernetes cluster.
//!
//! Projects are pods with a label; a watch keeps them in memory. Programs are started over the cluster's
//! exec protocol, and a program that must outlive a connection is supervised by the pod's `rdev-runner`.
//! This crate knows nothing of the runner's frames, nor of HTTP or SQL.

mod broadcast;
mod cluster;
mod containers;
mod diagnose;
mod exec;
mod fields;
mod labels;
mod lock;
mod lookup;
mod pod;
mod pod_index;
mod probe;
mod proxy;
mod reach;
mod refresh;
mod registry;
mod runner;
mod runner_error;
mod shared_runs;
mod start_limiter;
mod status;
mod watching;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::StreamExt;
use futures_util::stream::{BoxStream, select, unfold};
use rdev_domain::{Condition, Error, Failure, Project, ProjectId, ProjectStatus, Reason, Result, Timestamp};
use rdev_ports::{
    Clock, Diagnosis, Disruption, Exec, ExecOutput, ExecResult, PodRef, Pods, PoolWorker, RUNNER_EXIT_LOST,
    RUNNER_EXIT_OTHER_PLACE, Random, Reach, Readiness, Stdin, spawn_for_good,
};
use tokio::task::AbortHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::cluster::Cluster;
use crate::containers::{Containers, PROBE_AWAITED, ProbeContext, Ready};
use crate::exec::{Channel, ExecError};
use crate::labels::Role;
use crate::lookup::PodNames;
use crate::pod::PodView;
use crate::refresh::PodRefresher;
use crate::registry::Registry;
use crate::runner::{EXIT_REPLACED, KILLS_ALL};
use crate::shared_runs::{RUNS_SHARED, SharedRuns, pod_of};
use crate::start_limiter::{Kind, StartPermit};

pub use labels::{PROJECTS, WORKERS};
pub use runner::Bundled;

/// Permissions that this crate uses, as a Role would grant them: resource and verb. An exec is requested
/// with GET, since it is a WebSocket; since Kubernetes 1.35 that needs `create` as well.
pub const PERMISSIONS: [(&str, &str); 5] =
    [("pods", "get"), ("pods", "list"), ("pods", "watch"), ("pods/exec", "get"), ("pods/exec", "create")];

/// Longest time for which the start of rdev waits for the first list: until then every request for a
/// project is refused.
const OPEN_PATIENCE: Duration = Duration::from_secs(2);
/// Longest time for which a worker waits for the first list.
const SYNC_PATIENCE: Duration = Duration::from_secs(10);
/// `/ready` reports the cluster as down when its pods could not be watched for this time.
const WATCH_FAILURE_MAX: Duration = Duration::from_secs(60);

/// Reason of a warning on a worker with more than one task.
const OOM_GROUP: &str = "OomGroup";

/// Configuration of the runtime.
pub struct Config {
    /// Namespace whose pods are projects.
    pub namespace: String,
    /// The cluster's kubeconfig; without one that of KUBECONFIG, or the service account of this pod.
    pub kubeconfig: Option<PathBuf>,
    /// The runner for pods that have none.
    pub runner: Bundled,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// Randomness that spreads retries.
    pub random: Arc<dyn Random>,
}

/// Runs jobs in pods.
pub struct Kube {
    cluster: Cluster,
    clock: Arc<dyn Clock>,
    projects: Watched,
    workers: Watched,
    pod_names: PodNames,
    shared_runs: Arc<SharedRuns>,
    /// Cancelled when a watch has ended.
    failed: CancellationToken,
}

/// The pods of one role, kept current by a watch, and the probes of their containers.
struct Watched {
    registry: Arc<Registry>,
    containers: Containers,
    refresher: PodRefresher,
    tasks: [AbortHandle; 2],
}

impl Watched {
    fn begin(role: Role, registry: Arc<Registry>, context: ProbeContext, failed: &CancellationToken) -> Self {
        let (cluster, clock) = (context.cluster.clone(), context.clock.clone());
        let containers = Containers::new(context, registry.clone());
        // Subscribes before the first event.
        let probing = containers.run();
        let refresher = PodRefresher::new(cluster.clone(), registry.clone(), clock.clone());
        let watching = watching::run(cluster, role, registry.clone(), clock);
        let tasks = [spawn_for_good(failed, probing), spawn_for_good(failed, watching)];
        Self { registry, containers, refresher, tasks }
    }

    /// Returns the registry, once its pods were listed.
    fn listed(&self) -> Result<&Registry> {
        if self.registry.is_synced() {
            return Ok(&self.registry);
        }
        let error = match self.registry.watch_failure() {
            Some(failure) => anyhow::Error::new(failure.why).context("its pods cannot be listed"),
            None => anyhow::anyhow!("its pods have not been listed yet"),
        };
        Err(Error::unavailable("cluster", error))
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.tasks.iter().for_each(AbortHandle::abort);
        self.containers.close();
    }
}

impl Kube {
    /// Connects to the cluster, starts to watch its pods, and waits a short time for their list. A
    /// cluster that does not answer yet does not stop the start of rdev.
    ///
    /// # Errors
    /// When no cluster is found: neither KUBECONFIG nor a service account.
    pub async fn open(config: Config) -> anyhow::Result<Self> {
        let cluster = Cluster::find(&config.namespace, config.kubeconfig.as_deref()).await?;
        let failed = CancellationToken::new();
        let [projects, workers] = [Role::Project, Role::Worker].map(|role| Arc::new(Registry::new(role)));
        let shared_runs = Arc::new(SharedRuns::new([projects.clone(), workers.clone()]));
        let context = ProbeContext {
            cluster: cluster.clone(),
            bundled: config.runner,
            shared_runs: shared_runs.clone(),
            clock: config.clock.clone(),
            random: config.random,
        };
        let projects = Watched::begin(Role::Project, projects, context.clone(), &failed);
        let workers = Watched::begin(Role::Worker, workers, context, &failed);
        let synced = async { tokio::join!(projects.registry.synced(), workers.registry.synced()) };
        if timeout(OPEN_PATIENCE, synced).await.is_err() {
            tracing::warn!("the cluster has not listed its pods yet; rdev becomes ready after the list");
        }
        let pod_names = PodNames::default();
        Ok(Self { cluster, clock: config.clock, projects, workers, shared_runs, pod_names, failed })
    }

    /// Cancelled when a watch has ended, even by a panic: from then on the known pods are stale.
    pub fn failed(&self) -> CancellationToken {
        self.failed.clone()
    }

    /// Returns the pods of the role of a pod reference.
    fn watched(&self, pod_ref: &PodRef) -> &Watched {
        match pod_ref {
            PodRef::Project(_) => &self.projects,
            PodRef::Worker(_) => &self.workers,
        }
    }

    /// Returns a project as it is shown: one that shares its folder of runs is not ready.
    fn shown(&self, project: Project) -> Project {
        let status = self.shared_runs.status(Role::Project, &project.id, project.status);
        Project { status, ..project }
    }

    /// Returns the pods of a role once they were listed: a server that has just started resumes its jobs.
    async fn wait_until_listed(&self, pod_ref: &PodRef) -> Result<&Watched> {
        let watched = self.watched(pod_ref);
        // The next line reports whether they were listed in that time.
        timeout(SYNC_PATIENCE, watched.registry.synced()).await.unwrap_or_default();
        watched.listed().map(|_| watched)
    }
}

#[async_trait]
impl Pods for Kube {
    async fn projects(&self) -> Result<Vec<Project>> {
        let projects = self.projects.listed()?.projects(self.clock.now());
        Ok(projects.into_iter().map(|project| self.shown(project)).collect())
    }

    async fn project(&self, id: &ProjectId) -> Result<Option<Project>> {
        let project = self.projects.listed()?.project(id, self.clock.now());
        Ok(project.map(|project| self.shown(project)))
    }

    async fn workers(&self) -> Result<Vec<PoolWorker>> {
        let pods = self.workers.listed()?.primaries().into_iter();
        let shown = |pod: PodView| {
            let status = self.shared_runs.status(Role::Worker, &pod.details.project, pod.status.clone());
            let worker = pod.worker(match status {
                ProjectStatus::Ready => self.workers.containers.status(&pod),
                status => status,
            })?;
            let shares_fate = worker.capacity > 1 && self.workers.containers.kills_all(&pod.uid);
            let (reason, message) = (OOM_GROUP.to_owned(), KILLS_ALL.to_owned());
            let warning = shares_fate.then_some(Condition { reason, message, since: pod.created });
            Some(PoolWorker { warning, ..worker })
        };
        Ok(pods.filter_map(shown).collect())
    }

    async fn readiness(&self, pod_ref: &PodRef) -> Result<Option<Readiness>> {
        let Some(id) = id_of(pod_ref) else { return Ok(None) };
        let watched = self.wait_until_listed(pod_ref).await?;
        let (registry, now) = (&watched.registry, self.clock.now());
        let Some(pod) = registry.pod_of(&id) else {
            let gone = registry.project(&id, now);
            return Ok(gone.and_then(|gone| waiting(&gone.status)));
        };
        let status = self.shared_runs.status(pod.details.role, &id, pod.status.clone());
        if let Some(waiting) = waiting(&status) {
            return Ok(Some(waiting));
        }
        Ok(Some(watched.containers.readiness(pod, PROBE_AWAITED).await))
    }

    fn became_ready(&self) -> BoxStream<'static, PodRef> {
        select(self.projects.containers.became_ready(), self.workers.containers.became_ready()).boxed()
    }

    async fn reach(&self, pod_ref: &PodRef, identity: &str) -> Result<Reach> {
        self.reach_pod(pod_ref, identity).await
    }

    async fn disruption(&self, pod_ref: &PodRef, identity: &str, since: Timestamp) -> Result<Disruption> {
        let pod_uid = pod_of(identity);
        if let Err(error) = self.refresh(pod_ref, pod_uid).await {
            tracing::debug!(pod = pod_uid, error = format!("{error:#}"), "lookup of a pod failed");
        }
        Ok(self.watched(pod_ref).registry.disruption(pod_uid, since))
    }

    async fn exec(&self, pod: &rdev_ports::Pod, exec: Exec) -> ExecResult<ExecOutput> {
        let containers = &self.watched(&pod.pod_ref).containers;
        let Some(ready) = containers.ready(&pod.uid) else {
            return Err(anyhow::anyhow!("no pod has these runs any more").into());
        };
        let argv = ready.runner.argv(exec.argv);
        let (kind, stdin) = match &exec.stdin {
            Stdin::None => (Kind::Control, &[][..]),
            Stdin::Given(bytes) => (Kind::Control, bytes.as_ref()),
            Stdin::WaitedFor(bytes) => (Kind::Start, bytes.as_ref()),
        };
        let started = self.cluster.start(&ready.target, kind, &argv, stdin).await;
        let mut starting =
            Starting { containers: containers.clone(), ready, permit: None, has_output: false };
        let (channel, permit) = started?;
        starting.permit = Some(permit);
        Ok(output(channel, starting))
    }

    async fn diagnose(&self) -> Vec<Diagnosis> {
        self.findings().await
    }

    async fn check(&self) -> Result<()> {
        let now = self.clock.now();
        for (pods, watched) in [("projects", &self.projects), ("workers", &self.workers)] {
            if let Some(failure) = watched.listed()?.watch_failure()
                && now.since(failure.since) >= WATCH_FAILURE_MAX
            {
                let error =
                    anyhow::Error::new(failure.why).context(format!("pods of {pods} cannot be watched"));
                return Err(Error::unavailable("cluster", error));
            }
        }
        Ok(())
    }
}

/// Returns the id of the pod of a project or worker; `None` when no pod can have it.
fn id_of(pod_ref: &PodRef) -> Option<ProjectId> {
    match pod_ref {
        PodRef::Project(id) => Some(id.clone()),
        PodRef::Worker(name) => name.as_str().parse().ok(),
    }
}

/// Returns the readiness of a project that is not ready, as its jobs see it.
fn waiting(status: &ProjectStatus) -> Option<Readiness> {
    let (condition, reason) = match status {
        ProjectStatus::Gone(condition) => (condition, Reason::PodLost),
        ProjectStatus::Failing(condition) if condition.reason == status::NODE_LOST => {
            (condition, Reason::NodeLost)
        }
        ProjectStatus::Failing(condition) if condition.reason == RUNS_SHARED => {
            (condition, Reason::RunsShared)
        }
        ProjectStatus::Failing(condition) | ProjectStatus::Starting(condition) => {
            (condition, Reason::PodNotReady)
        }
        // No project of a cluster is deleted by rdev.
        ProjectStatus::Ready | ProjectStatus::Deleting => return None,
    };
    let message = format!("its pod is not ready: {}: {}", condition.reason, condition.message);
    Some(Readiness::NotReady { cause: Failure::new(reason, message), since: condition.since })
}

/// A program that is starting. It holds its permit until its first output or its end. A program dropped
/// without either has its container probed again: the container may be silent, or it or its runner may
/// have been replaced.
struct Starting {
    containers: Containers,
    ready: Ready,
    permit: Option<StartPermit>,
    has_output: bool,
}

impl Starting {
    fn first_output(&mut self) {
        self.has_output = true;
        self.permit = None;
    }
}

impl Drop for Starting {
    fn drop(&mut self) {
        if !self.has_output {
            self.containers.invalidate(&self.ready);
        }
    }
}

fn output(channel: Channel, starting: Starting) -> ExecOutput {
    unfold(Some((channel, starting)), |state| async {
        let (mut channel, mut starting) = state?;
        match channel.next().await {
            Ok(Some(bytes)) => {
                starting.first_output();
                Some((Ok(bytes), Some((channel, starting))))
            }
            Ok(None) | Err(ExecError::Exit { code: RUNNER_EXIT_LOST, .. }) => {
                starting.first_output();
                None
            }
            Err(error) => {
                let invalidates = [EXIT_REPLACED, RUNNER_EXIT_OTHER_PLACE];
                if matches!(error, ExecError::Exit { code, .. } if !invalidates.contains(&code)) {
                    starting.first_output();
                }
                Some((Err(error.into()), None))
            }
        }
    })
    .boxed()
}
