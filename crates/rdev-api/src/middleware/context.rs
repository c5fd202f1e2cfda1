//! The context of an answer: the id and time that its envelope shows, and the figures of the request. (A task-local and
//! the names of our own metrics: tower-http has neither.)

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use rdev_ports::Clock;
use tower_http::request_id::RequestId;

use crate::error::ApiError;
use crate::metrics::RequestTimer;
use crate::request::RequestMeta;

/// Error response to bytes that could not be parsed; the server puts it on a request that it makes in their place.
#[derive(Debug, Clone)]
pub(crate) struct Refusal(pub(crate) ApiError);

/// Answers the request in its context, and counts it.
pub(super) async fn answer(
    State(clock): State<Arc<dyn Clock>>,
    mut request: Request,
    next: Next,
) -> Response {
    let id = request.extensions().get::<RequestId>().and_then(|id| id.header_value().to_str().ok());
    let meta = RequestMeta { id: id.unwrap_or_default().into(), at: clock.now() };
    let timer = RequestTimer::start(&request);
    let refusal = request.extensions_mut().remove();
    let answer = async {
        match refusal {
            Some(Refusal(error)) => error.into_response(),
            None => next.run(request).await,
        }
    };
    let response = meta.scope(answer).await;
    timer.stop(response.status());
    response
}
