//! The whole output of a command.

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use rdev_api_types::{CommandPath, ErrorBody};
use rdev_services::Commands;

use crate::error::ApiError;
use crate::extract::CommandInProject;
use crate::sse::stored_output;

/// Get a command's output.
///
/// Returns the bytes as written, both streams in the order in which they came; with `Accept: application/x-ndjson` the
/// data of every event, one JSON object a line, with `event` added. While the command runs, returns the output so far.
/// If retention has removed the beginning, `Rdev-Gap` names the missing events, and NDJSON has a `gap` in their place.
/// Output that is removed during the transfer cuts the plain answer.
#[utoipa::path(get, path = "/projects/{project}/commands/{command_id}/output", tag = "commands", operation_id = "get_output",
    params(CommandPath), responses(
    (status = 200, description = "The output", content(
        (String = "text/plain", example = "line 1\nline 2\n"),
        (String = "application/x-ndjson")),
        headers(("Rdev-Gap" = Option<String>, description = "Numbers of the first and the last event that retention has removed, such as `1-4711`"))),
    (status = 404, description = "There is no such project, or no such command in it", body = ErrorBody)))]
pub(crate) async fn output(
    State(commands): State<Commands>,
    CommandInProject(project, id): CommandInProject,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    stored_output(commands.output(&project, &id).await?, &headers).await
}
