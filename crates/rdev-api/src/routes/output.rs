//! The whole output of a command.

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, header};
use axum::response::{IntoResponse, Response};
use mediatype::{MediaType, Name, names};
use rdev_api_types::{CommandPath, ErrorBody};
use rdev_engine::LogReader;
use rdev_services::Commands;

use crate::error::ApiError;
use crate::extract::{CommandInProject, liked};
use crate::sse::render::Form;
use crate::sse::stored::Stored;

const PLAIN: MediaType<'static> = MediaType::new(names::TEXT, names::PLAIN);
const NDJSON: MediaType<'static> = MediaType::new(names::APPLICATION, Name::new_unchecked("x-ndjson"));
/// Which events retention has removed at the beginning: the numbers of the first and the last.
const GAP: HeaderName = HeaderName::from_static("rdev-gap");

/// The whole output.
///
/// The bytes as written, both streams in the order in which they came; or, with
/// `Accept: application/x-ndjson`, the data of every event, one JSON object a line, with `event` added. Of a
/// command that runs, what there is by now. Where retention has removed the beginning, `Rdev-Gap` names the events
/// that are missing, and NDJSON has a `gap` in their place; what is removed while it is sent cuts the plain answer.
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
    answer(commands.output(&project, &id).await?, &headers).await
}

/// What is stored, in the form that is asked for.
pub(crate) async fn answer(follow: LogReader, headers: &HeaderMap) -> Result<Response, ApiError> {
    let (form, content_type) = if liked(headers, &[PLAIN, NDJSON]) == Some(&NDJSON) {
        (Form::Ndjson, "application/x-ndjson")
    } else {
        (Form::Bytes, "text/plain; charset=utf-8")
    };
    let stored = Stored::begin(follow, form).await?;
    let gap = stored.missing().map(|missing| [(GAP, missing)]);
    let headers = [
        (header::CONTENT_TYPE, content_type),
        (header::CACHE_CONTROL, "no-store"),
        // The bytes are a command's: no browser may take them for a page.
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    Ok((headers, gap, Body::from_stream(stored.bytes())).into_response())
}
