//! Idempotency of POSTs: a repetition under the same `Idempotency-Key` has no effect, and gets the first answer again.
//!
//! The layer is around every POST. It puts the key on the request, and the transaction of the effect takes the key, so no
//! death of a process between effect and answer makes a second effect. The layer then stores the answer. What is not
//! stored (an event stream, or an answer marked `no-store` since it holds a secret) is made anew by the handler, which
//! finds the key taken.

use std::sync::Arc;

use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use rdev_api_types::{Data, IDEMPOTENCY_KEY, RawJson};
use rdev_domain::{Error, IdempotencyKey};
use rdev_ports::{FirstAnswer, IdempotentAnswers, Occurrence};
use sha2::{Digest, Sha256};

use crate::envelope::{data, replayed};
use crate::error::ApiError;
use crate::extract::{caller, read};
use crate::request::RequestMeta;
use crate::sse::reply_framing;

/// Longest `Idempotency-Key`, in bytes.
const KEY_BYTES_MAX: usize = 255;
/// Largest answer that is stored, in bytes.
const ANSWER_BYTES_MAX: usize = 256 * 1024;

/// Runs the handler of a POST, unless the answer to the first request under the same key is stored.
pub(crate) async fn once(
    State(answers): State<Arc<dyn IdempotentAnswers>>,
    request: Request,
    next: Next,
) -> Response {
    if request.method() != Method::POST || !request.headers().contains_key(IDEMPOTENCY_KEY) {
        return next.run(request).await;
    }
    run_once(&*answers, request, next).await.unwrap_or_else(IntoResponse::into_response)
}

async fn run_once(
    answers: &dyn IdempotentAnswers,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    let (mut parts, body) = request.into_parts();
    let body = read(body).await?;
    let key = key(&parts, &body)?;
    if reply_framing(&parts.headers).is_none()
        && let Some(first) = answers.answer(&key, RequestMeta::current().at).await?
    {
        return replay(first);
    }
    parts.extensions.insert(key.clone());
    let response = next.run(Request::from_parts(parts, Body::from(body))).await;
    if !is_stored(&response) {
        return Ok(response);
    }
    let (parts, body) = response.into_parts();
    let body = to_bytes(body, ANSWER_BYTES_MAX).await.map_err(|error| internal(error.into()))?;
    let answered: Data<RawJson> = serde_json::from_slice(&body).map_err(|error| internal(error.into()))?;
    let location = parts.headers.get(header::LOCATION).and_then(|value| value.to_str().ok());
    let answer = FirstAnswer {
        status: parts.status.as_u16(),
        location: location.map(str::to_owned),
        data: answered.data.as_str().to_owned(),
    };
    match answers.store_answer(&key, &answer).await {
        // Another request under the key, which ran at the same time, was faster.
        Ok(Some(first)) if first != answer => return replay(first),
        Ok(_) => {}
        // The effect is stored, and so is its key.
        Err(error) => {
            tracing::warn!(?error, "the answer to a request with an idempotency key was not stored")
        }
    }
    Ok(Response::from_parts(parts, Body::from(body)))
}

/// Tells whether an answer is stored for repetitions: a success in JSON that holds no secret. A refused request has not
/// taken its key.
fn is_stored(response: &Response) -> bool {
    let is = |name: HeaderName, wanted: &[u8]| {
        let value = response.headers().get(name).map(HeaderValue::as_bytes);
        value.is_some_and(|value| value.eq_ignore_ascii_case(wanted))
    };
    let size = axum::body::HttpBody::size_hint(response.body()).upper();
    response.status().is_success()
        && is(header::CONTENT_TYPE, b"application/json")
        && !is(header::CACHE_CONTROL, b"no-store")
        && size.is_some_and(|size| size <= ANSWER_BYTES_MAX as u64)
}

/// Answers as the first time, with the facts about this answer.
fn replay(first: FirstAnswer) -> Result<Response, ApiError> {
    let status = StatusCode::from_u16(first.status).map_err(|error| internal(error.into()))?;
    let body: RawJson = serde_json::from_str(&first.data).map_err(|error| internal(error.into()))?;
    let location = first.location.map(|location| [(header::LOCATION, location)]);
    Ok((status, replayed(Occurrence::Repeated), location, data(body)).into_response())
}

fn internal(error: anyhow::Error) -> ApiError {
    Error::Internal(error).into()
}

/// Reads the key of a request. Its fingerprint is that of method, path, query and body.
fn key(parts: &Parts, body: &[u8]) -> Result<IdempotencyKey, ApiError> {
    let value = parts.headers.get(IDEMPOTENCY_KEY).and_then(|value| value.to_str().ok());
    let value = value
        .filter(|value| (1..=KEY_BYTES_MAX).contains(&value.len()))
        .filter(|value| value.bytes().all(|byte| byte.is_ascii_graphic()))
        .ok_or_else(|| {
            let message = format!("accepted are 1 to {KEY_BYTES_MAX} visible ASCII characters");
            ApiError::invalid_field("Idempotency-Key", message)
        })?;
    let target = parts.uri.path_and_query().map_or("", |target| target.as_str());
    let mut hash = Sha256::new();
    for part in [parts.method.as_str().as_bytes(), target.as_bytes(), body] {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    let key = caller(parts)?.key;
    Ok(IdempotencyKey { key, value: value.to_owned(), fingerprint: hash.finalize().into() })
}
