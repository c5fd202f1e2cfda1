//! Commands in the pods of a Kubernetes cluster.
//!
//! Projects are pods with a label; a watch keeps them in memory. Programs are started over the cluster's
//! exec protocol, and what must outlive a connection is supervised by the pod's `rdev-runner`. This crate
//! knows nothing of the runner's frames, nor of HTTP or SQL.

mod cluster;
mod containers;
mod diagnose;
mod exec;
mod fields;
mod fresh;
mod known;
mod labels;
mod lock;
mod looks;
mod lookup;
mod missing;
mod neighbours;
mod news;
mod pod;
mod proxy;
mod reach;
mod registry;
mod runner;
mod starts;
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
use crate::containers::{Containers, LOOK_AWAITED, Means, Ready};
use crate::exec::{Channel, ExecError};
use crate::fresh::Fresh;
use crate::labels::Role;
use crate::lookup::Survey;
use crate::neighbours::{Neighbours, RUNS_SHARED, pod_of};
use crate::pod::PodView;
use crate::registry::Registry;
use crate::runner::EXIT_REPLACED;
use crate::starts::{Kind, Turn};

pub use labels::{PROJECTS, WORKERS};
pub use runner::Bundled;

/// What this crate asks of the cluster, as a Role would grant it: resource and verb. A pod's exec is asked
/// for with GET, since it is a WebSocket; since Kubernetes 1.35 that needs `create` as well.
pub const PERMISSIONS: [(&str, &str); 5] =
    [("pods", "get"), ("pods", "list"), ("pods", "watch"), ("pods/exec", "get"), ("pods/exec", "create")];

/// A start waits so long for the first list: until then every request for a project is refused.
const OPEN_PATIENCE: Duration = Duration::from_secs(2);
/// A worker waits so long for the first list.
const SYNC_PATIENCE: Duration = Duration::from_secs(10);
/// `/ready` says that the cluster is down when its pods could not be watched for so long.
const BLIND_MAX: Duration = Duration::from_secs(60);

/// Warning on a worker with more than one task.
const OOM_GROUP: &str = "OomGroup";
/// How a node treats a lack of memory under version 2 of control groups, unless it is told otherwise.
pub(crate) const KILLS_ALL: &str = "a lack of memory ends every command of the pod at once (memory.oom.group is 1); rdev ends the largest before that";

/// The namespace whose pods are projects.
pub struct Config {
    /// Its name.
    pub namespace: String,
    /// The cluster's kubeconfig; without it that of KUBECONFIG, or the service account of this pod.
    pub kubeconfig: Option<PathBuf>,
    /// The runner for pods that have none.
    pub runner: Bundled,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Chance that spreads those who ask again.
    pub random: Arc<dyn Random>,
}

/// Runs commands in pods.
pub struct Kube {
    cluster: Cluster,
    clock: Arc<dyn Clock>,
    projects: Watched,
    workers: Watched,
    survey: Survey,
    neighbours: Arc<Neighbours>,
    /// Cancelled when a watch has ended.
    failed: CancellationToken,
}

/// The pods of one role, kept current by a watch, and what is known of their containers.
struct Watched {
    registry: Arc<Registry>,
    containers: Containers,
    fresh: Fresh,
    tasks: [AbortHandle; 2],
}

impl Watched {
    fn begin(role: Role, registry: Arc<Registry>, means: Means, failed: &CancellationToken) -> Self {
        let (cluster, clock) = (means.cluster.clone(), means.clock.clone());
        let containers = Containers::new(means, registry.clone());
        // Listening before there is news.
        let looking = containers.keep();
        let fresh = Fresh::new(cluster.clone(), registry.clone(), clock.clone());
        let watching = watching::keep(cluster, role, registry.clone(), clock);
        let tasks = [spawn_for_good(failed, looking), spawn_for_good(failed, watching)];
        Self { registry, containers, fresh, tasks }
    }

