//! Services on a real store and real folders, and the moment at which a deletion begins.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::stream::BoxStream;
use rdev_domain::{Principal, Project, ProjectId, Result, Scope, TaskRequest, Timestamp};
use rdev_engine::{LogReaders, Seats, Submitter, TailCache, Wakeups};
use rdev_local::{Config, Local};
use rdev_ports::testing::{FakeClock, FakeIds, id};
use rdev_ports::{
    Diagnosis, Disruption, Exec, ExecOutput, ExecResult, Pod, PodRef, Pods, PoolWorker, Reach, Readiness,
    Workspaces,
};
use rdev_services::{Commands, Events, JobPorts, ProjectPlans, Projects, SubmitTask, Tasks};
use rdev_sql::SqlStore;
use rdev_sql::testing::sqlite;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

/// Stand-in for the runner: supports `exec` only.
const BECOMES: &[u8] = b"#!/bin/sh\nwhile [ \"$1\" != -- ]; do shift; done\nshift\nexec \"$@\"\n";
const BECOMES_SHA256: &str = "d7a75e7bd0e83da5f179960331a5c02be94e4a4c88b3cc67aa9730f9e2789137";
/// Timeout of commands and tasks.
const TIMEOUT: Duration = Duration::from_secs(60);

/// The embedded runtime, in which the deletion of a project begins right after somebody has looked at the project.
pub(crate) struct Closing {
    pub(crate) local: Arc<Local>,
    is_next: AtomicBool,
}

impl Closing {
    /// Has the next look at a project be followed by the beginning of the project's deletion.
    pub(crate) fn after_the_next_look(&self) {
        self.is_next.store(true, Ordering::SeqCst);
    }
}

#[async_trait]
impl Pods for Closing {
    async fn project(&self, id: &ProjectId) -> Result<Option<Project>> {
        let project = self.local.project(id).await?;
        if self.is_next.swap(false, Ordering::SeqCst) {
            self.local.close(id).await?;
        }
        Ok(project)
    }

    async fn projects(&self) -> Result<Vec<Project>> {
        self.local.projects().await
    }

    async fn workers(&self) -> Result<Vec<PoolWorker>> {
        self.local.workers().await
    }

    async fn readiness(&self, pod_ref: &PodRef) -> Result<Option<Readiness>> {
        self.local.readiness(pod_ref).await
    }

    async fn reach(&self, pod_ref: &PodRef, pod_uid: &str) -> Result<Reach> {
        self.local.reach(pod_ref, pod_uid).await
    }

    fn became_ready(&self) -> BoxStream<'static, PodRef> {
        self.local.became_ready()
    }

    async fn disruption(&self, pod_ref: &PodRef, pod_uid: &str, since: Timestamp) -> Result<Disruption> {
        self.local.disruption(pod_ref, pod_uid, since).await
    }

    async fn exec(&self, pod: &Pod, exec: Exec) -> ExecResult<ExecOutput> {
        self.local.exec(pod, exec).await
    }

    async fn diagnose(&self) -> Vec<Diagnosis> {
        self.local.diagnose().await
    }

    async fn check(&self) -> Result<()> {
        self.local.check().await
    }
}

/// Services with a project `shop`.
pub(crate) struct Bench {
    pub(crate) pods: Arc<Closing>,
    pub(crate) store: SqlStore,
    pub(crate) commands: Commands,
    pub(crate) tasks: Tasks,
    pub(crate) plans: ProjectPlans,
    _store: TempDir,
    data: TempDir,
}

/// Makes the folder of the project, as an operator may.
fn make_shop(data: &Path) {
    std::fs::create_dir(data.join("workspaces").join(shop().as_str())).unwrap();
}

impl Bench {
    /// Makes the folder of the project again.
    pub(crate) fn make_shop(&self) {
        make_shop(self.data.path());
    }

    pub(crate) async fn new() -> Self {
        Self::with_seats(Seats::new(8)).await
    }

    /// Services beside a worker with these seats.
    pub(crate) async fn with_seats(seats: Seats) -> Self {
        let (store, folder) = sqlite().await;
        let data = tempfile::tempdir().unwrap();
        let config = Config {
            data_dir: data.path().to_owned(),
            runner: BECOMES,
            runner_sha256: BECOMES_SHA256,
            env: Vec::new(),
            command_env: Vec::new(),
            umask: 0o22,
            open_files: None,
            pool_slots: 1,
            new_uid: "uid-1".to_owned(),
        };
        let local = Arc::new(Local::open(config).unwrap());
        make_shop(data.path());
        let pods = Arc::new(Closing { local: local.clone(), is_next: AtomicBool::new(false) });
        let shared = Arc::new(store.clone());
        let clock = Arc::new(FakeClock::default());
        let (tails, wakeups) = (TailCache::default(), Wakeups::default());
        let submitter = Submitter::new(shared.clone(), tails.clone(), wakeups);
        let ports = JobPorts {
            seats,
            pods: pods.clone(),
            queue: shared.clone(),
            pool: shared.clone(),
            artefacts: shared.clone(),
            clock: clock.clone(),
            ids: Arc::new(FakeIds::default()),
        };
        let projects = Projects::new(pods.clone());
        let events = Events::new(
            projects.clone(),
            shared.clone(),
            LogReaders::new(shared.clone(), tails),
            CancellationToken::new(),
        );
        Self {
            commands: Commands::new(
                ports.clone(),
                projects.clone(),
                events.clone(),
                submitter.clone(),
                TIMEOUT,
            ),
            tasks: Tasks::new(ports, projects, events, submitter.clone(), TIMEOUT),
            plans: ProjectPlans { workspaces: Some(local), records: shared, submitter, clock },
            pods,
            store,
            _store: folder,
            data,
        }
    }
}

/// The project.
pub(crate) fn shop() -> ProjectId {
    id("shop")
}

/// A caller who may do anything.
pub(crate) fn caller() -> Principal {
    Principal { key: id("key-1"), scopes: vec![Scope::Admin] }
}

/// Request for a task with the defaults of everything but its work.
pub(crate) fn submit_task(work: TaskRequest) -> SubmitTask {
    SubmitTask {
        work,
        priority: 0,
        run_after: None,
        max_attempts: None,
        timeout_seconds: None,
        idempotency: None,
    }
}
