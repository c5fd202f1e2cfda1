//! A handler that panics costs its caller a 500, and nobody else anything.

use std::any::Any;

use axum::response::{IntoResponse, Response};
use rdev_domain::Error;
use tower_http::catch_panic::CatchPanicLayer;

use crate::error::ApiError;

/// Returns the layer.
pub(super) fn layer() -> CatchPanicLayer<fn(Box<dyn Any + Send>) -> Response> {
    CatchPanicLayer::custom(panicked as fn(_) -> _)
}

/// Makes the response. The panic's own words are in the log, by the hook of `telemetry`.
fn panicked(_: Box<dyn Any + Send>) -> Response {
    ApiError::from(Error::Internal(anyhow::anyhow!("a handler panicked"))).into_response()
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::body::Body;
    use axum::http::{Request, StatusCode};
    use axum::routing::get;
    use hyper::service::Service;
    use hyper_util::service::TowerToHyperService;

    use super::*;

    #[tokio::test]
    async fn a_handler_that_panics_is_answered_for() {
        async fn bad() -> StatusCode {
            panic!("as it happens")
        }
        let router: Router = Router::new().route("/", get(bad)).layer(layer());
        let answer = TowerToHyperService::new(router).call(Request::new(Body::empty())).await.unwrap();
        assert_eq!(answer.status(), StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(answer.headers()["content-type"], "application/json");
    }
}
