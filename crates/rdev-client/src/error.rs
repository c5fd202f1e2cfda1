//! Errors of calls and streams.

use std::time::Duration;

use rdev_api_types::{Detail, DetailJob};

/// Result of a call.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Error of a call or of an event stream.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The address of the server is not valid.
    #[error("{address:?} is no address of a server: accepted are http://…, https://… and unix:/path")]
    Address {
        /// Address as it was given.
        address: String,
    },
    /// The key holds characters that no header can carry.
    #[error("the API key holds characters that no header can carry")]
    Key,
    /// The idempotency key holds characters that no header can carry.
    #[error("the idempotency key holds characters that no header can carry")]
    IdempotencyKey,
    /// The TLS configuration could not be made.
    #[error("TLS cannot be configured")]
    Tls(#[source] rustls::Error),
    /// The server answered with a failure.
    #[error(transparent)]
    Api(Box<ApiFailure>),
    /// The request or its answer did not get through: the server is away, or the connection was cut.
    #[error("no whole answer came from the server")]
    Transport(#[source] reqwest::Error),
    /// Something did not come in time.
    #[error("{what} did not come within {limit:?}")]
    Timeout {
        /// Thing that was waited for.
        what: &'static str,
        /// Time after which the wait ended.
        limit: Duration,
    },
    /// The answer, or an event, has not its documented shape.
    #[error("an answer of the server has not its documented shape")]
    Shape(#[source] serde_json::Error),
    /// The answer is larger than any documented one.
    #[error("an answer of the server is larger than {limit} bytes")]
    TooLarge {
        /// Largest answer that is read, in bytes.
        limit: usize,
    },
    /// The answer to a subscription is no event stream.
    #[error("the server answered a subscription with {content_type:?}, which is no event stream")]
    NotAStream {
        /// Content type of the answer; empty without one.
        content_type: String,
    },
    /// The text of an event stream cannot be decoded, or was cut.
    #[error("an event stream ended in the middle")]
    Stream(#[source] sse_stream::Error),
    /// The server closed an event stream that has not come to its end.
    #[error("the server closed an event stream before its end")]
    Closed,
}

impl Error {
    /// Returns the failure that the server answered with; `None` for every other error.
    pub fn failure(&self) -> Option<&ApiFailure> {
        match self {
            Self::Api(failure) => Some(failure),
            _ => None,
        }
    }

    /// Returns true where the same request may succeed later: the server is away, or says that it is busy.
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::Api(failure) => failure.is_temporary(),
            Self::Transport(error) => !error.is_builder(),
            Self::Timeout { .. } | Self::Stream(_) | Self::Closed => true,
            Self::Address { .. }
            | Self::Key
            | Self::IdempotencyKey
            | Self::Tls(_)
            | Self::Shape(_)
            | Self::TooLarge { .. }
            | Self::NotAStream { .. } => false,
        }
    }
}

/// Failure that the server answered with.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{status} {code}: {message}")]
pub struct ApiFailure {
    /// HTTP status.
    pub status: u16,
    /// Stable code, such as `PROJECT_NOT_FOUND`; [`ApiFailure::NO_CODE`] where something between client and server
    /// answered.
    pub code: String,
    /// Explanation, for people.
    pub message: String,
    /// Every field that is not valid; empty for other failures.
    pub details: Vec<Detail>,
    /// The job that is in the way, of `STREAM_ID_TAKEN`; `None` where it was removed, and for other failures.
    pub in_the_way: Option<DetailJob>,
    /// Id of the request, as in the server's log.
    pub request_id: Option<String>,
    /// Time after which the request may be repeated, from `Retry-After`.
    pub retry_after: Option<Duration>,
}

impl ApiFailure {
    /// Code of a failure whose body is not rdev's, such as a proxy's page.
    pub const NO_CODE: &'static str = "NO_CODE";

    /// Returns the names of the fields that are not valid, in their order.
    pub fn fields(&self) -> Vec<&str> {
        self.details.iter().map(|detail| detail.field.as_str()).collect()
    }

    /// Returns true where the same request may succeed later.
    pub fn is_temporary(&self) -> bool {
        self.status >= 500 || matches!(self.status, 408 | 429)
    }
}
