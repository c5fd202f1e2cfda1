//! Extractors: from a request to typed values, each failure with its own error response.

use std::sync::Arc;
use std::time::Duration;

use axum::body::HttpBody;
use axum::extract::{FromRequest, FromRequestParts, OptionalFromRequest, RawPathParams, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use headers_accept::Accept;
use mediatype::{MediaType, names};
use rdev_api_types::{ErrorCode, PAGE_DEFAULT, PAGE_MAX, WaitQuery};
use rdev_domain::{
    Error, IdError, IdempotencyKey, JobId, Principal, ProjectId, Resource, StreamId, WorkerName,
};
use serde::de::DeserializeOwned;

use crate::error::ApiError;
use crate::keys::AcceptedKey;
use crate::server::Departure;
use crate::unreadable::{read_body, read_query};

/// Largest body of a request, in bytes: a prompt of 1 MiB, with room for JSON's escapes.
pub(crate) const BODY_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Longest time for a whole body to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// Media type of every answer but streams, outputs and files.
pub(crate) const JSON: MediaType<'static> = MediaType::new(names::APPLICATION, names::JSON);

/// `{project}` in the path. A text that cannot be an id belongs to no project, so the error is 404.
pub(crate) struct InProject(pub(crate) ProjectId);

/// `{project}` and `{command_id}` in the path.
pub(crate) struct CommandInProject(pub(crate) ProjectId, pub(crate) JobId);

/// `{project}` and `{stream_id}` in the path.
pub(crate) struct StreamInProject(pub(crate) ProjectId, pub(crate) StreamId);

impl<S: Send + Sync> FromRequestParts<S> for InProject {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let params = params(parts, state).await?;
        Ok(Self(parse(&params, "project", Resource::Project)?))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for CommandInProject {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let params = params(parts, state).await?;
        Ok(Self(
            parse(&params, "project", Resource::Project)?,
            parse(&params, "command_id", Resource::Command)?,
        ))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for StreamInProject {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let params = params(parts, state).await?;
        Ok(Self(
            parse(&params, "project", Resource::Project)?,
            parse(&params, "stream_id", Resource::Stream)?,
        ))
    }
}

/// `{task_id}` in the path.
pub(crate) struct TaskPath(pub(crate) JobId);

impl<S: Send + Sync> FromRequestParts<S> for TaskPath {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        Ok(Self(parse(&params(parts, state).await?, "task_id", Resource::Task)?))
    }
}

/// `{operation_id}` in the path.
pub(crate) struct OperationPath(pub(crate) JobId);

impl<S: Send + Sync> FromRequestParts<S> for OperationPath {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        Ok(Self(parse(&params(parts, state).await?, "operation_id", Resource::Operation)?))
    }
}

/// `{task_id}` and `{path}` in the path; `{path}` may hold slashes.
pub(crate) struct TaskFile(pub(crate) JobId, pub(crate) String);

impl<S: Send + Sync> FromRequestParts<S> for TaskFile {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let params = params(parts, state).await?;
        let path = params.iter().find(|(param, _)| *param == "path").map_or("", |(_, path)| path);
        Ok(Self(parse(&params, "task_id", Resource::Task)?, path.to_owned()))
    }
}

/// `{worker_id}` in the path.
pub(crate) struct WorkerPath(pub(crate) WorkerName);

impl<S: Send + Sync> FromRequestParts<S> for WorkerPath {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        Ok(Self(parse(&params(parts, state).await?, "worker_id", Resource::Worker)?))
    }
}

async fn params<S: Send + Sync>(parts: &mut Parts, state: &S) -> Result<RawPathParams, ApiError> {
    RawPathParams::from_request_parts(parts, state).await.map_err(|_| {
        ApiError::new(StatusCode::BAD_REQUEST, ErrorCode::InvalidPath, "the path is not valid UTF-8")
    })
}

