//! Handoff of event streams from hyper: bodies that last for hours, and are mostly idle.
//!
//! hyper keeps two buffers of 8 KiB for every connection, for as long as a response lasts. So once the head of an event
//! stream is written, hyper is dropped, and the rest of the body is written here, in the same chunked encoding: an idle
//! subscriber needs a fifth of the memory.

use std::io;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use axum::body::{Body, HttpBody};
use bytes::{Buf, Bytes};
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use http_body::Frame;
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::TcpStream;
use tokio::net::tcp::ReadHalf;

/// Cell in which a body leaves what follows its first frame.
#[derive(Clone, Default)]
pub(crate) struct Handoff(Arc<Mutex<Option<BoxStream<'static, Bytes>>>>);

impl Handoff {
    /// Returns a body of these pieces, of which hyper sends the first.
    pub(crate) fn body(self, rest: BoxStream<'static, Bytes>) -> Body {
        Body::new(Detaching { rest: Some(rest), first: true, handoff: self })
    }

    /// Takes the rest of the body, once hyper has taken its first piece.
    pub(super) fn take(&self) -> Option<BoxStream<'static, Bytes>> {
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
        // At its second poll hyper has taken the first frame; hyper is dropped before a third.
        if let Some(rest) = self.rest.take() {
            *self.handoff.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(rest);
        }
        Poll::Pending
    }
}

/// Writes the rest of a chunked body, and closes: no request follows on this connection.
pub(super) async fn write_rest(mut stream: TcpStream, mut rest: BoxStream<'static, Bytes>) -> io::Result<()> {
    let (reader, mut writer) = stream.split();
    let mut disconnected = pin!(disconnected(reader));
    loop {
        let bytes = tokio::select! {
            error = &mut disconnected => return Err(error),
            bytes = rest.next() => bytes,
        };
        let Some(bytes) = bytes else { break };
        let head = format!("{:x}\r\n", bytes.len());
        writer.write_all_buf(&mut Buf::chain(head.as_bytes(), bytes).chain(&b"\r\n"[..])).await?;
    }
    writer.write_all(b"0\r\n\r\n").await?;
    writer.shutdown().await
}

/// Returns when nothing reaches the client any more. A client that has closed its sending side may still read; the next
/// write shows whether it does.
async fn disconnected(mut reader: ReadHalf<'_>) -> io::Error {
    let mut ignored = [0; 64];
    loop {
        match reader.read(&mut ignored).await {
            Ok(0) => break,
            Ok(_) => {}
            Err(error) => return error,
        }
    }
    match reader.ready(Interest::ERROR).await {
        Ok(_) => io::ErrorKind::ConnectionReset.into(),
        Err(error) => error,
    }
}