    /// The pods as they are known, which they are once they were listed.
    fn listed(&self) -> Result<&Registry> {
        if self.registry.is_synced() {
            return Ok(&self.registry);
        }
        let error = match self.registry.is_blind() {
            Some(blind) => anyhow::Error::new(blind.why).context("its pods cannot be listed"),
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
    /// Finds the cluster, begins to watch its pods, and waits a little for their list. A cluster that does not
    /// answer yet keeps nobody from starting.
    ///
    /// # Errors
    /// When there is no cluster to be found: neither KUBECONFIG nor a service account.
    pub async fn open(config: Config) -> anyhow::Result<Self> {
        let cluster = Cluster::find(&config.namespace, config.kubeconfig.as_deref()).await?;
        let failed = CancellationToken::new();
        let [projects, workers] = [Role::Project, Role::Worker].map(|role| Arc::new(Registry::new(role)));
        let neighbours = Arc::new(Neighbours::new([projects.clone(), workers.clone()]));
        let means = Means {
            cluster: cluster.clone(),
            bundled: config.runner,
            neighbours: neighbours.clone(),
            clock: config.clock.clone(),
            random: config.random,
        };
        let projects = Watched::begin(Role::Project, projects, means.clone(), &failed);
        let workers = Watched::begin(Role::Worker, workers, means, &failed);
        let synced = async { tokio::join!(projects.registry.synced(), workers.registry.synced()) };
        if timeout(OPEN_PATIENCE, synced).await.is_err() {
            tracing::warn!("the cluster has not listed its pods yet; rdev is not ready until it has");
        }
        let survey = Survey::default();
        Ok(Self { cluster, clock: config.clock, projects, workers, neighbours, survey, failed })
    }

    /// Cancelled when a watch has ended, be it by a panic: from then on what is known of the pods grows old.
    pub fn failed(&self) -> CancellationToken {
        self.failed.clone()
    }

    /// The pods of a site's role.
    fn watched(&self, pod_ref: &PodRef) -> &Watched {
        match pod_ref {
            PodRef::Project(_) => &self.projects,
            PodRef::Worker(_) => &self.workers,
        }
    }

    /// A project as it is shown: one whose pod has no folder of runs of its own is not ready.
    fn shown(&self, project: Project) -> Project {
        let status = self.neighbours.status(Role::Project, &project.id, project.status);
        Project { status, ..project }
    }

    /// The pods of a site's role, as soon as they were listed: a server that has just been started has commands to go
    /// on with.
    async fn once_listed(&self, pod_ref: &PodRef) -> Result<&Watched> {
        let watched = self.watched(pod_ref);
        // Whether they were listed in that time is what the next line tells.
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
        let pods = self.workers.listed()?.bests().into_iter();
        let shown = |pod: PodView| {
            let status = self.neighbours.status(Role::Worker, &pod.details.project, pod.status.clone());
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
        let watched = self.once_listed(pod_ref).await?;
        let (registry, now) = (&watched.registry, self.clock.now());
        let Some(pod) = registry.pod_of(&id) else {
            let gone = registry.project(&id, now);
            return Ok(gone.and_then(|gone| waiting(&gone.status)));
        };
        let status = self.neighbours.status(pod.details.role, &id, pod.status.clone());
        if let Some(waiting) = waiting(&status) {
            return Ok(Some(waiting));
        }
        Ok(Some(watched.containers.readiness(pod, LOOK_AWAITED).await))
    }

    fn became_ready(&self) -> BoxStream<'static, PodRef> {
        select(self.projects.containers.became_ready(), self.workers.containers.became_ready()).boxed()
    }

    async fn reach(&self, pod_ref: &PodRef, identity: &str) -> Result<Reach> {
        self.reach_pod(pod_ref, identity).await
    }

    async fn disruption(&self, pod_ref: &PodRef, identity: &str, since: Timestamp) -> Result<Disruption> {
        let pod_uid = pod_of(identity);
        if let Err(error) = self.look_at(pod_ref, pod_uid).await {
            tracing::debug!(pod = pod_uid, error = format!("{error:#}"), "it cannot be looked at");
        }
        Ok(self.watched(pod_ref).registry.disruption(pod_uid, since))
    }

    async fn exec(&self, place: &rdev_ports::Pod, exec: Exec) -> ExecResult<ExecOutput> {
        let containers = &self.watched(&place.pod_ref).containers;
        let Some(ready) = containers.ready(&place.uid) else {
            return Err(anyhow::anyhow!("there is no pod with these runs any more").into());
        };
        let argv = ready.runner.argv(exec.argv);
        let (kind, stdin) = match &exec.stdin {
            Stdin::None => (Kind::Control, &[][..]),
            Stdin::Given(bytes) => (Kind::Control, bytes.as_ref()),
            Stdin::WaitedFor(bytes) => (Kind::Start, bytes.as_ref()),
        };
        let started = self.cluster.start(&ready.target, kind, &argv, stdin).await;
        let mut starting = Starting { containers: containers.clone(), ready, turn: None, has_spoken: false };
        let (channel, turn) = started?;
        starting.turn = Some(turn);
        Ok(output(channel, starting))
    }

    async fn diagnose(&self) -> Vec<Diagnosis> {
        diagnose::findings(self).await
    }

    async fn check(&self) -> Result<()> {
        let now = self.clock.now();
        for (pods, watched) in [("projects", &self.projects), ("workers", &self.workers)] {
            if let Some(blind) = watched.listed()?.is_blind()
                && now.since(blind.since) >= BLIND_MAX
            {
                let error =
                    anyhow::Error::new(blind.why).context(format!("pods of {pods} cannot be watched"));
                return Err(Error::unavailable("cluster", error));
            }
        }
        Ok(())
    }
}

/// Id by which the pod of a site is known; `None` when no pod can be.
fn id_of(pod_ref: &PodRef) -> Option<ProjectId> {
    match pod_ref {
        PodRef::Project(id) => Some(id.clone()),
        PodRef::Worker(name) => name.as_str().parse().ok(),
    }
}

/// A project that is not ready, as its commands see it.
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
        ProjectStatus::Ready => return None,
    };
    let message = format!("its pod is not ready: {}: {}", condition.reason, condition.message);
    Some(Readiness::NotReady { cause: Failure::new(reason, message), since: condition.since })
}

