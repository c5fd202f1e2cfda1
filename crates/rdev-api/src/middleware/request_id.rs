//! The id of a request: the caller's own where it is sound, else a new one.

use axum::extract::Request;
use axum::http::{HeaderName, HeaderValue};
use tower_http::request_id::{MakeRequestId, RequestId};

/// Header of the id, on requests and on responses.
pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Longest id that is accepted from a caller, in bytes.
const REQUEST_ID_BYTES_MAX: usize = 128;

/// Removes an id that is no visible ASCII, or too long: tower-http takes over whatever the caller sends.
pub(super) fn drop_unsound(mut request: Request) -> Request {
    if request.headers().get(REQUEST_ID).is_some_and(|id| !is_sound(id.as_bytes())) {
        request.headers_mut().remove(REQUEST_ID);
    }
    request
}

fn is_sound(id: &[u8]) -> bool {
    (1..=REQUEST_ID_BYTES_MAX).contains(&id.len()) && id.iter().all(u8::is_ascii_graphic)
}

/// Makes ids that sort by time, as all ids of rdev do; tower-http's own are random.
#[derive(Debug, Clone, Copy)]
pub(super) struct TimeOrdered;

impl MakeRequestId for TimeOrdered {
    fn make_request_id<B>(&mut self, _: &axum::http::Request<B>) -> Option<RequestId> {
        let id = uuid::Uuid::now_v7().simple().to_string();
        HeaderValue::try_from(id).ok().map(RequestId::new)
    }
}
