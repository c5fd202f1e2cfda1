//! The whole output of a command.

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use rdev_services::{Commands, Follow};

use crate::error::{ApiError, ErrorBody};
use crate::extract::CommandInProject;
use crate::sse::render::Form;
use crate::sse::stored;

/// The whole output.
///
/// The bytes as written, both streams in the order in which they came; or, with
/// `Accept: application/x-ndjson`, the data of every event, one JSON object a line, with `event` added. Of a
/// command that runs, what there is by now.
#[utoipa::path(get, path = "/projects/{project}/commands/{command_id}/output", tag = "commands", operation_id = "get_output",
    params(("project" = String, Path, description = "Id of the project", example = "demo"),
           ("command_id" = String, Path, description = "Id of the command")), responses(
    (status = 200, description = "The output", content(
        (String = "text/plain", example = "line 1\nline 2\n"),
        (String = "application/x-ndjson"))),
    (status = 404, description = "There is no such project, or no such command in it", body = ErrorBody)))]
pub(crate) async fn output(
    State(commands): State<Commands>,
    CommandInProject(project, id): CommandInProject,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    Ok(answer(commands.output(&project, &id).await?, &headers))
}

/// What is stored, in the form that is asked for.
pub(crate) fn answer(follow: Follow, headers: &HeaderMap) -> Response {
    let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    let (form, content_type) = if accept.contains("application/x-ndjson") {
        (Form::Ndjson, "application/x-ndjson")
    } else {
        (Form::Bytes, "text/plain; charset=utf-8")
    };
    let headers = [
        (header::CONTENT_TYPE, content_type),
        (header::CACHE_CONTROL, "no-store"),
        // The bytes are a command's: no browser may take them for a page.
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (headers, Body::from_stream(stored(follow, form))).into_response()
}
