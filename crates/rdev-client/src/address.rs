//! Addresses of servers.

use std::path::PathBuf;

use reqwest::Url;

use crate::{Error, Result};

/// Scheme of a server that listens on a Unix socket.
const UNIX: &str = "unix:";

/// Address of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Address {
    /// Beginning of every URL, with a path that ends without a slash.
    pub(crate) base: Url,
    /// Socket to connect to instead of the URL's host.
    pub(crate) socket: Option<PathBuf>,
}

impl Address {
    /// Parses `http://host:port`, `https://host/prefix` or `unix:/path`.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let refused = || Error::Address { address: text.to_owned() };
        if let Some(path) = text.strip_prefix(UNIX) {
            let base = Url::parse("http://localhost").map_err(|_| refused())?;
            return match path.starts_with('/') {
                true => Ok(Self { base, socket: Some(path.into()) }),
                false => Err(refused()),
            };
        }
        let base = Url::parse(text).map_err(|_| refused())?;
        let is_plain = base.query().is_none() && base.fragment().is_none() && base.username().is_empty();
        let is_http = matches!(base.scheme(), "http" | "https") && base.has_host();
        if is_plain && is_http { Ok(Self { base, socket: None }) } else { Err(refused()) }
    }

    /// Returns true where the connection is encrypted.
    pub(crate) fn is_https(&self) -> bool {
        self.base.scheme() == "https"
    }

    /// Makes the URL of a path, given as its segments.
    pub(crate) fn url(&self, segments: &[&str]) -> Url {
        let mut url = self.base.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(segments);
        }
        url
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_are_escaped_behind_a_prefix() {
        let address = Address::parse("https://example.org/rdev/").unwrap();
        assert!(address.is_https());
        let url = address.url(&["projects", "a/b", "c d"]);
        assert_eq!(url.as_str(), "https://example.org/rdev/projects/a%2Fb/c%20d");
    }

    #[test]
    fn a_socket_is_an_absolute_path() {
        let address = Address::parse("unix:/run/rdev.sock").unwrap();
        assert_eq!(address.socket, Some("/run/rdev.sock".into()));
        assert_eq!(address.url(&["health"]).as_str(), "http://localhost/health");
    }

    #[test]
    fn other_texts_are_refused() {
        for text in
            ["", "127.0.0.1:8080", "ftp://x", "unix:rdev.sock", "http://x/?a", "http://u@x/", "http://"]
        {
            let error = Address::parse(text).unwrap_err();
            assert!(matches!(error, Error::Address { .. }), "{text}: {error}");
        }
    }
}
