//! Jobs: specification, state machine and status names.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{
    CommandKind, Conflict, Ending, Error, Failure, JobId, JobKind, KeyId, OperationRequest, Outcome,
    ProjectId, Result, Schedule, StreamId, Target, TaskRequest, Timestamp,
};

/// One unit of work, from its acceptance to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// Id of the job.
    pub id: JobId,
    /// Stream of its events.
    pub stream: StreamId,
    /// The work to do.
    pub spec: JobSpec,
    /// Longest time of one attempt; then the job is stopped and ends as timed out.
    pub timeout: Duration,
    /// API key that requested the job.
    pub created_by: KeyId,
    /// Time of acceptance.
    pub created_at: Timestamp,
    /// True once its cancellation was requested.
    pub cancel_requested: bool,
    /// Priority, start time and attempts.
    pub schedule: Schedule,
    /// Current state.
    pub state: JobState,
}

/// Work that a job does. Wrong combinations, such as an agent in the pool, cannot be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JobSpec {
    /// A command of a project.
    Command {
        /// The project in whose pod the command runs.
        project: ProjectId,
        /// The work to do.
        request: CommandRequest,
    },
    /// A task of the pool.
    Task(TaskRequest),
    /// An operation, which rdev does itself.
    Operation(OperationRequest),
}

/// Work for the pod of a project.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum CommandRequest {
    /// Claude Code, in print mode.
    Claude(AgentRequest),
    /// A line for `sh -c`.
    Shell(ShellRequest),
    /// git, with a list of arguments.
    Git(GitRequest),
}

/// Work for a coding agent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentRequest {
    /// Instructions to the agent.
    pub prompt: String,
    /// The agent's own session to resume.
    pub session_id: Option<String>,
    /// The model, by the agent's name for it.
    pub model: Option<String>,
    /// Most turns of the agent.
    pub max_turns: Option<u32>,
}

/// A line for the shell.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShellRequest {
    /// The line.
    pub command: String,
    /// Environment variables of the shell.
    pub env: BTreeMap<String, String>,
}

/// Arguments for git.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GitRequest {
    /// The arguments after `git`.
    pub args: Vec<String>,
}

impl CommandRequest {
    /// Returns the kind of the command.
    pub fn kind(&self) -> CommandKind {
        match self {
            Self::Claude(_) => CommandKind::Claude,
            Self::Shell(_) => CommandKind::Shell,
            Self::Git(_) => CommandKind::Git,
        }
    }
}

impl JobSpec {
    /// Returns the kind of the job.
    pub fn kind(&self) -> JobKind {
        match self {
            Self::Command { request, .. } => JobKind::Command(request.kind()),
            Self::Task(task) => JobKind::Task(task.kind),
            Self::Operation(request) => JobKind::Operation(request.kind()),
        }
    }

    /// Returns the target of the job: its project, the pool, or the operations.
    pub fn target(&self) -> Target {
        match self {
            Self::Command { project, .. } => Target::Project(project.clone()),
            Self::Task(_) => Target::Pool,
            Self::Operation(_) => Target::Operations,
        }
    }

    /// Tells a task of the pool from a command of a project.
    pub fn is_task(&self) -> bool {
        matches!(self, Self::Task(_))
    }

    /// Returns the project that the job is done for; a task may have none.
    pub fn project(&self) -> Option<&ProjectId> {
        match self {
            Self::Command { project, .. } => Some(project),
            Self::Task(task) => task.project.as_ref(),
            Self::Operation(request) => Some(request.project()),
        }
    }

    /// Returns the patterns of files to store; only tasks have some.
    pub fn artefacts(&self) -> &[String] {
        match self {
            Self::Command { .. } | Self::Operation(_) => &[],
            Self::Task(task) => &task.artefacts,
        }
    }

    /// Returns the concurrency key: at most one job of a key runs at a time, so two agents never write
    /// one workspace at once.
    pub fn concurrency_key(&self) -> Option<String> {
        match self {
            Self::Command { project, request: CommandRequest::Claude(_) } => {
                Some(format!("workspace:{project}"))
            }
            Self::Command { request: CommandRequest::Shell(_) | CommandRequest::Git(_), .. } => None,
            Self::Task(task) => task.key(),
            Self::Operation(request) => Some(request.key()),
        }
    }
}

impl Job {
    /// Returns the target of the job: its project, the pool, or the operations.
    pub fn target(&self) -> Target {
        self.spec.target()
    }
}

