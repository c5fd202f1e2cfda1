//! Files that are served compressed, and that browsers keep.

use std::borrow::Cow;
use std::io::Write;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use sha2::{Digest, Sha256};

/// A file.
pub(crate) struct Asset {
    /// Media type.
    pub(crate) content_type: &'static str,
    /// Caching by browsers.
    pub(crate) caching: Caching,
    /// Hash of the content.
    pub(crate) tag: Cow<'static, str>,
    /// Content.
    pub(crate) plain: Bytes,
    /// Content, compressed.
    pub(crate) gzip: Bytes,
}

/// Caching of a file by browsers.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Caching {
    /// The content of this path never changes.
    Immutable,
    /// A browser asks whether it has changed.
    Checked,
}

impl Caching {
    fn control(self) -> &'static str {
        match self {
            Self::Immutable => "public, max-age=31536000, immutable",
            Self::Checked => "no-cache",
        }
    }
}

impl Asset {
    /// Makes a file whose content is known only now.
    pub(crate) fn compressed(content_type: &'static str, caching: Caching, plain: Bytes) -> Self {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
        let gzip = gzip.write_all(&plain).and_then(|()| gzip.finish()).expect("it is written to memory");
        let tag: String = Sha256::digest(&plain)[..8].iter().map(|byte| format!("{byte:02x}")).collect();
        Self { content_type, caching, tag: tag.into(), plain, gzip: gzip.into() }
    }

    /// Answers a request for the file in the form that the client accepts; with 304 when the client has it.
    pub(crate) fn answer(&self, request: &HeaderMap) -> Response {
        let is_gzip = accepts_gzip(request);
        let tag = format!("\"{}{}\"", self.tag, if is_gzip { "-gzip" } else { "" });
        let caching = [
            (header::ETAG, tag.as_str()),
            (header::CACHE_CONTROL, self.caching.control()),
            (header::VARY, "accept-encoding"),
        ];
        if has(request, &tag) {
            return (StatusCode::NOT_MODIFIED, caching).into_response();
        }
        let encoding = is_gzip.then_some([(header::CONTENT_ENCODING, "gzip")]);
        let body = Body::from(if is_gzip { &self.gzip } else { &self.plain }.clone());
        (caching, encoding, [(header::CONTENT_TYPE, self.content_type)], body).into_response()
    }
}

/// Returns the elements of a header that is a list.
fn list(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = &str> {
    let values = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim)
}

/// Tells whether the client has the form of the file with this tag.
fn has(request: &HeaderMap, tag: &str) -> bool {
    list(request, header::IF_NONE_MATCH).any(|known| known == "*" || known.trim_start_matches("W/") == tag)
}

/// Tells whether a client accepts gzip: the header names it, and not with a weight of 0.
fn accepts_gzip(request: &HeaderMap) -> bool {
    let mut encodings = list(request, header::ACCEPT_ENCODING).map(|encoding| {
        let (name, weight) = encoding.split_once(';').unwrap_or((encoding, ""));
        let weight = weight.trim().strip_prefix("q=").and_then(|weight| weight.parse::<f32>().ok());
        (name.trim(), weight.unwrap_or(1.0))
    });
    encodings.any(|(name, weight)| name.eq_ignore_ascii_case("gzip") && weight > 0.0)
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn with(name: HeaderName, value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_static(value))])
    }

    #[test]
    fn gzip_is_sent_to_whoever_names_it() {
        for sound in ["gzip", "deflate, GZIP;q=0.5", "br;q=1.0, gzip;q=0.8, *;q=0.1"] {
            assert!(accepts_gzip(&with(header::ACCEPT_ENCODING, sound)), "{sound}");
        }
        for without in ["", "identity", "br", "gzip;q=0", "gzip; q=0.0", "xgzip"] {
            assert!(!accepts_gzip(&with(header::ACCEPT_ENCODING, without)), "{without}");
        }
        assert!(!accepts_gzip(&HeaderMap::new()));
    }

    #[test]
    fn a_client_has_the_form_whose_tag_it_names() {
        for known in ["\"a-gzip\"", "\"b\", \"a-gzip\"", "W/\"a-gzip\"", "*"] {
            assert!(has(&with(header::IF_NONE_MATCH, known), "\"a-gzip\""), "{known}");
        }
        assert!(!has(&with(header::IF_NONE_MATCH, "\"a\""), "\"a-gzip\""));
    }
}
