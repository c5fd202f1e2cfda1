//! How far a connection is in its exchange of requests and answers, as seen by all who take part in it: the service,
//! the bodies of answers, and the stream below hyper.
//!
//! hyper answers a head that it cannot read by itself, with a status and nothing else. That is the only time that it
//! writes while no request is being answered, so this is how such an answer is told apart, and held back.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::task::{Context, Poll};

use axum::body::{Body, HttpBody};
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use hyper::StatusCode;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::places::Place;

/// No request is being answered.
const WAITING: u8 = 0;
/// A request has come, and is being answered.
const ANSWERING: u8 = 1;
/// Of the answer hyper has everything, but has not written it all.
const ANSWERED: u8 = 2;

/// A connection's exchange. Everybody who looks at it does so in the connection's own task.
pub(super) struct Exchange {
    place: Arc<Place>,
    progress: AtomicU8,
    /// Something is left to be written.
    blocked: AtomicBool,
}

impl Exchange {
    pub(super) fn at(place: Arc<Place>) -> Arc<Self> {
        Arc::new(Self { place, progress: AtomicU8::new(WAITING), blocked: AtomicBool::new(false) })
    }

    pub(super) fn place(&self) -> &Arc<Place> {
        &self.place
    }

    /// A request has come.
    pub(super) fn ask(&self) {
        self.progress.store(ANSWERING, Ordering::Relaxed);
        self.place.ask();
    }

    pub(super) fn is_waiting(&self) -> bool {
        self.progress.load(Ordering::Relaxed) == WAITING
    }

    pub(super) fn is_blocked(&self) -> bool {
        self.blocked.load(Ordering::Relaxed)
    }

    /// All that hyper had to write is written.
    fn flushed(&self) {
        let answered =
            self.progress.compare_exchange(ANSWERED, WAITING, Ordering::Relaxed, Ordering::Relaxed);
        if answered.is_ok() {
            self.place.wait();
        }
    }
}

/// The body of an answer. hyper drops it when it has taken the last of it.
pub(super) struct Answer {
    pub(super) body: Body,
    pub(super) exchange: Arc<Exchange>,
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.exchange.progress.store(ANSWERED, Ordering::Relaxed);
    }
}

impl HttpBody for Answer {
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

/// The stream below hyper.
pub(super) struct Watched {
    stream: TcpStream,
    exchange: Arc<Exchange>,
    /// The status of hyper's own answer, which was not written.
    refused: Option<StatusCode>,
}

impl Watched {
    pub(super) fn new(stream: TcpStream, exchange: Arc<Exchange>) -> Self {
        Self { stream, exchange, refused: None }
    }

    /// The stream, and the status with which hyper would have refused what came last.
    pub(super) fn into_parts(self) -> (TcpStream, Option<StatusCode>) {
        (self.stream, self.refused)
    }

    /// Takes hyper's own answer in place of the stream.
    fn hold_back(&mut self, head: &[u8]) {
        // After `HTTP/1.1 `.
        let status = head.get(9..12).and_then(|status| StatusCode::from_bytes(status).ok());
        self.refused = self.refused.or(status).or(Some(StatusCode::BAD_REQUEST));
    }

    fn noting(&self, written: Poll<io::Result<usize>>, of: usize) -> Poll<io::Result<usize>> {
        let all = matches!(&written, Poll::Ready(Ok(n)) if *n == of);
        self.exchange.blocked.store(!all, Ordering::Relaxed);
        written
    }
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Watched {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.exchange.is_waiting() {
            self.hold_back(bytes);
            return Poll::Ready(Ok(bytes.len()));
        }
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.noting(written, bytes.len())
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let length = slices.iter().map(|slice| slice.len()).sum();
        if self.exchange.is_waiting() {
            self.hold_back(slices.first().map_or(&[], |head| head));
            return Poll::Ready(Ok(length));
        }
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.noting(written, length)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.exchange.flushed();
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.refused.is_some() {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
