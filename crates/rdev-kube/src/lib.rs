//! Commands in the pods of a Kubernetes cluster.
//!
//! Projects are pods with a label; a watch keeps them in memory. Programs are started over the cluster's
//! exec protocol, and what must outlive a connection is supervised by the pod's `rdev-runner`. This crate
//! knows nothing of the runner's frames, nor of HTTP or SQL.

mod cluster;
mod examine;
mod exec;
mod known;
mod labels;
mod lookup;
mod missing;
mod neighbours;
mod places;
mod pod;
mod proxy;
mod reach;
mod registry;
mod runner;
mod status;
mod watching;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::StreamExt;
use futures_util::stream::{BoxStream, select, unfold};
use rdev_domain::{Condition, Error, Project, ProjectId, ProjectStatus, Reason, Result, Timestamp, Trouble};
use rdev_ports::{
    Clock, Exec, ExecOutput, ExecResult, Fate, Finding, Place, Pods, PoolWorker, RUNNER_EXIT_LOST,
    RUNNER_EXIT_OTHER_PLACE, Reach, Site, Standing, Stdin, spawn_for_good,
};
use tokio::task::AbortHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::cluster::Cluster;
use crate::exec::{Channel, ExecError};
use crate::labels::Role;
use crate::lookup::Survey;
use crate::neighbours::{Neighbours, RUNS_SHARED, pod_of};
use crate::places::{Places, Ready};
use crate::registry::Registry;
use crate::runner::EXIT_REPLACED;

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
}

/// Runs commands in pods.
pub struct Kube {
    cluster: Cluster,
    bundled: Bundled,
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
    places: Places,
    watching: AbortHandle,
}

impl Watched {
    fn begin(role: Role, cluster: &Cluster, clock: &Arc<dyn Clock>, failed: &CancellationToken) -> Self {
        let registry = Arc::new(Registry::new(role));
        let watching = watching::keep(cluster.clone(), role, registry.clone(), clock.clone());
        Self { registry, places: Places::default(), watching: spawn_for_good(failed, watching) }
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
        self.watching.abort();
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
        let watched = |role| Watched::begin(role, &cluster, &config.clock, &failed);
        let (projects, workers) = (watched(Role::Project), watched(Role::Worker));
        let synced = async { tokio::join!(projects.registry.synced(), workers.registry.synced()) };
        if timeout(OPEN_PATIENCE, synced).await.is_err() {
            tracing::warn!("the cluster has not listed its pods yet; rdev is not ready until it has");
        }
        let registries = [projects.registry.clone(), workers.registry.clone()];
        let neighbours = Arc::new(Neighbours::new(registries));
        Ok(Self {
            cluster,
            bundled: config.runner,
            clock: config.clock,
            projects,
            workers,
            survey: Survey::default(),
            neighbours,
            failed,
        })
    }

    /// Cancelled when a watch has ended, be it by a panic: from then on what is known of the pods grows old.
    pub fn failed(&self) -> CancellationToken {
        self.failed.clone()
    }

    /// The pods of a site's role.
    fn watched(&self, site: &Site) -> &Watched {
        match site {
            Site::Project(_) => &self.projects,
            Site::Worker(_) => &self.workers,
        }
    }

    /// A project as it is shown: one whose pod has no folder of runs of its own is not ready.
    fn shown(&self, project: Project) -> Project {
        let status = self.neighbours.status(Role::Project, &project.id, project.status);
        Project { status, ..project }
    }

    /// A worker as it is shown: one whose tasks share their fate says so.
    fn shown_worker(&self, worker: PoolWorker) -> PoolWorker {
        let Ok(id) = worker.name.as_str().parse::<ProjectId>() else { return worker };
        let status = self.neighbours.status(Role::Worker, &id, worker.status);
        let pod = self.workers.registry.pod_of(&id).filter(|_| worker.capacity > 1);
        let warning = pod.filter(|pod| self.workers.places.kills_all(&pod.uid)).map(|pod| Condition {
            reason: OOM_GROUP.to_owned(),
            message: KILLS_ALL.to_owned(),
            since: pod.created,
        });
        PoolWorker { status, warning, ..worker }
    }

