//! Conversions from the domain to the types of the wire, which routes and event streams share.

use std::time::Duration;

use rdev_api_types as types;
use rdev_domain::{
    BlockedBy, CommandKind, CommandRequest, Condition, Ending, Entry, Job, JobKind, JobSpec, JobState,
    JobStatus, OperationKind, ProjectStatus, Reason, StepError, StepErrorCode, StepStatus, TaskKind,
    Timestamp, beginning,
};
use rdev_services::QueuePosition;

/// Longest beginning of a command that lists show, in characters.
const SUMMARY_CHARS_MAX: usize = 120;

/// Shows the progress of a command or a task; `waiting` has its position where one is asked for.
pub(crate) fn progress(job: &Job, waiting: Option<QueuePosition>) -> types::Progress {
    let progress = types::Progress {
        timeout_ms: millis(job.timeout),
        cancel_requested: job.cancel_requested,
        created_by: job.created_by.to_string(),
        created_at: time(job.created_at),
        started_at: None,
        ended_at: None,
        duration_ms: None,
        exit_code: None,
        reason: None,
        message: None,
        queue: waiting.map(queue_position),
    };
    match &job.state {
        JobState::Pending => progress,
        JobState::Running { started_at, failure, .. } => types::Progress {
            started_at: Some(time(*started_at)),
            reason: failure.as_ref().map(|failure| reason(failure.reason)),
            message: failure.as_ref().map(|failure| failure.message.clone()),
            ..progress
        },
        JobState::Ended { started_at, ended_at, outcome } => types::Progress {
            started_at: started_at.map(time),
            ended_at: Some(time(*ended_at)),
            duration_ms: Some(millis(outcome.duration)),
            exit_code: outcome.exit_code,
            reason: ending_reason(outcome.ending),
            message: outcome.message.clone(),
            ..progress
        },
    }
}

fn queue_position(waiting: QueuePosition) -> types::QueuePosition {
    let blocked_by = |cause| match cause {
        BlockedBy::Workspace => types::BlockedBy::Workspace,
        BlockedBy::ConcurrencyKey => types::BlockedBy::ConcurrencyKey,
        BlockedBy::RunAfter => types::BlockedBy::RunAfter,
        BlockedBy::PoolFull => types::BlockedBy::PoolFull,
        BlockedBy::NoReadyWorker => types::BlockedBy::NoReadyWorker,
        BlockedBy::PodNotReady => types::BlockedBy::PodNotReady,
        BlockedBy::WorkerConcurrency => types::BlockedBy::WorkerConcurrency,
    };
    types::QueuePosition { position: waiting.position, blocked_by: waiting.blocked_by.map(blocked_by) }
}

/// Shows a status.
pub(crate) fn status(status: JobStatus) -> types::Status {
    match status {
        JobStatus::Pending => types::Status::Pending,
        JobStatus::Running => types::Status::Running,
        JobStatus::WaitingApproval => types::Status::WaitingApproval,
        JobStatus::WaitingQuota => types::Status::WaitingQuota,
        JobStatus::WaitingBudget => types::Status::WaitingBudget,
        JobStatus::Completed => types::Status::Completed,
        JobStatus::Failed => types::Status::Failed,
        JobStatus::Cancelled => types::Status::Cancelled,
        JobStatus::TimedOut => types::Status::TimedOut,
    }
}

/// Reads a status; `None` for one that is not known.
pub(crate) fn job_status(status: types::Status) -> Option<JobStatus> {
    JobStatus::parse(status.as_str())
}

/// Shows the cause of an end; `None` for a success.
pub(crate) fn ending_reason(ending: Ending) -> Option<types::Reason> {
    match ending {
        Ending::Completed => None,
        Ending::Failed(cause) => Some(reason(cause)),
        Ending::Cancelled => Some(types::Reason::Cancelled),
        Ending::TimedOut => Some(types::Reason::Timeout),
    }
}

/// Shows the cause of a failure or a delay.
pub(crate) fn reason(reason: Reason) -> types::Reason {
    match reason {
        Reason::ExitCode => types::Reason::ExitCode,
        Reason::Signal => types::Reason::Signal,
        Reason::SpawnFailed => types::Reason::SpawnFailed,
        Reason::RunnerLost => types::Reason::RunnerLost,
        Reason::JournalDamaged => types::Reason::JournalDamaged,
        Reason::PodLost => types::Reason::PodLost,
        Reason::PodEvicted => types::Reason::PodEvicted,
        Reason::PodRestarted => types::Reason::PodRestarted,
        Reason::NodeLost => types::Reason::NodeLost,
        Reason::PodNotReady => types::Reason::PodNotReady,
        Reason::OomKilled => types::Reason::OomKilled,
        Reason::ExecForbidden => types::Reason::ExecForbidden,
        Reason::NoShell => types::Reason::NoShell,
        Reason::RunnerMissing => types::Reason::RunnerMissing,
        Reason::RunsShared => types::Reason::RunsShared,
        Reason::NoResult => types::Reason::NoResult,
        Reason::Auth => types::Reason::Auth,
        Reason::Quota => types::Reason::Quota,
        Reason::ModelUnavailable => types::Reason::ModelUnavailable,
        Reason::AgentError => types::Reason::AgentError,
        Reason::MaxTurns => types::Reason::MaxTurns,
        Reason::HungAfterResult => types::Reason::HungAfterResult,
        Reason::RunnerFailed => types::Reason::RunnerFailed,
        Reason::Degraded => types::Reason::Degraded,
        Reason::RolledBack => types::Reason::RolledBack,
        Reason::Stuck => types::Reason::Stuck,
    }
}

