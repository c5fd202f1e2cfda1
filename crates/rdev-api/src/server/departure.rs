//! The client's departure while its request is being answered: hyper tells nothing of it, since a client may close its
//! sending side and still read.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use tokio::io::ReadBuf;
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

/// Departure of the client of one connection; clones share it. It is looked for while somebody awaits it.
#[derive(Clone, Default)]
pub(crate) struct Departure(Arc<State>);

#[derive(Default)]
struct State {
    awaited: AtomicBool,
    seen: CancellationToken,
}

impl Departure {
    /// Waits until the client has closed its side, or the connection is lost. A client that still reads is not to wait for
    /// its answer any longer.
    pub(crate) async fn seen(&self) {
        self.0.awaited.store(true, Ordering::Relaxed);
        self.0.seen.cancelled().await;
    }

    /// Stops looking, at the begin of the next request.
    pub(super) fn begin_request(&self) {
        self.0.awaited.store(false, Ordering::Relaxed);
    }

    /// Looks for the departure, where it is awaited. Takes nothing out of the stream.
    pub(super) fn look(&self, stream: &TcpStream, context: &mut Context<'_>) {
        if !self.0.awaited.load(Ordering::Relaxed) || self.0.seen.is_cancelled() {
            return;
        }
        let mut byte = [0];
        match stream.poll_peek(context, &mut ReadBuf::new(&mut byte)) {
            // The next request may be there already.
            Poll::Pending | Poll::Ready(Ok(1..)) => {}
            Poll::Ready(Ok(0) | Err(_)) => self.0.seen.cancel(),
        }
    }
}
