//! The exchange of requests and responses on one connection, followed from three sides: the service, the bodies of
//! responses, and the stream below hyper.
//!
//! hyper itself answers a head that it cannot parse, with a status and nothing else. Only then does it write while no
//! request is being answered; by that such a response is recognised, and held back.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::task::{Context, Poll, ready};

use axum::body::{Body, HttpBody};
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use hyper::StatusCode;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::permits::ConnectionUsage;

/// No request is being answered.
const IDLE: u8 = 0;
/// A request has arrived, and is being answered.
const ANSWERING: u8 = 1;
/// hyper has taken the whole response, and not yet written all of it.
const FLUSHING: u8 = 2;

/// Exchange on one connection. All accesses happen in the connection's own task, so no ordering is needed.
pub(super) struct Exchange {
    usage: Arc<ConnectionUsage>,
    phase: AtomicU8,
    /// The last write was incomplete.
    blocked: AtomicBool,
}

impl Exchange {
    /// Begins an exchange that waits for its first request.
    pub(super) fn new(usage: Arc<ConnectionUsage>) -> Arc<Self> {
        Arc::new(Self { usage, phase: AtomicU8::new(IDLE), blocked: AtomicBool::new(false) })
    }

    /// Returns the connection's use of its permit.
    pub(super) fn usage(&self) -> &Arc<ConnectionUsage> {
        &self.usage
    }

    /// Notes that a request has arrived.
    pub(super) fn begin_request(&self) {
        self.phase.store(ANSWERING, Ordering::Relaxed);
        self.usage.begin_request();
    }

    /// Tells whether the connection waits for a request.
    pub(super) fn is_idle(&self) -> bool {
        self.phase.load(Ordering::Relaxed) == IDLE
    }

    /// Tells whether hyper has something left to write.
    pub(super) fn is_blocked(&self) -> bool {
        self.blocked.load(Ordering::Relaxed)
    }

    /// Notes that hyper has written everything.
    fn flushed(&self) {
        let flushed = self.phase.compare_exchange(FLUSHING, IDLE, Ordering::Relaxed, Ordering::Relaxed);
        if flushed.is_ok() {
            self.usage.end_request();
        }
    }
}

/// Body of a response. hyper drops it once it has taken the last frame.
pub(super) struct ExchangeBody {
    pub(super) body: Body,
    pub(super) exchange: Arc<Exchange>,
}

impl Drop for ExchangeBody {
    fn drop(&mut self) {
        self.exchange.phase.store(FLUSHING, Ordering::Relaxed);
    }
}

impl HttpBody for ExchangeBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Stream below hyper. It is shared with whoever looks whether the client has left, which hyper does not tell while a request
/// is being answered.
pub(super) struct ExchangeStream {
    stream: Arc<TcpStream>,
    exchange: Arc<Exchange>,
    /// Status of hyper's own response, which was held back.
    refused: Option<StatusCode>,
}

impl ExchangeStream {
    /// Wraps the connection's stream.
    pub(super) fn new(stream: Arc<TcpStream>, exchange: Arc<Exchange>) -> Self {
        Self { stream, exchange, refused: None }
    }

    /// Returns the stream, and the status with which hyper would have refused the last bytes read.
    pub(super) fn into_parts(self) -> (Arc<TcpStream>, Option<StatusCode>) {
        (self.stream, self.refused)
    }

    /// Keeps the status of hyper's own response instead of writing it.
    fn hold_back(&mut self, head: &[u8]) {
        // After `HTTP/1.1 `.
        let status = head.get(9..12).and_then(|status| StatusCode::from_bytes(status).ok());
        self.refused = self.refused.or(status).or(Some(StatusCode::BAD_REQUEST));
    }

    fn poll_written(
        &self,
        context: &mut Context<'_>,
        write: impl Fn(&TcpStream) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.stream.poll_write_ready(context))?;
            match write(&self.stream) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                written => return Poll::Ready(written),
            }
        }
    }

    fn note_written(&self, written: Poll<io::Result<usize>>, of: usize) -> Poll<io::Result<usize>> {
        let all = matches!(&written, Poll::Ready(Ok(n)) if *n == of);
        self.exchange.blocked.store(!all, Ordering::Relaxed);
        written
    }
}

impl AsyncRead for ExchangeStream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            ready!(self.stream.poll_read_ready(context))?;
            match self.stream.try_read_buf(buffer) {
                Ok(_) => return Poll::Ready(Ok(())),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

impl AsyncWrite for ExchangeStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.exchange.is_idle() {
            self.hold_back(bytes);
            return Poll::Ready(Ok(bytes.len()));
        }
        let written = self.poll_written(context, |stream| stream.try_write(bytes));
        self.note_written(written, bytes.len())
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let length = slices.iter().map(|slice| slice.len()).sum();
        if self.exchange.is_idle() {
            self.hold_back(slices.first().map_or(&[], |head| head));
            return Poll::Ready(Ok(length));
        }
        let written = self.poll_written(context, |stream| stream.try_write_vectored(slices));
        self.note_written(written, length)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// A socket has nothing to flush.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.exchange.flushed();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.refused.is_some() {
            return Poll::Ready(Ok(()));
        }
        Poll::Ready(
            rustix::net::shutdown(&*self.stream, rustix::net::Shutdown::Write).map_err(io::Error::from),
        )
    }
}
