//! Operations on projects: which job is one, its key, and which can be retried by hand.

use rdev_domain::{
    Conflict, Ending, Error, Job, JobSpec, JobState, OnFailure, OperationRequest, ProjectId, Reason,
    Schedule, TaskKind,
};

use crate::jobs::ended;
use crate::tasks::{job, task};

fn project() -> ProjectId {
    "shop".parse().unwrap()
}

fn creation() -> OperationRequest {
    OperationRequest::CreateProject { project: project(), on_failure: OnFailure::Rollback }
}

fn operation(state: JobState) -> Job {
    job(JobSpec::Operation(creation()), state, Schedule::default())
}

#[test]
fn operations_of_one_project_have_one_key() {
    let deletion = OperationRequest::DeleteProject { project: project() };
    assert_eq!((creation().key(), deletion.key()), ("project:shop".to_owned(), "project:shop".to_owned()));
    let spec = JobSpec::Operation(creation());
    assert_eq!(spec.concurrency_key(), Some("project:shop".to_owned()));
}

#[test]
fn a_job_is_an_operation_or_another_kind() {
    assert_eq!(operation(JobState::Pending).operation(), Some(&creation()));
    let other = job(JobSpec::Task(task(TaskKind::Test)), JobState::Pending, Schedule::default());
    assert_eq!(other.operation(), None);
}

#[test]
fn an_operation_that_ended_without_success_can_be_retried() {
    for ending in [Ending::Cancelled, Ending::Failed(Reason::RolledBack), Ending::Failed(Reason::Stuck)] {
        let (again, _) = operation(ended(ending)).reopened().unwrap();
        assert_eq!(again.state, JobState::Pending, "{ending:?}");
    }
    for state in [JobState::Pending, ended(Ending::Completed)] {
        let refused = operation(state.clone()).reopened();
        let Err(Error::Conflict { conflict, .. }) = refused else { panic!("{state:?}: {refused:?}") };
        assert_eq!(conflict, Conflict::OperationNotRetryable);
    }
}
