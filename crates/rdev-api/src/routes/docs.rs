//! The API reference: Scalar, with its script served from here, and the document that it shows.

use axum::Extension;
use axum::http::header;
use axum::response::{Html, IntoResponse};
use bytes::Bytes;

/// The OpenAPI document as served. It describes the router, so it is laid over the finished router.
#[derive(Clone)]
pub(crate) struct Document(Bytes);

impl From<String> for Document {
    fn from(json: String) -> Self {
        Self(json.into())
    }
}

/// Configuration of the page: every asset is served from here, and nothing is loaded from the internet.
const CONFIGURATION: &str = r#"{"url":"/openapi.json","telemetry":false,"withDefaultFonts":false,"agent":{"disabled":true},"defaultOpenAllTags":true,"hideClientButton":true,"showDeveloperTools":"never"}"#;
/// Content security policy: the browser may load from this server only, whatever the script asks for.
const POLICY: &str = "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:; frame-ancestors 'none'";

/// Show the API reference.
#[utoipa::path(get, path = "/docs", tag = "system", operation_id = "docs",
    responses((status = 200, description = "A page for people", content_type = "text/html", body = String)))]
pub(crate) async fn page() -> impl IntoResponse {
    let html = scalar_api_reference::render_scalar(CONFIGURATION, Some("/docs/scalar.js"));
    ([(header::CONTENT_SECURITY_POLICY, POLICY)], Html(html))
}

/// Get the script of the API reference.
#[utoipa::path(get, path = "/docs/scalar.js", tag = "system", operation_id = "docs_script",
    responses((status = 200, description = "A script", content_type = "text/javascript", body = String)))]
pub(crate) async fn script() -> impl IntoResponse {
    let script = scalar_api_reference::get_asset("scalar.js").unwrap_or_default();
    let headers =
        [(header::CONTENT_TYPE, "text/javascript; charset=utf-8"), (header::CACHE_CONTROL, "max-age=86400")];
    (headers, script)
}

/// Get this document.
#[utoipa::path(get, path = "/openapi.json", tag = "system", operation_id = "openapi",
    responses((status = 200, description = "OpenAPI 3.1", content_type = "application/json")))]
pub(crate) async fn openapi(Extension(Document(document)): Extension<Document>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], document)
}
