use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::BoxStream;
use rdev_domain::{Condition, Failure, Project, ProjectId, ProjectStatus, Result, Timestamp, WorkerName};

/// The places in which commands run: pods of a cluster, or directories of this machine.
#[async_trait]
pub trait Pods: Send + Sync {
    /// All projects, sorted by id; from memory.
    async fn projects(&self) -> Result<Vec<Project>>;

    /// One project; `None` when there is none of that id.
    async fn project(&self, id: &ProjectId) -> Result<Option<Project>>;

    /// The workers of the pool, sorted by name; from memory.
    async fn workers(&self) -> Result<Vec<PoolWorker>>;

    /// The place at this site now, for what is to be started; `None` when there is no such project or worker. While one
    /// place stays there it is the same for every process that asks.
    async fn readiness(&self, pod_ref: &PodRef) -> Result<Option<Readiness>>;

    /// The place of this identity, for what was started there for this site: it is found for as long as it is there,
    /// whatever keeps new work from it (it is to go, is not ready, belongs to the site no more, or another one has come
    /// beside it), also by a process that was not there at the start. Whether anything new may start in it, [`pod`]
    /// tells alone.
    ///
    /// # Errors
    /// `Unavailable` while nothing is known of any place.
    ///
    /// [`pod`]: Self::place
    async fn reach(&self, pod_ref: &PodRef, pod_uid: &str) -> Result<Reach>;

    /// The folder of bare repositories that git commands may reach by their path, absolute and as places see it. `None`
    /// where places share no disk: there git reaches other repositories over the network only.
    fn git_remotes(&self) -> Option<&str> {
        None
    }

    /// Tells of sites whose places become ready from now on, so that what waits for one need not ask. It never ends.
    /// It is a hint: some may go untold, and some be told that are not ready any more. Where places are always ready
    /// nothing is told.
    fn became_ready(&self) -> BoxStream<'static, PodRef>;

    /// Fate, since then, of the programs that ran in the place of this identity. It is asked for when their runner
    /// cannot be reached, or has lost them.
    async fn disruption(&self, pod_ref: &PodRef, pod_uid: &str, since: Timestamp) -> Result<Disruption>;

    /// Starts a program in the place and sends its standard output as it comes. The first argument
    /// `rdev-runner` names the runner of that place. The stream ends when the program is known to have
    /// ended well; whatever else ends it is an error. What a runner's command did is told by its frames
    /// alone. Dropping the stream ends the connection, and nothing that a runner supervises. It waits for its turn for
    /// [`EXEC_TURN_TIMEOUT`] at most, and then has started the program, or failed, within [`EXEC_START_TIMEOUT`].
    ///
    /// # Errors
    /// [`ExecError`], here or as the stream's last item, whichever the place finds out first.
    async fn exec(&self, pod: &Pod, exec: Exec) -> ExecResult<ExecOutput>;

    /// Variables that the programs of coding agents get beside those that every command of their place has: what
    /// reaches their model. A place that gives them itself names none.
    fn agent_env(&self) -> Vec<(String, String)> {
        Vec::new()
    }

    /// Looks at everything that commands need, for an operator. Takes up to a minute.
    async fn diagnose(&self) -> Vec<Diagnosis>;

    /// Fails when commands cannot be run at all now: the reason is for operators.
    async fn check(&self) -> Result<()>;
}

/// What a place is found by.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PodRef {
    /// That of a project.
    Project(ProjectId),
    /// That of a worker of the pool.
    Worker(WorkerName),
}

/// One of the tasks that a worker of the pool runs at once: each has a seat of its own.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot {
    /// The worker.
    pub worker: WorkerName,
    /// From 0 to one less than the worker's capacity.
    pub number: u32,
}

impl std::fmt::Display for Slot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "seat {} of worker {}", self.number, self.worker)
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
    /// Its name.
    pub name: WorkerName,
    /// Whether tasks can run in it now.
    pub status: ProjectStatus,
    /// How many tasks run in it at once.
    pub capacity: u32,
    /// A lack that somebody is to know of, whatever its status.
    pub warning: Option<Condition>,
    /// It is to be gone when what runs in it has ended, and counts as gone for whoever decides how many there are.
    pub leaves: bool,
}

/// Where commands run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pod {
    /// What it was found by.
    pub pod_ref: PodRef,
    /// Identity of the runs folder there: it changes when what ran there before is gone for good. The
    /// runner starts nothing in a folder of another identity.
    pub uid: String,
    /// Working directory of commands, as they see it.
    pub workspace: String,
}

