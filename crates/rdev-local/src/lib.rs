//! Embedded runtime: a project is a directory, a pod is a process group under `rdev-runner`.
//!
//! The runtime gives the guarantees of a cluster, since the same runner supervises the jobs; it gives no
//! isolation: jobs run as this user, on this machine. The crate must not know HTTP or SQL.

mod diagnose;
mod durable;
mod environment;
mod exec;
mod first_project;
mod prestarted;
mod project_folders;
mod projects;
mod removal;
mod runner;
mod workspaces;

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use async_trait::async_trait;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use rdev_domain::{Error, Failure, Project, ProjectId, ProjectStatus, Reason, Result, Timestamp, WorkerName};
use rdev_ports::{
    Diagnosis, Disruption, Exec, ExecOutput, ExecResult, Pod, PodRef, Pods, PoolWorker, Reach, Readiness,
};

use crate::durable::flush_names;
use crate::environment::Variables;
use crate::exec::{Launch, Programs};
use crate::project_folders::ProjectFolders;
use crate::workspaces::Workspaces;

pub use crate::environment::{Audience, audience};

/// Configuration of the embedded runtime.
#[derive(Debug, Clone)]
pub struct Config {
    /// Folder for `workspaces/`, `pool/`, `runs/` and `bin/`.
    pub data_dir: PathBuf,
    /// The `rdev-runner` program for this machine.
    pub runner: &'static [u8],
    /// SHA-256 of the runner in hexadecimal, lower case.
    pub runner_sha256: &'static str,
    /// Environment of this process; [`audience`] selects who sees which part.
    pub env: Vec<(OsString, OsString)>,
    /// Names of variables that every job gets beside the default ones.
    pub command_env: Vec<String>,
    /// Permission bits that new files of jobs do not get.
    pub umask: u32,
    /// Soft limit of open files of jobs; `None`: the limit of this process.
    pub open_files: Option<u64>,
    /// Number of tasks of the pool that run at once.
    pub pool_slots: u32,
    /// Identity for a runs folder that has none: any text that was never used before.
    pub new_uid: String,
}

/// Runs jobs on this machine.
pub struct Local {
    workspaces: Workspaces,
    projects: ProjectFolders,
    /// Workers of the pool; each has a folder of its name.
    slots: BTreeSet<WorkerName>,
    pool: PathBuf,
    programs: Programs,
    agent_env: Vec<(String, String)>,
    uid: String,
    /// Folder of bare repositories that git commands may access by path.
    git_remotes: String,
}

impl Local {
    /// Creates missing folders, and writes the runner to disk.
    pub fn open(config: Config) -> anyhow::Result<Self> {
        // Jobs have other working directories, so every path in their environment is absolute.
        let data_dir = std::path::absolute(&config.data_dir)?;
        let (runs, workspaces) = (data_dir.join("runs"), data_dir.join("workspaces"));
        let git_remotes = data_dir.join("remotes");
        for folder in [&runs, &workspaces, &git_remotes] {
            std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        }
        // Without this flush a power cut could remove the name of the folder: no run would be known, and
        // all would be started again.
        flush_names(&data_dir).with_context(|| format!("cannot flush {}", data_dir.display()))?;
        let pool = data_dir.join("pool");
        let mut slots = BTreeSet::new();
        for number in 1..=config.pool_slots {
            let name: WorkerName = format!("slot-{number}").parse()?;
            let folder = pool.join(name.as_str());
            std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
            slots.insert(name);
        }
        let git_config = data_dir.join("gitconfig");
        std::fs::write(&git_config, GIT_CONFIG)
            .with_context(|| format!("cannot write {}", git_config.display()))?;
        let Variables { of_commands: mut env, of_agents: agent_env } =
            Variables::of(config.env, &config.command_env);
        env.extend([
            ("RDEV_RUNS_DIR".into(), runs.clone().into_os_string()),
            ("GIT_CONFIG_SYSTEM".into(), git_config.into_os_string()),
            // git in a workspace without a repository must not use one that encloses the workspace.
            ("GIT_CEILING_DIRECTORIES".into(), std::env::join_paths([&workspaces, &pool])?),
        ]);
        let projects = ProjectFolders::open(&data_dir, &workspaces, &env)?;
        Ok(Self {
            uid: uid(&runs, &config.new_uid)?,
            programs: Programs {
                runner: runner::install(&data_dir, config.runner, config.runner_sha256)?,
                runs,
                env,
                launch: Launch { umask: config.umask, open_files: config.open_files },
                prestarted: Arc::default(),
            },
            agent_env,
            projects,
            workspaces: Workspaces::new(workspaces),
            slots,
            pool,
            git_remotes: git_remotes
                .into_os_string()
                .into_string()
                .map_err(|path| anyhow::anyhow!("the data folder's path is not UTF-8: {}", path.display()))?,
        })
    }
}

