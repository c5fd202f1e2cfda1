//! One connection.
//!
//! hyper keeps two buffers of 8 KiB for every connection, for as long as an answer lasts. An event stream
//! lasts for hours, and mostly waits. So once the head of such an answer is out, hyper is let go, and the
//! rest of the body is written here, in the same chunked encoding: a waiting subscriber costs a fifth.

use std::future::{Future, poll_fn};
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use axum::Router;
use axum::body::{Body, HttpBody};
use bytes::{Buf, Bytes};
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use http_body::Frame;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper::{Request, Version};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use super::{CONNECTION_BUFFER_BYTES, HEAD_TIMEOUT};
use crate::request::Peer;

/// Where an endless body leaves what follows its first frame.
#[derive(Clone, Default)]
pub(crate) struct Handoff(Arc<Mutex<Option<BoxStream<'static, Bytes>>>>);

impl Handoff {
    /// A body of these pieces, of which hyper sends the first.
    pub(crate) fn body(self, rest: BoxStream<'static, Bytes>) -> Body {
        Body::new(Detaching { rest: Some(rest), first: true, handoff: self })
    }

    fn take(&self) -> Option<BoxStream<'static, Bytes>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

struct Detaching {
    rest: Option<BoxStream<'static, Bytes>>,
    first: bool,
    handoff: Handoff,
}

impl HttpBody for Detaching {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if self.first
            && let Some(rest) = &mut self.rest
        {
            let bytes = ready!(rest.poll_next_unpin(context));
            self.first = false;
            return Poll::Ready(bytes.map(|bytes| Ok(Frame::data(bytes))));
        }
        // Asked again, hyper has taken the first frame; it will be dropped before it asks a third time.
        if let Some(rest) = self.rest.take() {
            *self.handoff.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(rest);
        }
        Poll::Pending
    }
}

/// Serves the connection to its end.
pub(super) async fn serve(
    stream: TcpStream,
    peer: Peer,
    app: TowerToHyperService<Router>,
    stop: CancellationToken,
) {
    let handoff = Handoff::default();
    let for_requests = handoff.clone();
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(peer);
        // Before 1.1 there is no chunked encoding, and hyper knows what to do instead.
        if request.version() == Version::HTTP_11 {
            request.extensions_mut().insert(for_requests.clone());
        }
        app.call(request)
    });
    let blocked = Arc::new(AtomicBool::new(false));
    let io = TokioIo::new(Watched { stream, blocked: blocked.clone() });
    // Boxed, so that its memory is given back when it is let go.
    let mut connection = Box::new(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIMEOUT)
            .max_buf_size(CONNECTION_BUFFER_BYTES)
            .serve_connection(io, service),
    );
    let mut stopped = Some(Box::pin(stop.cancelled_owned()));
    let ended = poll_fn(|context| {
        if stopped.as_mut().is_some_and(|stopped| stopped.as_mut().poll(context).is_ready()) {
            stopped = None;
            Pin::new(&mut *connection).graceful_shutdown();
        }
        if let Poll::Ready(ended) = Pin::new(&mut *connection).poll(context) {
            return Poll::Ready(ended.map(|()| None));
        }
        // What hyper could not write yet is still its own to write.
        if blocked.load(Ordering::Relaxed) {
            return Poll::Pending;
        }
        handoff.take().map_or(Poll::Pending, |rest| Poll::Ready(Ok(Some(rest))))
    })
    .await;
    drop(stopped);
    match ended {
        Ok(Some(rest)) => {
            let stream = connection.into_parts().io.into_inner().stream;
            if let Err(error) = write_rest(stream, rest).await {
                tracing::debug!(%error, "a subscriber is gone");
            }
        }
        Ok(None) => {}
        // Clients come and go as they like.
        Err(error) => tracing::debug!(%error, "a connection ended early"),
    }
}

/// Writes the rest of a chunked body, and closes: no request follows on this connection.
async fn write_rest(mut stream: TcpStream, mut rest: BoxStream<'static, Bytes>) -> io::Result<()> {
    let (mut reader, mut writer) = stream.split();
    loop {
        let mut ignored = [0; 64];
        let bytes = tokio::select! {
            read = reader.read(&mut ignored) => match read? {
                0 => return Ok(()),
                _ => continue,
            },
            bytes = rest.next() => bytes,
        };
        let Some(bytes) = bytes else { break };
        let head = format!("{:x}\r\n", bytes.len());
        writer.write_all_buf(&mut Buf::chain(head.as_bytes(), bytes).chain(&b"\r\n"[..])).await?;
    }
    writer.write_all(b"0\r\n\r\n").await?;
    writer.shutdown().await
}

/// A stream that tells whether something is left to be written to it.
struct Watched {
    stream: TcpStream,
    blocked: Arc<AtomicBool>,
}

impl Watched {
    fn noting(&self, written: Poll<io::Result<usize>>, of: usize) -> Poll<io::Result<usize>> {
        let all = matches!(&written, Poll::Ready(Ok(n)) if *n == of);
        self.blocked.store(!all, Ordering::Relaxed);
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
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.noting(written, bytes.len())
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.noting(written, slices.iter().map(|slice| slice.len()).sum())
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
