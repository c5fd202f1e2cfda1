//! States and specifications of jobs.

use std::time::Duration;

use rdev_domain::{
    AgentRequest, CommandRequest, Condition, Conflict, Ending, Error, Failure, GitRequest, JobSpec, JobState,
    JobStatus, Outcome, ProjectStatus, Reason, Resource, ShellRequest, Target, TaskKind, Timestamp,
};

use crate::tasks::task;

fn at(micros: i64) -> Timestamp {
    Timestamp::from_micros(micros)
}

pub(crate) fn ended(ending: Ending) -> JobState {
    let outcome = Outcome { ending, exit_code: None, message: None, duration: Duration::ZERO };
    JobState::Ended { started_at: Some(at(1)), ended_at: at(2), outcome }
}

fn conflict<T: std::fmt::Debug>(result: Result<T, Error>) -> (Conflict, String) {
    match result {
        Err(Error::Conflict { conflict, message, .. }) => (conflict, message),
        other => panic!("no conflict: {other:?}"),
    }
}

#[test]
fn only_the_last_state_has_ended() {
    assert!(!JobState::Pending.is_ended());
    assert!(!JobState::running(at(1)).is_ended());
    for ending in [Ending::Completed, Ending::Cancelled, Ending::TimedOut, Ending::Failed(Reason::Signal)] {
        assert!(ended(ending).is_ended());
        assert_eq!(ended(ending).status(), JobStatus::from(ending));
    }
    assert_eq!(JobState::Pending.status(), JobStatus::Pending);
    assert_eq!(JobState::running(at(1)).status(), JobStatus::Running);
}

#[test]
fn an_ended_job_keeps_the_time_of_its_start() {
    let outcome = Outcome::without_process(Ending::Cancelled, "m");
    let after = JobState::running(at(3)).end(outcome.clone(), at(9)).unwrap();
    assert_eq!(after, JobState::Ended { started_at: Some(at(3)), ended_at: at(9), outcome });
}

#[test]
fn only_a_running_job_stalls_and_goes_on() {
    let failure = Failure::new(Reason::PodNotReady, "the pod is not ready");
    let running = JobState::running(at(3));
    let stalled = running.stalled(Some(failure.clone())).unwrap();
    assert_eq!(
        stalled,
        JobState::Running { started_at: at(3), failure: Some(failure.clone()), waiting_for: None }
    );
    assert_eq!(stalled.stalled(None).unwrap(), running);
    for state in [JobState::Pending, ended(Ending::Completed)] {
        assert!(matches!(state.stalled(Some(failure.clone())), Err(Error::LeaseLost)), "{state:?}");
    }
}

#[test]
fn another_attempt_waits_until_the_job_has_ended() {
    for state in [JobState::Pending, JobState::running(at(1))] {
        assert_eq!(state.retry().unwrap(), JobState::Pending);
        let (rule, message) = conflict(state.reopen());
        assert_eq!(rule, Conflict::TaskNotEnded);
        assert!(message.contains(state.status().as_str()), "{message}");
    }
    let state = ended(Ending::Failed(Reason::ExitCode));
    assert_eq!(state.reopen().unwrap(), JobState::Pending);
    for refused in
        [state.retry(), state.start(at(5)), state.end(Outcome::without_process(Ending::Completed, ""), at(5))]
    {
        let (rule, message) = conflict(refused);
        assert_eq!(rule, Conflict::JobEnded);
        assert!(message.contains("failed"), "{message}");
    }
}

#[test]
fn two_agents_never_write_one_workspace() {
    let command = |request| JobSpec::Command { project: "demo".parse().unwrap(), request };
    let claude = command(CommandRequest::Claude(AgentRequest::default()));
    assert_eq!(claude.concurrency_key().as_deref(), Some("workspace:demo"));
    for request in
        [CommandRequest::Shell(ShellRequest::default()), CommandRequest::Git(GitRequest::default())]
    {
        assert_eq!(command(request).concurrency_key(), None);
    }
    assert_eq!(
        JobSpec::Task(task(TaskKind::Deploy)).concurrency_key().as_deref(),
        Some("pool:https://host/repo")
    );
}

#[test]
fn a_command_belongs_to_its_project_and_a_task_to_the_pool() {
    let command = JobSpec::Command {
        project: "demo".parse().unwrap(),
        request: CommandRequest::Shell(ShellRequest::default()),
    };
    assert!(!command.is_task());
    assert_eq!(command.target(), Target::Project("demo".parse().unwrap()));
    assert_eq!(command.project().map(rdev_domain::ProjectId::as_str), Some("demo"));
    assert!(command.artefacts().is_empty());
    let mut request = task(TaskKind::Build);
    assert_eq!(JobSpec::Task(request.clone()).project(), None);
    request.project = Some("other".parse().unwrap());
    request.artefacts = vec!["dist/".into()];
    let task = JobSpec::Task(request);
    assert!(task.is_task());
    assert_eq!(task.target(), Target::Pool);
    assert_eq!(task.project().map(rdev_domain::ProjectId::as_str), Some("other"));
    assert_eq!(task.artefacts(), ["dist/"]);
}

#[test]
fn a_project_that_is_not_ready_has_a_condition() {
    let condition = Condition { reason: "ImagePullBackOff".into(), message: "m".into(), since: at(1) };
    assert_eq!(ProjectStatus::Ready.condition(), None);
    for status in [ProjectStatus::Starting, ProjectStatus::Failing, ProjectStatus::Gone] {
        assert_eq!(status(condition.clone()).condition(), Some(condition.clone()));
    }
}

#[test]
fn errors_carry_the_requested_id() {
    let missing = Error::not_found(Resource::Project, "demo");
    assert_eq!(missing.to_string(), "project \"demo\" does not exist");
    let away = Error::unavailable("Postgres", std::io::Error::other("refused"));
    assert_eq!(away.to_string(), "Postgres is not available");
    assert!(matches!(away, Error::Unavailable { source, .. } if source.to_string() == "refused"));
}