/// State of a job, with its data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JobState {
    /// Stored, and waiting for a worker.
    Pending,
    /// Started, or about to start.
    Running {
        /// Time of the first start.
        started_at: Timestamp,
        /// Cause that keeps the job from running, if one is known.
        failure: Option<Failure>,
        /// Decision or resource that the job waits for; `None` while it may go on.
        waiting_for: Option<WaitingFor>,
    },
    /// Ended.
    Ended {
        /// Time of the first start; `None` when the job never ran.
        started_at: Option<Timestamp>,
        /// Time of the end.
        ended_at: Timestamp,
        /// Result of the job.
        outcome: Outcome,
    },
}

/// Decision or resource that a running job waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WaitingFor {
    /// Somebody's approval.
    Approval,
    /// Room in a quota.
    Quota,
    /// Room in a budget.
    Budget,
}

impl WaitingFor {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Approval, Self::Quota, Self::Budget];

    /// Name in stores.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Approval => "approval",
            Self::Quota => "quota",
            Self::Budget => "budget",
        }
    }

    /// Returns the value of a name in stores.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|waiting_for| waiting_for.as_str() == name)
    }

    /// Status of a job that waits for this.
    pub fn status(self) -> JobStatus {
        match self {
            Self::Approval => JobStatus::WaitingApproval,
            Self::Quota => JobStatus::WaitingQuota,
            Self::Budget => JobStatus::WaitingBudget,
        }
    }
}

/// Name of a state. A job that waits for a decision or a resource has a status of its own; in stores it is running.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobStatus {
    /// Stored, and waiting for a worker.
    Pending,
    /// Started, or about to start.
    Running,
    /// Running, and waiting for an approval.
    WaitingApproval,
    /// Running, and waiting for room in a quota.
    WaitingQuota,
    /// Running, and waiting for room in a budget.
    WaitingBudget,
    /// Ended with exit code 0.
    Completed,
    /// Ended without success, and without a request to end.
    Failed,
    /// Ended on request.
    Cancelled,
    /// Ended by its timeout.
    TimedOut,
}

const STATUSES: [(JobStatus, &str); 9] = [
    (JobStatus::Pending, "pending"),
    (JobStatus::Running, "running"),
    (JobStatus::WaitingApproval, "waiting_approval"),
    (JobStatus::WaitingQuota, "waiting_quota"),
    (JobStatus::WaitingBudget, "waiting_budget"),
    (JobStatus::Completed, "completed"),
    (JobStatus::Failed, "failed"),
    (JobStatus::Cancelled, "cancelled"),
    (JobStatus::TimedOut, "timed_out"),
];

impl JobStatus {
    /// Returns the status's name in answers, events and stores.
    pub fn as_str(self) -> &'static str {
        STATUSES.iter().find(|(status, _)| *status == self).map_or("", |(_, name)| name)
    }

    /// Tells whether a job of this status has ended.
    pub fn is_end(self) -> bool {
        match self {
            Self::Completed | Self::Failed | Self::Cancelled | Self::TimedOut => true,
            Self::Pending
            | Self::Running
            | Self::WaitingApproval
            | Self::WaitingQuota
            | Self::WaitingBudget => false,
        }
    }

    /// Parses the name of a status.
    pub fn parse(name: &str) -> Option<Self> {
        STATUSES.iter().find(|(_, n)| *n == name).map(|(status, _)| *status)
    }
}

impl From<Ending> for JobStatus {
    fn from(ending: Ending) -> Self {
        match ending {
            Ending::Completed => Self::Completed,
            Ending::Failed(_) => Self::Failed,
            Ending::Cancelled => Self::Cancelled,
            Ending::TimedOut => Self::TimedOut,
        }
    }
}

impl JobState {
    /// Returns the state's name.
    pub fn status(&self) -> JobStatus {
        match self {
            Self::Pending => JobStatus::Pending,
            Self::Running { waiting_for, .. } => waiting_for.map_or(JobStatus::Running, WaitingFor::status),
            Self::Ended { outcome, .. } => outcome.ending.into(),
        }
    }

    /// Returns the state of a job that started at this time, without a failure.
    pub fn running(started_at: Timestamp) -> Self {
        Self::Running { started_at, failure: None, waiting_for: None }
    }

    /// Tells whether the job has ended.
    pub fn is_ended(&self) -> bool {
        matches!(self, Self::Ended { .. })
    }

    /// Starts the job. A second start keeps the time of the first: a worker may take over from another.
    pub fn start(&self, now: Timestamp) -> Result<Self> {
        match self {
            Self::Pending => Ok(Self::running(now)),
            Self::Running { .. } => Ok(self.clone()),
            Self::Ended { .. } => Err(ended(self)),
        }
    }