/// A program that is started. It has its turn until its first word, or its end. Without either, when nobody listens any
/// more, its container is looked at again: it may be silent, and it, or its runner, may be another by now.
struct Starting {
    containers: Containers,
    ready: Ready,
    turn: Option<Turn>,
    has_spoken: bool,
}

impl Starting {
    fn spoke(&mut self) {
        self.has_spoken = true;
        self.turn = None;
    }
}

impl Drop for Starting {
    fn drop(&mut self) {
        if !self.has_spoken {
            self.containers.look_again(&self.ready);
        }
    }
}

fn output(channel: Channel, starting: Starting) -> ExecOutput {
    unfold(Some((channel, starting)), |state| async {
        let (mut channel, mut starting) = state?;
        match channel.next().await {
            Ok(Some(bytes)) => {
                starting.spoke();
                Some((Ok(bytes), Some((channel, starting))))
            }
            Ok(None) | Err(ExecError::Exit { code: RUNNER_EXIT_LOST, .. }) => {
                starting.spoke();
                None
            }
            Err(error) => {
                let looks_again = [EXIT_REPLACED, RUNNER_EXIT_OTHER_PLACE];
                if matches!(error, ExecError::Exit { code, .. } if !looks_again.contains(&code)) {
                    starting.spoke();
                }
                Some((Err(error.into()), None))
            }
        }
    })
    .boxed()
}
