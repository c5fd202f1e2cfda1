//! Pods: where commands and tasks run.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::BoxStream;
use rdev_domain::{Condition, Failure, Project, ProjectId, ProjectStatus, Result, Timestamp, WorkerName};

/// The pods in which jobs run: those of a cluster, or directories of this machine.
#[async_trait]
pub trait Pods: Send + Sync {
    /// Returns all projects, sorted by id, from memory.
    async fn projects(&self) -> Result<Vec<Project>>;

    /// Returns one project; `None` when there is none of that id.
    async fn project(&self, id: &ProjectId) -> Result<Option<Project>>;

    /// Returns the workers of the pool, sorted by name, from memory.
    async fn workers(&self) -> Result<Vec<PoolWorker>>;

    /// Returns the pod in which a new job of this project or worker starts; `None` when there is no such project or
    /// worker. While that pod stays, every process gets the same one.
    async fn readiness(&self, pod_ref: &PodRef) -> Result<Option<Readiness>>;

    /// Finds the pod `pod_uid` again, for a job that was started there. The pod is found for as long as it exists,
    /// whatever keeps new jobs from it (the pod is terminating, is not ready, is not the project's any more, or has a
    /// newer one beside it), also by a process that did not run at the start. Whether a new job may start in the pod,
    /// only [`readiness`](Self::readiness) tells.
    ///
    /// # Errors
    /// `Unavailable` while nothing is known of any pod.
    async fn reach(&self, pod_ref: &PodRef, pod_uid: &str) -> Result<Reach>;

    /// Returns the folder of bare repositories that git commands may reach by their path, absolute and as pods see it.
    /// `None` where pods share no disk: there git reaches other repositories over the network only.
    fn git_remotes(&self) -> Option<&str> {
        None
    }

    /// Streams projects and workers whose pods become ready from now on, so that those who wait for one need not poll.
    /// The stream never ends. An item is a hint: some may be missing, and some pods may not be ready any more. Where
    /// pods are always ready there are none.
    fn became_ready(&self) -> BoxStream<'static, PodRef>;

    /// Returns what happened, after `since`, to the programs in the pod `pod_uid`. Asked when their runner cannot be
    /// reached, or has lost them.
    async fn disruption(&self, pod_ref: &PodRef, pod_uid: &str, since: Timestamp) -> Result<Disruption>;

    /// Starts a program in the pod and streams its standard output as it comes. The first argument `rdev-runner` names
    /// the runner of that pod. The stream ends without an error only when the program ended with exit code 0. How the
    /// command of a run ended, the runner's frames alone tell. Dropping the stream ends the connection, and nothing that
    /// a runner supervises. The call waits for a free connection for [`EXEC_TURN_TIMEOUT`] at most, and then starts the
    /// program, or fails, within [`EXEC_START_TIMEOUT`].
    ///
    /// # Errors
    /// [`ExecError`], here or as the stream's last item, whichever the pod finds out first.
    async fn exec(&self, pod: &Pod, exec: Exec) -> ExecResult<ExecOutput>;

    /// Returns environment variables that only the programs of coding agents get, so that they reach their model. Empty
    /// where the pods set these variables themselves.
    fn agent_env(&self) -> Vec<(String, String)> {
        Vec::new()
    }

    /// Diagnoses everything that jobs need, for an operator. Takes up to 1 min.
    async fn diagnose(&self) -> Vec<Diagnosis>;

    /// Checks that jobs can be run at all.
    ///
    /// # Errors
    /// `Unavailable` or `Internal`, with a reason for operators.
    async fn check(&self) -> Result<()>;
}

/// Reference by which a pod is found.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PodRef {
    /// The pod of a project.
    Project(ProjectId),
    /// The pod of a worker of the pool.
    Worker(WorkerName),
}

/// Slot of a worker of the pool, in which at most one task runs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot {
    /// Name of the worker.
    pub worker: WorkerName,
    /// Number of the slot, from 0 to one less than the worker's capacity.
    pub number: u32,
}

impl std::fmt::Display for Slot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "slot {} of worker {}", self.number, self.worker)
    }
}

impl std::fmt::Display for PodRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Project(id) => write!(f, "project {id}"),
            Self::Worker(name) => write!(f, "worker {name}"),
        }
    }
}

/// A worker of the pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolWorker {
    /// Name of the worker.
    pub name: WorkerName,
    /// Status of the worker's pod: tasks start only in one that is ready.
    pub status: ProjectStatus,
    /// Number of tasks that run in the worker at once.
    pub capacity: u32,
    /// Defect that an operator should know of, whatever the status.
    pub warning: Option<Condition>,
    /// True when the worker goes away once its tasks have ended. It counts as gone for those who decide on the number
    /// of workers.
    pub leaves: bool,
}

/// A pod, in which jobs run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pod {
    /// Reference by which the pod was found.
    pub pod_ref: PodRef,
    /// Identity of the pod's folder of runs. The identity changes when everything that ran there before is gone for
    /// good. The runner starts nothing in a folder of another identity.
    pub uid: String,
    /// Working directory of jobs, as they see it.
    pub workspace: String,
}

