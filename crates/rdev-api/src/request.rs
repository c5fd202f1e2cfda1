//! Facts of a request that are known before any handler reads it.
//!
//! Responses and errors are made far from where their request came in, so the id and the time of a request are those of
//! the task that answers it.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use rdev_domain::Timestamp;

tokio::task_local! {
    static REQUEST: RequestMeta;
}

/// Id and time of a request.
#[derive(Debug, Clone)]
pub(crate) struct RequestMeta {
    /// Id, as in `X-Request-Id`.
    pub(crate) id: Arc<str>,
    /// Time at which the request was received.
    pub(crate) at: Timestamp,
}

impl RequestMeta {
    /// Returns the id and time of the request that this task answers; outside of one an empty id and 1970.
    pub(crate) fn current() -> Self {
        let none = || Self { id: "".into(), at: Timestamp::from_micros(0) };
        REQUEST.try_with(Self::clone).unwrap_or_else(|_| none())
    }

    /// Runs `answer` as the answer to this request.
    pub(crate) async fn scope<T>(self, answer: impl Future<Output = T>) -> T {
        REQUEST.scope(self, answer).await
    }
}

/// The other end of the connection; the server puts it on every request.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Peer {
    /// A client or a proxy at this address.
    Tcp(SocketAddr),
    /// A proxy of this machine, which may connect to the server's Unix socket.
    Unix,
}

impl Peer {
    /// Returns the address; a Unix socket has none.
    pub(crate) fn ip(self) -> Option<IpAddr> {
        match self {
            Self::Tcp(address) => Some(address.ip()),
            Self::Unix => None,
        }
    }
}