/// Shows the state of a step.
pub(crate) fn step_state(status: StepStatus) -> types::StepState {
    match status {
        StepStatus::Pending => types::StepState::Pending,
        StepStatus::Running => types::StepState::Running,
        StepStatus::Done => types::StepState::Done,
        StepStatus::Failed => types::StepState::Failed,
        StepStatus::Undoing => types::StepState::Undoing,
        StepStatus::Undone => types::StepState::Undone,
        StepStatus::Stuck => types::StepState::Stuck,
    }
}

/// Shows the error of a step.
pub(crate) fn step_error(error: &StepError) -> types::StepError {
    let code = match error.code {
        StepErrorCode::Unavailable => types::StepErrorCode::Unavailable,
        StepErrorCode::Conflict => types::StepErrorCode::Conflict,
        StepErrorCode::Invalid => types::StepErrorCode::Invalid,
        StepErrorCode::Internal => types::StepErrorCode::Internal,
    };
    types::StepError { code, message: error.message.clone() }
}

/// Shows what an entry of the log is about.
pub(crate) fn event_job(entry: &Entry) -> types::EventJob {
    let id = || Some(entry.job.to_string());
    let (command_id, task_id, operation_id) = match entry.kind {
        JobKind::Command(_) => (id(), None, None),
        JobKind::Task(_) => (None, id(), None),
        JobKind::Operation(_) => (None, None, id()),
    };
    let kind = match entry.kind {
        JobKind::Command(CommandKind::Claude) => types::JobType::Claude,
        JobKind::Command(CommandKind::Shell) | JobKind::Task(TaskKind::Shell) => types::JobType::Shell,
        JobKind::Command(CommandKind::Git) => types::JobType::Git,
        JobKind::Task(TaskKind::Build) => types::JobType::Build,
        JobKind::Task(TaskKind::Test) => types::JobType::Test,
        JobKind::Task(TaskKind::Deploy) => types::JobType::Deploy,
        JobKind::Operation(OperationKind::CreateProject) => types::JobType::CreateProject,
        JobKind::Operation(OperationKind::DeleteProject) => types::JobType::DeleteProject,
    };
    let project = entry.project.as_ref().map(ToString::to_string);
    types::EventJob { command_id, task_id, operation_id, kind, project }
}

/// Shows a moment.
pub(crate) fn time(at: Timestamp) -> types::Timestamp {
    at.to_string().into()
}

/// Returns whole milliseconds.
pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Shows the beginning of what a command or a task runs.
pub(crate) fn summary(spec: &JobSpec) -> String {
    let cut = |text: &str| beginning(text, SUMMARY_CHARS_MAX).to_owned();
    let request = match spec {
        JobSpec::Command { request, .. } => request,
        JobSpec::Task(task) => return cut(&task.steps.join("; ")),
        JobSpec::Operation(request) => return request.to_string(),
    };
    match request {
        CommandRequest::Claude(agent) => cut(&agent.prompt),
        CommandRequest::Shell(shell) => cut(&shell.command),
        CommandRequest::Git(git) => cut(&git.args.join(" ")),
    }
}

/// Cause for which a project or a worker is not ready, or a warning about it; all fields are null without one.
#[derive(Default)]
pub(crate) struct NotReady {
    pub(crate) reason: Option<String>,
    pub(crate) message: Option<String>,
    pub(crate) since: Option<types::Timestamp>,
}

impl NotReady {
    /// Shows the cause of a status first, then the warning.
    pub(crate) fn of(status: ProjectStatus, warning: Option<Condition>) -> Self {
        let condition = match (status.condition(), warning) {
            (Some(condition), Some(warning)) => {
                let message = format!("{}; {}", condition.message, warning.message);
                Some(Condition { message, ..condition })
            }
            (condition, warning) => condition.or(warning),
        };
        let shown = |condition: Condition| Self {
            reason: Some(condition.reason),
            message: Some(condition.message),
            since: Some(time(condition.since)),
        };
        condition.map(shown).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use rdev_domain::{Limits, git_subcommands};

    use super::*;

    /// The names in stores and the names on the wire are the same.
    #[test]
    fn names_are_the_same_in_answers_and_stores() {
        for known in types::Reason::ALL {
            let Some(stored) = Reason::parse(known.as_str()) else {
                let of_endings = ["cancelled", "timeout", "retried"];
                assert!(of_endings.contains(&known.as_str()), "{known} is no reason");
                continue;
            };
            assert_eq!(reason(stored), *known);
        }
        assert!(
            types::JobType::ALL.iter().all(|name| JobKind::all().any(|kind| kind.as_str() == name.as_str()))
        );
        for known in types::Status::ALL {
            assert_eq!(JobStatus::parse(known.as_str()).map(status), Some(*known));
        }
        assert_eq!(ending_reason(Ending::TimedOut).map(types::Reason::as_str), Ending::TimedOut.reason());
    }

    #[test]
    fn documented_limits_are_those_that_are_checked() {
        let limits = Limits::DEFAULT;
        assert_eq!(limits.timeout_max, Duration::from_secs(types::TimeoutSeconds::MAX));
        assert_eq!(limits.item_bytes_max, types::VariableValue::BYTES_MAX);
        assert!(git_subcommands().eq(types::GIT_SUBCOMMANDS));
    }
}