fn parse<T: std::str::FromStr>(
    params: &RawPathParams,
    name: &str,
    resource: Resource,
) -> Result<T, ApiError> {
    let text = params.iter().find(|(param, _)| *param == name).map_or("", |(_, text)| text);
    text.parse().map_err(|_| Error::not_found(resource, text).into())
}

/// The query string, as a struct. The guard of the route has refused unknown names before.
pub(crate) struct Query<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        read_query(parts.uri.query().unwrap_or_default()).map(Self)
    }
}

/// Reads `?limit=` of a list.
///
/// # Errors
/// 422 when the limit is not from 1 to the largest page size.
pub(crate) fn page_limit(limit: Option<u32>) -> Result<u32, ApiError> {
    match limit {
        None => Ok(PAGE_DEFAULT),
        Some(limit) if (1..=PAGE_MAX).contains(&limit) => Ok(limit),
        Some(limit) => {
            Err(ApiError::invalid_field("limit", format!("{limit} is not valid: 1 to {PAGE_MAX}")))
        }
    }
}

/// Reads `?cursor=` of a list.
///
/// # Errors
/// 422 when the cursor is no `meta.next_cursor` of a page before.
pub(crate) fn page_cursor<T: std::str::FromStr>(cursor: Option<&str>) -> Result<Option<T>, ApiError> {
    let parse = |text: &str| {
        let message = "it is not valid: accepted is meta.next_cursor of the page before";
        text.parse().map_err(|_| ApiError::invalid_field("cursor", message))
    };
    cursor.map(parse).transpose()
}

/// Reads `?stream_id=` of a list.
///
/// # Errors
/// 422 when it can be no stream's name.
pub(crate) fn stream_filter(name: &str) -> Result<StreamId, ApiError> {
    name.parse().map_err(|error: IdError| ApiError::invalid_field("stream_id", error.to_string()))
}

/// `?wait=` of one command, task or operation.
pub(crate) struct Wait {
    /// Longest wait.
    pub(crate) longest: Option<Duration>,
    departure: Option<Departure>,
}

impl Wait {
    /// Awaits an answer that may take its time; `None` when the client has left meanwhile, or has closed its side.
    pub(crate) async fn answer<T>(&self, answer: impl Future<Output = T>) -> Option<T> {
        match (&self.longest, &self.departure) {
            (Some(_), Some(departure)) => tokio::select! {
                answer = answer => Some(answer),
                () = departure.seen() => None,
            },
            _ => Some(answer.await),
        }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Wait {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let Query(WaitQuery { wait }) = Query::from_request_parts(parts, state).await?;
        if let Some(seconds) = wait.filter(|seconds| !(1..=WaitQuery::SECONDS_MAX).contains(seconds)) {
            let message = format!("{seconds} is not valid: 1 to {} seconds", WaitQuery::SECONDS_MAX);
            return Err(ApiError::invalid_field("wait", message));
        }
        let longest = wait.map(|seconds| Duration::from_secs(seconds.into()));
        Ok(Self { longest, departure: parts.extensions.get::<Departure>().cloned() })
    }
}

/// Returns the media type that the caller prefers, out of those that can be `given`, the default first. The default is
/// returned where `Accept` is missing, cannot be parsed, or accepts none of them.
pub(crate) fn preferred<'a>(
    headers: &HeaderMap,
    given: &'a [MediaType<'static>],
) -> Option<&'a MediaType<'static>> {
    let values = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let accept = values.collect::<Vec<_>>().join(",").parse::<Accept>().ok();
    accept.and_then(|accept| accept.negotiate(given)).or(given.first())
}

