//! Answers, and the Status objects of failures.

use std::io;

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::header::{CONTENT_TYPE, RETRY_AFTER};
use hyper::{Response, StatusCode};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ListMeta, Status, StatusCause, StatusDetails};
use serde::Serialize;

use crate::faults::Refusal;
use crate::store::Expired;

/// Body of an answer; a failing one ends its connection.
pub(crate) type Body = UnsyncBoxBody<Bytes, io::Error>;
pub(crate) type Answer = Response<Body>;

/// A failure answer.
#[derive(Debug, Clone)]
pub(crate) struct Failure {
    code: u16,
    reason: &'static str,
    message: String,
    details: Option<Box<StatusDetails>>,
    /// True for errors of nodes without a Status.
    bare: bool,
}

impl Failure {
    fn new(code: u16, reason: &'static str, message: impl Into<String>) -> Self {
        Self { code, reason, message: message.into(), details: None, bare: false }
    }

    fn about(mut self, kind: &str, name: Option<&str>) -> Self {
        let name = name.map(str::to_owned);
        self.details =
            Some(Box::new(StatusDetails { kind: Some(kind.to_owned()), name, ..StatusDetails::default() }));
        self
    }

    pub(crate) fn unauthorized() -> Self {
        Self::new(401, "Unauthorized", "Unauthorized")
    }

    pub(crate) fn forbidden(message: String, kind: &str, name: Option<&str>) -> Self {
        Self::new(403, "Forbidden", message).about(kind, name)
    }

    pub(crate) fn pod_not_found(name: &str) -> Self {
        Self::new(404, "NotFound", format!("pods \"{name}\" not found")).about("pods", Some(name))
    }

    pub(crate) fn namespace_not_found(name: &str) -> Self {
        Self::new(404, "NotFound", format!("namespaces \"{name}\" not found")).about("namespaces", Some(name))
    }

    pub(crate) fn no_such_path() -> Self {
        Self::new(404, "NotFound", "the server could not find the requested resource")
    }

    pub(crate) fn no_such_method() -> Self {
        let message = "the server does not allow this method on the requested resource";
        Self::new(405, "MethodNotAllowed", message)
    }

    pub(crate) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, "BadRequest", message)
    }

    pub(crate) fn unsupported_media_type() -> Self {
        Self::new(415, "UnsupportedMediaType", "the body of the request was in an unknown format")
    }

    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::new(422, "Invalid", message)
    }

    pub(crate) fn conflict(message: impl Into<String>, name: &str) -> Self {
        Self::new(409, "Conflict", message).about("pods", Some(name))
    }

    pub(crate) fn expired(asked: u64, expired: Expired) -> Self {
        Self::new(410, "Expired", format!("too old resource version: {asked} ({})", expired.oldest))
    }

    pub(crate) fn old_continue() -> Self {
        let message = "The provided continue parameter is too old to display a consistent list result. You \
                       must start a new list without the continue parameter.";
        Self::new(410, "Expired", message)
    }

    pub(crate) fn internal(cause: &str) -> Self {
        let mut failure = Self::new(500, "InternalError", format!("Internal error occurred: {cause}"));
        let cause = StatusCause { message: Some(cause.to_owned()), ..StatusCause::default() };
        let causes = Some(vec![cause]);
        failure.details = Some(Box::new(StatusDetails { causes, ..StatusDetails::default() }));
        failure
    }

    /// The node does not answer: reported without a reason.
    pub(crate) fn no_backend(message: &str) -> Self {
        Self::new(500, "", message)
    }

    /// The WebSocket library's own refusal.
    pub(crate) fn no_common_protocol() -> Self {
        Self { bare: true, ..Self::new(403, "Forbidden", "Bad WebSocket protocol") }
    }

    /// Text, as a kubelet reports it.
    pub(crate) fn from_node(code: u16, message: impl Into<String>) -> Self {
        Self { bare: true, ..Self::new(code, "InternalError", message) }
    }

    pub(crate) async fn refused(refusal: Refusal, verb: &str, resource: &str, name: Option<&str>) -> Self {
        let kind = resource.split('/').next().unwrap_or_default();
        let what = format!("{kind} \"{}\"", name.unwrap_or_default());
        let failure = match refusal {
            Refusal::Unauthorized => return Self::unauthorized(),
            Refusal::Forbidden => {
                Self::new(403, "Forbidden", format!("{what} is forbidden: {verb} is refused by the test"))
            }
            Refusal::NotFound => Self::new(404, "NotFound", format!("{what} not found")),
            Refusal::Conflict => {
                let message =
                    format!("Operation cannot be fulfilled on {what}: the object has been modified");
                Self::new(409, "Conflict", message)
            }
            Refusal::Expired => return Self::expired(1, Expired { oldest: 2 }),
            Refusal::TooManyRequests(seconds) => {
                let message = "Too many requests, please try again later.";
                let mut failure = Self::new(429, "TooManyRequests", message).about(kind, name);
                if let Some(details) = &mut failure.details {
                    details.retry_after_seconds = i32::try_from(seconds).ok();
                }
                return failure;
            }
            Refusal::InternalError => return Self::internal("refused by the test"),
            Refusal::Unavailable => {
                let message = "the server is currently unable to handle the request";
                Self::new(503, "ServiceUnavailable", message)
            }
            Refusal::Silence => return std::future::pending().await,
        };
        failure.about(kind, name)
    }

    pub(crate) fn status(&self) -> Status {
        Status {
            metadata: ListMeta::default(),
            status: Some("Failure".to_owned()),
            message: Some(self.message.clone()),
            reason: Some(self.reason.to_owned()).filter(|reason| !reason.is_empty()),
            details: self.details.as_deref().cloned(),
            code: Some(i32::from(self.code)),
        }
    }

    pub(crate) fn answer(&self) -> Answer {
        let code = StatusCode::from_u16(self.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        if self.bare {
            return text(code, &self.message);
        }
        let mut answer = json(code, &self.status());
        let after = self.details.as_ref().and_then(|details| details.retry_after_seconds);
        if let Some(after) = after {
            answer.headers_mut().insert(RETRY_AFTER, after.into());
        }
        answer
    }
}

pub(crate) fn json(code: StatusCode, value: &impl Serialize) -> Answer {
    match serde_json::to_vec(value) {
        Ok(bytes) => bytes_of_json(code, bytes.into()),
        Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
    }
}

pub(crate) fn bytes_of_json(code: StatusCode, bytes: Bytes) -> Answer {
    answer(code, "application/json", full(bytes))
}

pub(crate) fn text(code: StatusCode, text: &str) -> Answer {
    answer(code, "text/plain; charset=utf-8", full(Bytes::copy_from_slice(text.as_bytes())))
}

pub(crate) fn answer(code: StatusCode, kind: &'static str, body: Body) -> Answer {
    let mut answer = Response::new(body);
    *answer.status_mut() = code;
    answer.headers_mut().insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static(kind));
    answer
}

pub(crate) fn full(bytes: Bytes) -> Body {
    Full::new(bytes).map_err(|never| match never {}).boxed_unsync()
}