    /// The pods of a site's role, as soon as they were listed: a server that has just been started has commands to go
    /// on with.
    async fn once_listed(&self, site: &Site) -> Result<&Watched> {
        let watched = self.watched(site);
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
        let workers = self.workers.listed()?.workers();
        Ok(workers.into_iter().map(|worker| self.shown_worker(worker)).collect())
    }

    async fn place(&self, site: &Site) -> Result<Option<Standing>> {
        let Some(id) = id_of(site) else { return Ok(None) };
        let watched = self.once_listed(site).await?;
        let (registry, now) = (&watched.registry, self.clock.now());
        let Some(pod) = registry.pod_of(&id) else {
            let gone = registry.project(&id, now);
            return Ok(gone.and_then(|gone| waiting(&gone.status)));
        };
        let status = self.neighbours.status(pod.details.role, &id, pod.status.clone());
        if let Some(waiting) = waiting(&status) {
            return Ok(Some(waiting));
        }
        let neighbours = &self.neighbours;
        Ok(Some(watched.places.standing(&self.cluster, self.bundled, registry, neighbours, pod, now).await))
    }

    fn became_ready(&self) -> BoxStream<'static, Site> {
        let projects = self.projects.registry.became_ready().map(Site::Project);
        let workers = self.workers.registry.became_ready();
        let workers = workers.filter_map(|name| async move { name.as_str().parse().ok().map(Site::Worker) });
        select(projects, workers).boxed()
    }

    async fn reach(&self, site: &Site, place_uid: &str) -> Result<Reach> {
        self.reach_place(site, place_uid).await
    }

    async fn fate(&self, site: &Site, place_uid: &str, since: Timestamp) -> Result<Fate> {
        let pod_uid = pod_of(place_uid);
        if let Err(error) = self.look_at(site, pod_uid).await {
            tracing::debug!(pod = pod_uid, error = format!("{error:#}"), "it cannot be looked at");
        }
        Ok(self.watched(site).registry.fate(pod_uid, since))
    }

    async fn exec(&self, place: &Place, exec: Exec) -> ExecResult<ExecOutput> {
        let places = &self.watched(&place.site).places;
        let Some(ready) = places.ready(&place.uid) else {
            return Err(anyhow::anyhow!("there is no pod with these runs any more").into());
        };
        let argv = ready.runner.argv(exec.argv);
        let stdin = match &exec.stdin {
            Stdin::None => &[],
            Stdin::Given(bytes) | Stdin::WaitedFor(bytes) => bytes.as_ref(),
        };
        match self.cluster.start(&ready.target, &argv, stdin).await {
            Ok(channel) => Ok(output(channel, places.clone(), ready)),
            Err(error) => {
                places.look_again(&ready);
                Err(error.into())
            }
        }
    }

    async fn examine(&self) -> Vec<Finding> {
        examine::findings(self).await
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

/// What the pod of a site is known by; `None` when no pod can be.
fn id_of(site: &Site) -> Option<ProjectId> {
    match site {
        Site::Project(id) => Some(id.clone()),
        Site::Worker(name) => name.as_str().parse().ok(),
    }
}

/// A project that is not ready, as its commands see it.
fn waiting(status: &ProjectStatus) -> Option<Standing> {
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
    Some(Standing::Waiting(Trouble::new(reason, message), condition.since))
}

fn output(channel: Channel, places: Places, ready: Ready) -> ExecOutput {
    unfold(Some((channel, places, ready)), |state| async {
        let (mut channel, places, ready) = state?;
        match channel.next().await {
            Ok(Some(bytes)) => Some((Ok(bytes), Some((channel, places, ready)))),
            Ok(None) | Err(ExecError::Exit { code: RUNNER_EXIT_LOST, .. }) => None,
            Err(error) => {
                if matches!(error, ExecError::Exit { code: EXIT_REPLACED | RUNNER_EXIT_OTHER_PLACE, .. }) {
                    places.look_again(&ready);
                }
                Some((Err(error.into()), None))
            }
        }
    })
    .boxed()
}
