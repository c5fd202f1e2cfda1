//! Options of a client.

use std::sync::Arc;
use std::time::Duration;

use reqwest::header::HeaderValue;
use reqwest::redirect::Policy;
use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::BuilderVerifierExt;

use crate::address::Address;
use crate::client::Inner;
use crate::{Client, Error, Reconnect, Result};

/// Options of a client, each with a default.
#[derive(Debug, Clone)]
pub struct Builder {
    key: Option<String>,
    connect_timeout: Duration,
    answer_timeout: Duration,
    idle_timeout: Duration,
    reconnect: Reconnect,
}

impl Default for Builder {
    fn default() -> Self {
        Self {
            key: None,
            connect_timeout: Duration::from_secs(10),
            answer_timeout: Duration::from_secs(60),
            idle_timeout: Duration::from_secs(45),
            reconnect: Reconnect::default(),
        }
    }
}

impl Builder {
    /// Sets the API key; default: none.
    #[must_use]
    pub fn key(mut self, key: Option<&str>) -> Self {
        self.key = key.map(str::to_owned);
        self
    }

    /// Sets the longest time that a connection may take to open; default 10 s.
    #[must_use]
    pub fn connect_timeout(mut self, limit: Duration) -> Self {
        self.connect_timeout = limit;
        self
    }

    /// Sets the longest time from a request to its whole answer, of a stream or a download to its head; default 60 s.
    #[must_use]
    pub fn answer_timeout(mut self, limit: Duration) -> Self {
        self.answer_timeout = limit;
        self
    }

    /// Sets the longest silence of a stream or a download; default 45 s, while the server's heartbeats come every 10 s.
    #[must_use]
    pub fn idle_timeout(mut self, limit: Duration) -> Self {
        self.idle_timeout = limit;
        self
    }

    /// Sets the limits of the reconnections of event streams.
    #[must_use]
    pub fn reconnect(mut self, reconnect: Reconnect) -> Self {
        self.reconnect = reconnect;
        self
    }

    /// Makes the client of the server at `address`: `http://…`, `https://…` or `unix:/path`. Connects to nothing yet.
    ///
    /// # Errors
    /// [`Error::Address`], [`Error::Key`], or [`Error::Tls`] where no root certificates are found.
    pub fn build(self, address: &str) -> Result<Client> {
        let address = Address::parse(address)?;
        let bearer = |key: &String| {
            let mut value = HeaderValue::try_from(format!("Bearer {key}")).map_err(|_| Error::Key)?;
            value.set_sensitive(true);
            Ok(value)
        };
        let authorization = self.key.as_ref().map(bearer).transpose()?;
        let mut http = reqwest::Client::builder()
            .tls_backend_preconfigured(tls(address.is_https()).map_err(Error::Tls)?)
            .connect_timeout(self.connect_timeout)
            .redirect(Policy::none())
            .tcp_nodelay(true);
        if let Some(socket) = &address.socket {
            http = http.unix_socket(socket.as_path());
        }
        let http = http.build().map_err(Error::Transport)?;
        let Self { answer_timeout, idle_timeout, reconnect, .. } = self;
        let inner = Inner { http, address, authorization, answer_timeout, idle_timeout, reconnect };
        Ok(Client { inner: Arc::new(inner) })
    }
}

impl Client {
    /// Makes a client with the default limits: of the server at `http://…`, `https://…` or `unix:/path`, with an API key.
    ///
    /// # Errors
    /// As [`Builder::build`].
    pub fn new(address: &str, key: Option<&str>) -> Result<Self> {
        Self::builder().key(key).build(address)
    }

    /// Starts from the default options.
    pub fn builder() -> Builder {
        Builder::default()
    }
}

/// Makes the TLS configuration: the system's root certificates where they are needed, which takes some milliseconds to
/// load.
fn tls(is_https: bool) -> Result<ClientConfig, rustls::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    if is_https {
        return Ok(config.with_platform_verifier()?.with_no_client_auth());
    }
    Ok(config.with_root_certificates(RootCertStore::empty()).with_no_client_auth())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scheme_makes_a_client() {
        for address in ["http://127.0.0.1:1", "https://localhost:1", "unix:/nowhere"] {
            assert!(Builder::default().build(address).is_ok(), "{address}");
        }
        let error = Builder::default().key(Some("a\nb")).build("http://x").unwrap_err();
        assert!(matches!(error, Error::Key), "{error}");
    }
}