/// Answer to whether something new can run in a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Readiness {
    /// They can.
    Ready(Pod),
    /// Not now; the pod may become ready by itself.
    NotReady {
        /// Why the pod is not ready.
        cause: Failure,
        /// When that began.
        since: Timestamp,
    },
    /// Not before somebody has repaired the pod.
    Unusable {
        /// What is wrong with the pod.
        cause: Failure,
    },
}

/// Answer to whether what was started in a place can be attached to, and ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reach {
    /// The place is there; or it is over, and what was written there can be read in the one that has come in its stead.
    Reachable(Pod),
    /// The pod cannot be reached now, and may be there.
    Unreachable {
        /// Why it cannot be reached.
        cause: Failure,
        /// When that began.
        since: Timestamp,
    },
    /// The pod is gone with everything that was in it.
    Lost(Failure),
}

/// What became of the programs in a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Disruption {
    /// Nothing has happened to the place itself.
    None,
    /// Nothing is known, or not yet: they may be running.
    Unknown,
    /// They were ended, but what they wrote may still be read there.
    Restarted(Failure),
    /// The programs are over for good. Their output is gone as well, unless [`Pods::reach`] finds it.
    Lost(Failure),
}

/// One thing that an examination has looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnosis {
    /// What was looked at.
    pub what: String,
    /// What was seen.
    pub seen: String,
    /// How good that is.
    pub verdict: Severity,
}

/// How good a finding is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Severity {
    /// As it should be.
    Good,
    /// rdev works, but something is less than it should be; what to do.
    Warning(String),
    /// rdev does not work; what to do.
    Bad(String),
}

impl Diagnosis {
    /// As it should be.
    pub fn good(what: impl Into<String>, seen: impl Into<String>) -> Self {
        Self { what: what.into(), seen: seen.into(), verdict: Severity::Good }
    }

    /// Less than it should be, with what to do.
    pub fn warning(what: impl Into<String>, seen: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { what: what.into(), seen: seen.into(), verdict: Severity::Warning(fix.into()) }
    }

    /// Not working, with what to do.
    pub fn bad(what: impl Into<String>, seen: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { what: what.into(), seen: seen.into(), verdict: Severity::Bad(fix.into()) }
    }
}

/// A program to start in a place.
#[derive(Debug, Clone, Default)]
pub struct Exec {
    /// The program and its arguments.
    pub argv: Vec<String>,
    /// What it reads on standard input.
    pub stdin: Stdin,
}

/// What a program reads on standard input.
#[derive(Debug, Clone, Default)]
pub enum Stdin {
    /// Nothing.
    #[default]
    None,
    /// This.
    Given(Bytes),
    /// This, and it does nothing before: a place may keep one such program waiting, to be used next time.
    WaitedFor(Bytes),
}

/// Result of running a program in a place.
pub type ExecResult<T> = std::result::Result<T, ExecError>;

/// Pieces of a program's standard output.
pub type ExecOutput = BoxStream<'static, ExecResult<Bytes>>;

/// How a program did not do what it was started for.
#[derive(Debug, thiserror::Error)]
pub enum ExecError {
    /// The place has answered: it was not started, for this reason.
    #[error("{0}")]
    NotStarted(String),
    /// Nobody was let through to the place: it was not started, for this reason. That may pass.
    #[error("{0}")]
    Forbidden(String),
    /// It has ended by itself, not well.
    #[error("it ended with code {code}: {stderr}")]
    Failed {
        /// Its exit code.
        code: i32,
        /// The beginning of what it wrote to standard error.
        stderr: String,
    },
    /// The place was not reached, or the connection was cut: how the program does is not known.
    #[error(transparent)]
    Cut(#[from] anyhow::Error),
}

/// `rdev-runner` says with this exit code that it has delivered the loss of a supervisor as a frame: to a place
/// that is an end as good as any.
pub const RUNNER_EXIT_LOST: i32 = 67;

/// `rdev-runner` says with this exit code that the call was for another folder of runs.
pub const RUNNER_EXIT_OTHER_PLACE: i32 = 68;

/// `rdev-runner` says with one of these exit codes that this call of it has started nothing: the order was for
/// another folder of runs, or the run could not be made.
pub const RUNNER_EXITS_NOT_STARTED: [i32; 2] = [RUNNER_EXIT_OTHER_PLACE, 73];

/// Longest time that starting a program in a place may take, once it is its turn.
pub const EXEC_START_TIMEOUT: Duration = Duration::from_secs(30);

/// Longest time that a program waits for its turn, where a place starts only so many at once.
pub const EXEC_TURN_TIMEOUT: Duration = Duration::from_secs(300);