/// Identity for commits where the user has configured none.
const GIT_CONFIG: &str = "[user]\n\tname = rdev-bot\n\temail = rdev-bot@localhost\n\
                          [init]\n\tdefaultBranch = main\n\
                          [include]\n\tpath = /etc/gitconfig\n";

/// Returns the identity of the runs folder: a job that was started under another identity must not be
/// started again.
fn uid(runs: &Path, new: &str) -> anyhow::Result<String> {
    let file = runs.join(".uid");
    match std::fs::read_to_string(&file) {
        Ok(uid) if !uid.is_empty() => Ok(uid),
        Ok(_) => Err(anyhow::anyhow!("{} is empty", file.display())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            runner::write_whole(&file, new.as_bytes(), 0o600)?;
            Ok(new.to_owned())
        }
        Err(error) => Err(error).with_context(|| format!("cannot read {}", file.display())),
    }
}

#[async_trait]
impl Pods for Local {
    fn git_remotes(&self) -> Option<&str> {
        Some(&self.git_remotes)
    }

    async fn projects(&self) -> Result<Vec<Project>> {
        let ids = self.workspaces.list().map_err(|error| Error::unavailable("workspaces", error))?;
        Ok(ids.iter().map(|id| self.describe(id)).collect())
    }

    async fn project(&self, id: &ProjectId) -> Result<Option<Project>> {
        Ok(self.workspaces.path(id).is_dir().then(|| self.describe(id)))
    }

    async fn workers(&self) -> Result<Vec<PoolWorker>> {
        let worker = |name: &WorkerName| PoolWorker {
            name: name.clone(),
            status: ProjectStatus::Ready,
            capacity: 1,
            warning: None,
            leaves: false,
        };
        Ok(self.slots.iter().map(worker).collect())
    }

    async fn readiness(&self, pod_ref: &PodRef) -> Result<Option<Readiness>> {
        let is_there = match pod_ref {
            PodRef::Project(_) => self.folder(pod_ref).is_dir(),
            PodRef::Worker(name) => self.slots.contains(name),
        };
        Ok(is_there.then(|| Readiness::Ready(self.pod_at(pod_ref))))
    }

    fn became_ready(&self) -> BoxStream<'static, PodRef> {
        futures_util::stream::pending().boxed()
    }

    async fn reach(&self, pod_ref: &PodRef, pod_uid: &str) -> Result<Reach> {
        if pod_uid != self.uid {
            return Ok(Reach::Lost(replaced()));
        }
        Ok(Reach::Reachable(self.pod_at(pod_ref)))
    }

    async fn disruption(&self, _pod_ref: &PodRef, pod_uid: &str, _since: Timestamp) -> Result<Disruption> {
        if pod_uid == self.uid {
            return Ok(Disruption::None);
        }
        Ok(Disruption::Lost(replaced()))
    }

    async fn exec(&self, pod: &Pod, exec: Exec) -> ExecResult<ExecOutput> {
        self.programs.start(pod, exec)
    }

    fn agent_env(&self) -> Vec<(String, String)> {
        self.agent_env.clone()
    }

    async fn diagnose(&self) -> Vec<Diagnosis> {
        diagnose::findings(&self.programs, self.workspaces.list())
    }

    async fn check(&self) -> Result<()> {
        std::fs::metadata(&self.programs.runner)
            .map(|_| ())
            .map_err(|error| Error::unavailable("runner", error))
    }
}

/// Failure of jobs that were started in another data folder.
fn replaced() -> Failure {
    Failure::new(Reason::PodLost, "the data folder was replaced, so the end is unknown")
}

impl Local {
    fn folder(&self, pod_ref: &PodRef) -> PathBuf {
        match pod_ref {
            PodRef::Project(id) => self.workspaces.path(id),
            PodRef::Worker(name) => self.pool.join(name.as_str()),
        }
    }

    fn pod_at(&self, pod_ref: &PodRef) -> Pod {
        let workspace = self.folder(pod_ref).to_string_lossy().into_owned();
        Pod { pod_ref: pod_ref.clone(), uid: self.uid.clone(), workspace }
    }

    fn describe(&self, id: &ProjectId) -> Project {
        let workspace = self.workspaces.path(id).to_string_lossy().into_owned();
        Project {
            id: id.clone(),
            status: match self.projects.is_closed(id) {
                true => ProjectStatus::Deleting,
                false => ProjectStatus::Ready,
            },
            warning: None,
            workspace,
            repository: None,
            description: None,
            default_agent: None,
        }
    }
}
