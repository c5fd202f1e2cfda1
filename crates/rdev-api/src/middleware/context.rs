//! The context of an answer: the id and time that its envelope shows, the figures of the request, and its log line. (A
//! task-local and the names of our own metrics: tower-http has neither.)

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use ipnet::IpNet;
use rdev_ports::Clock;
use tower_http::request_id::RequestId;

use super::answers;
use super::client::client;
use super::refused_clients::RefusedClients;
use crate::error::ApiError;
use crate::metrics::RequestTimer;
use crate::request::RequestMeta;

/// Error response to bytes that could not be parsed; the server puts it on a request that it makes in their place.
#[derive(Debug, Clone)]
pub(crate) struct Refusal(pub(crate) ApiError);

/// Clock, trust and memory of the answers.
pub(super) struct Answering {
    pub(super) clock: Arc<dyn Clock>,
    pub(super) trusted_proxies: Arc<[IpNet]>,
    pub(super) refused_clients: RefusedClients,
}

/// Answers the request in its context, counts it, and logs the answer.
pub(super) async fn answer(
    State(answering): State<Arc<Answering>>,
    mut request: Request,
    next: Next,
) -> Response {
    let id = request.extensions().get::<RequestId>().and_then(|id| id.header_value().to_str().ok());
    let meta = RequestMeta { id: id.unwrap_or_default().into(), at: answering.clock.now() };
    let client = client(&request, &answering.trusted_proxies);
    let is_quiet = answers::is_quiet(request.uri().path());
    let timer = RequestTimer::start(&request);
    let refusal = request.extensions_mut().remove();
    let answer = async {
        match refusal {
            Some(Refusal(error)) => error.into_response(),
            None => next.run(request).await,
        }
    };
    let response = meta.scope(answer).await;
    let duration = timer.stop(response.status());
    answers::log(&response, duration, is_quiet);
    if let (StatusCode::UNAUTHORIZED, Some(client)) = (response.status(), client) {
        answering.refused_clients.refused(client);
    }
    response
}
