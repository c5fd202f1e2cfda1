//! The API reference: Scalar, with its script served from here, and the document that it shows; and the way to it.

use std::borrow::Cow;
use std::sync::{Arc, OnceLock};

use axum::Extension;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use bytes::Bytes;
use mediatype::{MediaType, names};
use rdev_api_types::Links;
use rdev_domain::Error;

use crate::asset::{Asset, Caching};
use crate::envelope::data;
use crate::error::ApiError;
use crate::extract::preferred;

/// Path of the script, which changes with its content.
pub(crate) const SCRIPT_PATH: &str = env!("RDEV_DOCS_SCRIPT");

static PAGE: Asset = Asset {
    content_type: "text/html; charset=utf-8",
    caching: Caching::Checked,
    tag: Cow::Borrowed(env!("RDEV_DOCS_PAGE_TAG")),
    plain: Bytes::from_static(include_bytes!(concat!(env!("OUT_DIR"), "/docs.html"))),
    gzip: Bytes::from_static(include_bytes!(concat!(env!("OUT_DIR"), "/docs.html.gz"))),
};
static SCRIPT: Asset = Asset {
    content_type: "text/javascript; charset=utf-8",
    caching: Caching::Immutable,
    tag: Cow::Borrowed(env!("RDEV_DOCS_SCRIPT_TAG")),
    plain: Bytes::from_static(include_bytes!(concat!(env!("OUT_DIR"), "/docs.js"))),
    gzip: Bytes::from_static(include_bytes!(concat!(env!("OUT_DIR"), "/docs.js.gz"))),
};
const ICON: &str = include_str!("icon.svg");

/// Content security policy: the browser may load from this server only, whatever the script asks for.
const POLICY: &str = "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:; frame-ancestors 'none'";

const JSON: MediaType<'static> = MediaType::new(names::APPLICATION, names::JSON);
const HTML: MediaType<'static> = MediaType::new(names::TEXT, names::HTML);

/// The OpenAPI document as served. It is made for the first who asks: a start does not wait for it.
#[derive(Clone)]
pub(crate) struct Document {
    make: Arc<dyn Fn() -> anyhow::Result<String> + Send + Sync>,
    made: Arc<OnceLock<Asset>>,
}

impl Document {
    /// Serves what `make` returns, as JSON.
    pub(crate) fn new(make: impl Fn() -> anyhow::Result<String> + Send + Sync + 'static) -> Self {
        Self { make: Arc::new(make), made: Arc::default() }
    }

    fn asset(&self) -> anyhow::Result<&Asset> {
        if let Some(made) = self.made.get() {
            return Ok(made);
        }
        let json = (self.make)()?;
        Ok(self.made.get_or_init(|| Asset::compressed("application/json", Caching::Checked, json.into())))
    }
}

/// Leads a browser to the reference, and other clients to what there is.
pub(crate) async fn root(headers: HeaderMap) -> Response {
    if preferred(&headers, &[JSON, HTML]) == Some(&HTML) {
        return (StatusCode::FOUND, [(header::LOCATION, "/docs")]).into_response();
    }
    data(Links::default()).into_response()
}

/// Shows the API reference.
pub(crate) async fn page(headers: HeaderMap) -> impl IntoResponse {
    ([(header::CONTENT_SECURITY_POLICY, POLICY)], PAGE.answer(&headers))
}

/// Corrects the address of the reference.
pub(crate) async fn page_with_slash() -> Redirect {
    Redirect::permanent("/docs")
}

/// Returns the script of the reference.
pub(crate) async fn script(headers: HeaderMap) -> Response {
    SCRIPT.answer(&headers)
}

/// Returns the icon that browsers show beside the title.
pub(crate) async fn icon() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "image/svg+xml"), (header::CACHE_CONTROL, "max-age=86400")], ICON)
}

/// Get this document.
#[utoipa::path(get, path = "/openapi.json", tag = "system", operation_id = "openapi",
    responses((status = 200, description = "OpenAPI 3.1", content_type = "application/json")))]
pub(crate) async fn openapi(
    Extension(document): Extension<Document>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    Ok(document.asset().map_err(Error::Internal)?.answer(&headers))
}