/// Readiness of a pod for a new job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Readiness {
    /// A job can start in this pod.
    Ready(Pod),
    /// No job can start now; the pod may become ready by itself.
    NotReady {
        /// Cause.
        cause: Failure,
        /// Time at which the cause began.
        since: Timestamp,
    },
    /// No job can start before somebody has repaired the pod.
    Unusable {
        /// Defect of the pod.
        cause: Failure,
    },
}

/// Reach of a pod in which a job was started: whether the job can be attached to, and ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reach {
    /// The pod exists; or the pod is gone, and its output can be read in this one, which has replaced it.
    Reachable(Pod),
    /// The pod cannot be reached now, and may exist.
    Unreachable {
        /// Cause.
        cause: Failure,
        /// Time at which the cause began.
        since: Timestamp,
    },
    /// The pod is gone with everything that was in it.
    Lost(Failure),
}

/// Disruption of the programs in a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Disruption {
    /// Nothing has happened to the pod itself.
    None,
    /// Nothing is known yet: the programs may be running.
    Unknown,
    /// The programs were ended, but their output may still be read in the pod.
    Restarted(Failure),
    /// The programs are gone for good. So is their output, unless [`Pods::reach`] finds it.
    Lost(Failure),
}

/// Diagnosis of one thing, for an operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnosis {
    /// Name of the thing.
    pub what: String,
    /// Finding, in one line.
    pub seen: String,
    /// Severity of the finding.
    pub verdict: Severity,
}

/// Severity of a finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Severity {
    /// As it should be.
    Good,
    /// rdev works, but something is less than it should be. The text says what to do.
    Warning(String),
    /// rdev does not work. The text says what to do.
    Bad(String),
}

impl Diagnosis {
    /// Makes a diagnosis of something that is as it should be.
    pub fn good(what: impl Into<String>, seen: impl Into<String>) -> Self {
        Self { what: what.into(), seen: seen.into(), verdict: Severity::Good }
    }

    /// Makes a diagnosis of something that is less than it should be; `fix` says what to do.
    pub fn warning(what: impl Into<String>, seen: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { what: what.into(), seen: seen.into(), verdict: Severity::Warning(fix.into()) }
    }

    /// Makes a diagnosis of something that does not work; `fix` says what to do.
    pub fn bad(what: impl Into<String>, seen: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { what: what.into(), seen: seen.into(), verdict: Severity::Bad(fix.into()) }
    }
}

/// A program to start in a pod.
#[derive(Debug, Clone, Default)]
pub struct Exec {
    /// The program and its arguments.
    pub argv: Vec<String>,
    /// Standard input.
    pub stdin: Stdin,
}

/// Standard input of a program.
#[derive(Debug, Clone, Default)]
pub enum Stdin {
    /// No input.
    #[default]
    None,
    /// These bytes.
    Given(Bytes),
    /// These bytes, before which the program does nothing: a pod may keep one such program waiting for the next call.
    WaitedFor(Bytes),
}

/// Result of running a program in a pod.
pub type ExecResult<T> = std::result::Result<T, ExecError>;

/// Pieces of a program's standard output.
pub type ExecOutput = BoxStream<'static, ExecResult<Bytes>>;

/// Failure to run a program in a pod.
#[derive(Debug, thiserror::Error)]
pub enum ExecError {
    /// The pod has answered that the program was not started, for this reason.
    #[error("{0}")]
    NotStarted(String),
    /// Access to the pod was denied, for this reason: the program was not started. That may pass.
    #[error("{0}")]
    Forbidden(String),
    /// The program ended with another exit code than 0.
    #[error("program ended with code {code}: {stderr}")]
    Failed {
        /// Exit code.
        code: i32,
        /// Beginning of its standard error.
        stderr: String,
    },
    /// No connection was made: the program was not started. That may pass.
    #[error(transparent)]
    Unreached(anyhow::Error),
    /// The connection was cut, or no answer came: the program's state is unknown.
    #[error(transparent)]
    Cut(#[from] anyhow::Error),
}

/// Exit code of `rdev-runner` after it has delivered the loss of a supervisor as a frame. A pod takes it for a normal end.
pub const RUNNER_EXIT_LOST: i32 = 67;

/// Exit code of `rdev-runner` for a call that was for another folder of runs.
pub const RUNNER_EXIT_OTHER_PLACE: i32 = 68;

/// Exit codes of `rdev-runner` for a call that started nothing: the request was for another folder of runs, or the run
/// could not be made.
pub const RUNNER_EXITS_NOT_STARTED: [i32; 2] = [RUNNER_EXIT_OTHER_PLACE, 73];

/// Maximum time to start a program in a pod, once a connection is free: 30 s.
pub const EXEC_START_TIMEOUT: Duration = Duration::from_secs(30);

/// Maximum wait for a free connection, where a pod starts only so many programs at once: 5 min.
pub const EXEC_TURN_TIMEOUT: Duration = Duration::from_secs(300);
