//! Tasks: from their requests, and to their answers.

use rdev_api_types as types;
use rdev_api_types::{ArtefactSummary, TaskBody, TaskType};
use rdev_domain::{Job, JobSpec, JobState, ProjectId, TaskKind, TaskRequest, Timestamp, Validate};
use rdev_services::{QueuePosition, SubmitTask};

use crate::convert::{progress, status, summary, time};
use crate::error::quoted;

/// Accepted types of tasks.
pub(super) const TASK_TYPES: &str = "build, test, deploy or shell";

/// Reads a request: the task, and every field of it that is not valid.
pub(crate) fn read(body: TaskBody) -> (SubmitTask, Validate) {
    let mut validate = Validate::default();
    let kind = body.kind.known().and_then(task_kind).unwrap_or_else(|| {
        let shown = quoted(&body.kind.to_string());
        validate.fail("type", format!("{shown} is not valid: {TASK_TYPES}"));
        // The other faults are reported as well; this type asks for least.
        TaskKind::Shell
    });
    let run_after = body.run_after.and_then(|text| {
        let time = Timestamp::parse(text.as_str());
        if time.is_none() {
            let accepted = "RFC 3339, at most 9999-12-31T23:59:59Z";
            validate.fail("run_after", format!("{} is not valid: accepted is {accepted}", quoted(&text.0)));
        }
        time
    });
    let project: Option<ProjectId> = body.project.and_then(|project| validate.parse("project", &project));
    if !body.credentials.is_empty() {
        validate.fail("credentials", "this version has no credentials; leave it out, or set env");
    }
    let env = body.env.unwrap_or_default().into_iter().map(|(name, value)| (name.0, value.0)).collect();
    let work = TaskRequest {
        kind,
        repository: body.repository,
        git_ref: body.r#ref,
        steps: body.steps.into_iter().map(|step| step.0).collect(),
        env,
        artefacts: body.artefacts,
        project,
        concurrency_key: body.concurrency_key,
    };
    let submit = SubmitTask {
        work,
        priority: body.priority,
        run_after,
        max_attempts: body.max_attempts,
        timeout_seconds: body.timeout_seconds.map(|seconds| seconds.0),
        idempotency: None,
    };
    (submit, validate)
}

/// Shows a task as it is now, with its queue position and the counts of its files where they are asked for.
pub(crate) fn shown(
    task: &Job,
    queue: Option<QueuePosition>,
    artefacts: Option<ArtefactSummary>,
) -> types::Task {
    let work = match &task.spec {
        JobSpec::Task(work) => Some(work),
        JobSpec::Command { .. } | JobSpec::Operation(_) => None,
    };
    let last_error = match &task.state {
        JobState::Ended { outcome, .. } if task.is_dead() => Some(rdev_domain::attempt_error(outcome)),
        _ => task.schedule.last_error.clone(),
    };
    types::Task {
        id: task.id.to_string(),
        task_id: task.id.to_string(),
        kind: work.map_or(TaskType::Shell, |work| task_type(work.kind)),
        status: status(task.state.status()),
        dead: task.is_dead(),
        stream_id: task.stream.to_string(),
        stream_url: format!("/queue/tasks/{}/events?stream_id={}", task.id, task.stream),
        repository: work.and_then(|work| work.repository.clone()),
        r#ref: work.and_then(|work| work.git_ref.clone()),
        summary: summary(&task.spec),
        project: work.and_then(|work| work.project.as_ref()).map(ToString::to_string),
        priority: task.schedule.priority,
        run_after: task.schedule.run_after.map(time),
        concurrency_key: work.and_then(TaskRequest::key).map(|key| key.replacen("pool:", "", 1)),
        attempts: task.schedule.attempts,
        max_attempts: task.schedule.attempts_allowed(),
        last_error,
        progress: progress(task, queue),
        artefacts,
    }
}

/// Returns the kind that a type names.
pub(crate) fn task_kind(kind: TaskType) -> Option<TaskKind> {
    match kind {
        TaskType::Build => Some(TaskKind::Build),
        TaskType::Test => Some(TaskKind::Test),
        TaskType::Deploy => Some(TaskKind::Deploy),
        TaskType::Shell => Some(TaskKind::Shell),
        TaskType::Unknown => None,
    }
}

/// Shows a kind.
pub(crate) fn task_type(kind: TaskKind) -> TaskType {
    match kind {
        TaskKind::Build => TaskType::Build,
        TaskKind::Test => TaskType::Test,
        TaskKind::Deploy => TaskType::Deploy,
        TaskKind::Shell => TaskType::Shell,
    }
}
