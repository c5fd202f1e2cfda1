//! Files that tasks have left.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream::try_unfold;
use futures_util::{Stream, TryStreamExt};
use rdev_api_types as types;
use rdev_api_types::{ArtefactPath, ArtefactProblem, ArtefactSummary, ErrorBody, List};
use rdev_domain::{Artefact, Content, JobId, SkipReason};
use rdev_services::{ArtefactFile, Tasks};

use crate::envelope::whole;
use crate::error::ApiError;
use crate::extract::{TaskFile, TaskPath};

/// Shows a file that a task has left, or was to leave.
fn shown(task: &JobId, artefact: Artefact) -> types::Artefact {
    let (sha256, problem) = match artefact.kept {
        Content::Stored(sum) => (Some(sum.iter().map(|byte| format!("{byte:02x}")).collect()), None),
        Content::Skipped(why) => (None, Some(self::problem(why))),
    };
    let url = problem.is_none().then(|| {
        let path: String = artefact.path.bytes().map(escaped).collect();
        format!("/queue/tasks/{task}/artefacts/{path}")
    });
    types::Artefact { path: artefact.path, size: artefact.size, sha256, problem, url }
}

fn problem(why: SkipReason) -> ArtefactProblem {
    match why {
        SkipReason::Missing => ArtefactProblem::Missing,
        SkipReason::TooLarge => ArtefactProblem::TooLarge,
        SkipReason::TooMany => ArtefactProblem::TooMany,
        SkipReason::Unreadable => ArtefactProblem::Unreadable,
        SkipReason::Unsearched => ArtefactProblem::Unsearched,
        SkipReason::Lost => ArtefactProblem::Lost,
        SkipReason::Removed => ArtefactProblem::Removed,
    }
}

/// Counts the files that a task has left.
pub(crate) fn summary(artefacts: &[Artefact]) -> ArtefactSummary {
    let kept = || artefacts.iter().filter(|artefact| matches!(artefact.kept, Content::Stored(_)));
    let (files, bytes) = (kept().count(), kept().map(|artefact| artefact.size).sum());
    ArtefactSummary { files, bytes, problems: artefacts.len() - files }
}

/// Escapes a byte of a path for a URL.
fn escaped(byte: u8) -> String {
    let plain = byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte);
    if plain { char::from(byte).to_string() } else { format!("%{byte:02X}") }
}

/// List the files of the task's last attempt.
///
/// Files that are not kept are listed with the reason. While the task runs, the list has the files stored so far.
#[utoipa::path(get, path = "/queue/tasks/{task_id}/artefacts", tag = "queue", operation_id = "list_artefacts",
    params(types::TaskPath), responses(
    (status = 200, description = "All files", body = List<types::Artefact>),
    (status = 404, description = "There is no such task", body = ErrorBody)))]
pub(crate) async fn list(
    State(tasks): State<Tasks>,
    TaskPath(id): TaskPath,
) -> Result<Json<List<types::Artefact>>, ApiError> {
    let files = tasks.artefacts(&id).await?;
    Ok(whole(files.into_iter().map(|file| shown(&id, file)).collect()))
}

/// Get one file, byte for byte.
#[utoipa::path(get, path = "/queue/tasks/{task_id}/artefacts/{*path}", tag = "queue", operation_id = "get_artefact",
    params(ArtefactPath),
    responses(
    (status = 200, description = "The file", content_type = "application/octet-stream", body = Vec<u8>),
    (status = 404, description = "There is no such task, or it has left no such file", body = ErrorBody)))]
pub(crate) async fn get(
    State(tasks): State<Tasks>,
    TaskFile(id, path): TaskFile,
) -> Result<Response, ApiError> {
    let file = tasks.artefact(&id, &path).await?;
    let name = file.about.path.rsplit('/').next().unwrap_or_default().bytes().map(escaped);
    let disposition = format!("attachment; filename*=UTF-8''{}", name.collect::<String>());
    let headers = [
        (header::CONTENT_TYPE, "application/octet-stream".to_owned()),
        (header::CONTENT_LENGTH, file.about.size.to_string()),
        (header::CONTENT_DISPOSITION, disposition),
        (header::CACHE_CONTROL, "no-store".to_owned()),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned()),
    ];
    Ok((headers, Body::from_stream(parts(file))).into_response())
}

/// Streams a file part by part; one part at most is in memory.
fn parts(file: ArtefactFile) -> impl Stream<Item = rdev_domain::Result<Bytes>> {
    // Once the response has begun, cutting it is the only way left to signal that it is incomplete.
    try_unfold(file, |mut file| async { Ok(file.next().await?.map(|bytes| (bytes, file))) })
        .inspect_err(|error| tracing::error!(?error, "reading a file failed, the response is cut"))
}
