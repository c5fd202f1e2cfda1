//! The files that tasks have left.

use axum::body::Body;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream::try_unfold;
use futures_util::{Stream, TryStreamExt};
use rdev_domain::{Artefact, Content, JobId};
use rdev_services::{ArtefactFile, Tasks};
use serde::Serialize;
use utoipa::ToSchema;

use crate::envelope::List;
use crate::error::{ApiError, ErrorBody};
use crate::extract::{TaskFile, TaskPath};

/// A file that a task has left, or was to leave.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Artefact)]
pub(crate) struct ArtefactDto {
    /// Where it was in the checkout; where there is no file, the pattern that asked for it.
    #[schema(example = "target/report.xml")]
    path: String,
    /// Its bytes.
    size: u64,
    /// In hexadecimal digits; null when it is not kept.
    #[schema(example = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")]
    sha256: Option<String>,
    /// Why not: `missing`, `too_large`, `too_many`, `unreadable`, `unsearched`, `lost` or `removed`; null when it is kept.
    #[schema(example = "missing")]
    problem: Option<&'static str>,
    /// Where to read it; null when it is not kept.
    #[schema(example = "/queue/tasks/cmd-0199d7e8c0de7000a0b1c2d3e4f50617/artefacts/target/report.xml")]
    url: Option<String>,
}

impl ArtefactDto {
    fn of(task: &JobId, artefact: Artefact) -> Self {
        let (sha256, problem) = match artefact.kept {
            Content::Stored(sum) => (Some(sum.iter().map(|byte| format!("{byte:02x}")).collect()), None),
            Content::Skipped(why) => (None, Some(why.as_str())),
        };
        let url = problem.is_none().then(|| {
            let path: String = artefact.path.bytes().map(escaped).collect();
            format!("/queue/tasks/{task}/artefacts/{path}")
        });
        Self { path: artefact.path, size: artefact.size, sha256, problem, url }
    }
}

/// A byte of a path as it stands in a URL.
fn escaped(byte: u8) -> String {
    let plain = byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte);
    if plain { char::from(byte).to_string() } else { format!("%{byte:02X}") }
}

/// The files that the task's last attempt has left, and those that are not kept, with the reason. Of a task that runs
/// it is what has been stored by now.
#[utoipa::path(get, path = "/queue/tasks/{task_id}/artefacts", tag = "queue", operation_id = "list_artefacts",
    params(("task_id" = String, Path, description = "Id of the task")), responses(
    (status = 200, description = "All files", body = List<ArtefactDto>),
    (status = 404, description = "There is no such task", body = ErrorBody)))]
pub(crate) async fn list(
    State(tasks): State<Tasks>,
    TaskPath(id): TaskPath,
) -> Result<List<ArtefactDto>, ApiError> {
    let files = tasks.artefacts(&tasks.get(&id).await?).await?;
    Ok(List::whole(files.into_iter().map(|file| ArtefactDto::of(&id, file)).collect()))
}

/// One file, byte for byte.
#[utoipa::path(get, path = "/queue/tasks/{task_id}/artefacts/{*path}", tag = "queue", operation_id = "get_artefact",
    params(("task_id" = String, Path, description = "Id of the task"),
           ("path" = String, Path, description = "The file's path, with its slashes", example = "target/report.xml")),
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

/// One part after the other: no more than one is in memory.
fn parts(file: ArtefactFile) -> impl Stream<Item = rdev_domain::Result<Bytes>> {
    // Once the answer has begun, cutting it is the only way left to say that it is not whole.
    try_unfold(file, |mut file| async { Ok(file.next().await?.map(|bytes| (bytes, file))) })
        .inspect_err(|error| tracing::error!(?error, "a file could not be read to its end"))
}