    /// Sets or clears the cause that keeps the job from running.
    pub fn stalled(&self, failure: Option<Failure>) -> Result<Self> {
        match self {
            Self::Running { started_at, waiting_for, .. } => {
                Ok(Self::Running { started_at: *started_at, failure, waiting_for: *waiting_for })
            }
            Self::Pending | Self::Ended { .. } => Err(Error::LeaseLost),
        }
    }

    /// Returns the state of a running job that waits for this, or for nothing any more.
    ///
    /// # Errors
    /// `LeaseLost` when the job does not run.
    pub fn waiting(&self, waiting_for: Option<WaitingFor>) -> Result<Self> {
        match self {
            Self::Running { started_at, failure, .. } => {
                Ok(Self::Running { started_at: *started_at, failure: failure.clone(), waiting_for })
            }
            Self::Pending | Self::Ended { .. } => Err(Error::LeaseLost),
        }
    }

    /// Ends an attempt that another one follows.
    pub fn retry(&self) -> Result<Self> {
        match self {
            Self::Pending | Self::Running { .. } => Ok(Self::Pending),
            Self::Ended { .. } => Err(ended(self)),
        }
    }

    /// Reopens an ended job for a retry by hand.
    pub fn reopen(&self) -> Result<Self> {
        match self {
            Self::Ended { .. } => Ok(Self::Pending),
            Self::Pending | Self::Running { .. } => Err(Error::conflict(
                Conflict::TaskNotEnded,
                format!("the task is {}: only an ended task can be retried", self.status().as_str()),
            )),
        }
    }

    /// Ends the job.
    pub fn end(&self, outcome: Outcome, now: Timestamp) -> Result<Self> {
        let started_at = match self {
            Self::Pending => None,
            Self::Running { started_at, .. } => Some(*started_at),
            Self::Ended { .. } => return Err(ended(self)),
        };
        Ok(Self::Ended { started_at, ended_at: now, outcome })
    }
}

fn ended(state: &JobState) -> Error {
    let message = format!("the command has already ended as {}", state.status().as_str());
    Error::conflict(Conflict::JobEnded, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(micros: i64) -> Timestamp {
        Timestamp::from_micros(micros)
    }

    fn failure() -> Failure {
        Failure::new(crate::Reason::RunnerFailed, "no space left")
    }

    fn outcome(ending: Ending) -> Outcome {
        Outcome { ending, exit_code: Some(0), message: None, duration: Duration::ZERO }
    }

    #[test]
    fn a_command_goes_from_pending_over_running_to_its_end() {
        let running = JobState::Pending.start(at(1)).unwrap();
        assert_eq!(running.start(at(5)).unwrap(), JobState::running(at(1)));
        let ended = running.end(outcome(Ending::Completed), at(9)).unwrap();
        assert_eq!(ended.status(), JobStatus::Completed);
        assert!(ended.start(at(10)).is_err());
        assert!(ended.end(outcome(Ending::Cancelled), at(10)).is_err());
    }

    #[test]
    fn a_pending_command_may_end_without_having_run() {
        let JobState::Ended { started_at, .. } =
            JobState::Pending.end(outcome(Ending::Cancelled), at(3)).unwrap()
        else {
            panic!("it has ended");
        };
        assert_eq!(started_at, None);
    }

    #[test]
    fn every_status_has_a_name_that_is_read_back() {
        for (status, name) in STATUSES {
            assert_eq!(JobStatus::parse(name), Some(status));
            assert_eq!(status.as_str(), name);
        }
    }

    #[test]
    fn a_running_job_shows_what_it_waits_for_until_it_goes_on() {
        let running = JobState::running(at(1)).stalled(Some(failure())).unwrap();
        for waiting_for in WaitingFor::ALL {
            let waiting = running.waiting(Some(waiting_for)).unwrap();
            assert_eq!(waiting.status().as_str(), format!("waiting_{}", waiting_for.as_str()));
            assert_eq!(WaitingFor::parse(waiting_for.as_str()), Some(waiting_for));
            assert_eq!(waiting.stalled(Some(failure())).unwrap(), waiting);
            assert_eq!(waiting.waiting(None).unwrap(), running);
            assert!(!waiting.is_ended());
        }
        for stopped in [JobState::Pending, running.end(outcome(Ending::Completed), at(2)).unwrap()] {
            assert!(matches!(stopped.waiting(Some(WaitingFor::Quota)), Err(Error::LeaseLost)));
        }
    }
}