/// A JSON body, and the idempotency key of its request.
pub(crate) struct JsonBody<T> {
    pub(crate) body: T,
    pub(crate) idempotency: Option<IdempotencyKey>,
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for JsonBody<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &S) -> Result<Self, ApiError> {
        let (parts, body) = request.into_parts();
        if !is_json(&parts) {
            let message = "the body must be JSON, sent as `Content-Type: application/json`";
            return Err(ApiError::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                ErrorCode::UnsupportedMediaType,
                message,
            ));
        }
        if let Some(encoding) = parts.headers.get(header::CONTENT_ENCODING)
            && !encoding.as_bytes().eq_ignore_ascii_case(b"identity")
        {
            let message = format!("the body must be sent as it is, not with Content-Encoding: {encoding:?}");
            return Err(ApiError::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                ErrorCode::UnsupportedMediaType,
                message,
            )
            .with_header(header::ACCEPT_ENCODING, HeaderValue::from_static("identity")));
        }
        let bytes = read(body).await?;
        Ok(Self { body: read_body(&bytes)?, idempotency: parts.extensions.get().cloned() })
    }
}

/// Accepts a request without a body, too.
impl<S: Send + Sync, T: DeserializeOwned> OptionalFromRequest<S> for JsonBody<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Option<Self>, ApiError> {
        if request.body().is_end_stream() {
            return Ok(None);
        }
        <Self as FromRequest<S>>::from_request(request, state).await.map(Some)
    }
}

/// The idempotency key of the request, which the layer of every POST has put on it.
pub(crate) struct Idempotency(pub(crate) Option<IdempotencyKey>);

impl<S: Send + Sync> FromRequestParts<S> for Idempotency {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        Ok(Self(parts.extensions.get().cloned()))
    }
}

fn is_json(parts: &Parts) -> bool {
    let value = parts.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let essence = value.and_then(|value| value.split(';').next()).map(str::trim).unwrap_or_default();
    essence.eq_ignore_ascii_case("application/json")
}

/// Reads a body, within its limits of size and time.
pub(crate) async fn read(body: axum::body::Body) -> Result<bytes::Bytes, ApiError> {
    use http_body_util::{BodyExt, LengthLimitError, Limited};
    let collect = Limited::new(body, BODY_BYTES_MAX).collect();
    match tokio::time::timeout(BODY_TIMEOUT, collect).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.downcast_ref::<LengthLimitError>().is_some() => {
            let message = format!("the body is larger than {BODY_BYTES_MAX} bytes");
            Err(ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, ErrorCode::BodyTooLarge, message))
        }
        Ok(Err(error)) => Err(ApiError::invalid_body(format!("the body could not be read: {error}"))),
        Err(_) => {
            let message = format!("the body did not arrive within {} s", BODY_TIMEOUT.as_secs());
            Err(ApiError::new(StatusCode::REQUEST_TIMEOUT, ErrorCode::BodyTimeout, message))
        }
    }
}

/// The caller of the request, whom the gate has put on it.
pub(crate) struct Caller(pub(crate) Principal);

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        caller(parts).map(Self)
    }
}

/// Returns the caller of the request.
pub(crate) fn caller(parts: &Parts) -> Result<Principal, ApiError> {
    let key = parts.extensions.get::<Arc<AcceptedKey>>();
    key.map(|key| key.principal().clone()).ok_or_else(|| {
        Error::Internal(anyhow::anyhow!("a handler without a gate asked for its caller")).into()
    })
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::response::IntoResponse;
    use bytes::Bytes;
    use futures_util::{StreamExt, stream};
    use http_body_util::BodyExt;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_body_that_does_not_come_to_its_end_is_refused_in_time() {
        let begun = stream::iter([Ok::<_, std::io::Error>(Bytes::from_static(b"{\"command\":"))]);
        let body = Body::from_stream(begun.chain(stream::pending()));
        let request = Request::post("/").header(header::CONTENT_TYPE, "application/json").body(body).unwrap();
        let read = <JsonBody<Vec<u8>> as FromRequest<()>>::from_request(request, &()).await;
        let answer = read.err().unwrap().into_response();
        assert_eq!(answer.status(), StatusCode::REQUEST_TIMEOUT);
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        assert!(String::from_utf8_lossy(&body).contains("BODY_TIMEOUT"), "{body:?}");
    }
}
