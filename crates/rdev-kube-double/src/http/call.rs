//! A request in progress, and its connection.

use std::net::TcpStream;
use std::sync::Arc;

use hyper::Request;
use hyper::body::Incoming;
use tokio_util::sync::CancellationToken;

use super::target::{Query, Target};
use crate::identities::Identity;
use crate::inner::Inner;
use crate::selector::Selector;

/// A request in progress.
pub(crate) struct Call {
    pub(crate) inner: Arc<Inner>,
    pub(crate) line: Line,
    pub(crate) target: Target,
    pub(crate) query: Query,
    pub(crate) selector: Selector,
    pub(crate) user: Arc<Identity>,
    pub(crate) request: Request<Incoming>,
}

/// Connection of a request.
#[derive(Clone)]
pub(crate) struct Line {
    /// The socket under TLS, to cut it abruptly.
    pub(crate) socket: Arc<TcpStream>,
    /// Cancelled when the server stops.
    pub(crate) end: CancellationToken,
}
