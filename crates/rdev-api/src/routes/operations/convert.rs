//! Operations: from their requests, and to their answers.

use rdev_api_types as types;
use rdev_api_types::{AcceptedOperation, CreateProjectBody};
use rdev_domain::{JobState, OnFailure, OperationKind, OperationStatus, OperationStep, Validate};
use rdev_services::OperationView;

use crate::convert::{step_error, step_state, time};
use crate::error::quoted;

/// Reads a request: what is to be done when a step fails, and every field that is not valid but the name.
pub(crate) fn read(body: &CreateProjectBody) -> (OnFailure, Validate) {
    let mut validate = Validate::default();
    for field in body.unserved() {
        validate.fail(field, "this version does not serve the field; leave the field out");
    }
    let on_failure = match &body.on_failure {
        None => OnFailure::default(),
        Some(written) => match written.known() {
            Some(types::OnFailure::Rollback) => OnFailure::Rollback,
            Some(types::OnFailure::Keep) => OnFailure::Keep,
            Some(types::OnFailure::Unknown) | None => {
                let shown = quoted(&written.to_string());
                validate.fail("on_failure", format!("{shown} is not valid: rollback or keep"));
                OnFailure::default()
            }
        },
    };
    (on_failure, validate)
}

/// Shows an operation as it was accepted.
pub(crate) fn accepted(view: &OperationView) -> AcceptedOperation {
    let job = &view.job;
    AcceptedOperation {
        operation_id: job.id.to_string(),
        project: view.request.project().to_string(),
        status: match OperationStatus::of(&job.state) {
            OperationStatus::Running => types::OperationStatus::Running,
            OperationStatus::Completed => types::OperationStatus::Completed,
            OperationStatus::Degraded => types::OperationStatus::Degraded,
            OperationStatus::RolledBack => types::OperationStatus::RolledBack,
            OperationStatus::Stuck => types::OperationStatus::Stuck,
            OperationStatus::Cancelled => types::OperationStatus::Cancelled,
        },
        events_url: format!("/operations/{}/events", job.id),
    }
}

/// Shows an operation as it is now.
pub(super) fn shown(view: &OperationView) -> types::Operation {
    let job = &view.job;
    let (started_at, ended_at, message) = match &job.state {
        JobState::Pending => (None, None, None),
        JobState::Running { started_at, .. } => (Some(*started_at), None, None),
        JobState::Ended { started_at, ended_at, outcome } => {
            (*started_at, Some(*ended_at), outcome.message.clone())
        }
    };
    types::Operation {
        accepted: accepted(view),
        kind: match view.request.kind() {
            OperationKind::CreateProject => types::OperationType::CreateProject,
            OperationKind::DeleteProject => types::OperationType::DeleteProject,
        },
        created_by: job.created_by.to_string(),
        cancel_requested: job.cancel_requested,
        created_at: time(job.created_at),
        started_at: started_at.map(time),
        ended_at: ended_at.map(time),
        message,
        steps: view.steps.iter().map(step).collect(),
    }
}

fn step(step: &OperationStep) -> types::OperationStep {
    types::OperationStep {
        name: step.name.to_string(),
        state: step_state(step.state.status()),
        attempt: step.attempt,
        made: step.made.clone(),
        error: step.state.error().map(step_error),
        started_at: step.started_at.map(time),
        ended_at: step.ended_at.map(time),
    }
}
