//! The stream under a WebSocket, which can be cut after a number of bytes.

use std::io;
use std::net::{Shutdown, TcpStream};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::faults::{Cut, How};

/// Counts the bytes to the client, and stops at the cut.
pub(super) struct Tap {
    stream: TokioIo<Upgraded>,
    /// Bytes that may still be sent, and the cut after them.
    left: Option<Cut>,
    valve: Arc<Valve>,
}

/// Cuts the connection at once, from outside.
pub(super) struct Valve {
    socket: Arc<TcpStream>,
    silent: AtomicBool,
    closed: AtomicBool,
}

impl Valve {
    pub(super) fn new(socket: Arc<TcpStream>) -> Arc<Self> {
        Arc::new(Self { socket, silent: AtomicBool::new(false), closed: AtomicBool::new(false) })
    }

    pub(super) fn shut(&self, how: How) {
        match how {
            How::HalfOpen => self.silent.store(true, Ordering::Release),
            // A silent connection stays silent: the client does not see its end.
            How::Close if self.is_silent() => {}
            How::Close => {
                self.closed.store(true, Ordering::Release);
                // Only this direction: sent data still arrives. Fails when the client has disconnected.
                self.socket.shutdown(Shutdown::Write).ok();
            }
        }
    }

    pub(super) fn is_silent(&self) -> bool {
        self.silent.load(Ordering::Acquire)
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }
}

impl Tap {
    pub(super) fn new(stream: TokioIo<Upgraded>, cut: Option<Cut>, valve: Arc<Valve>) -> Self {
        Self { stream, left: cut, valve }
    }

    /// Performs the cut after the last allowed byte, which is flushed first.
    fn lose(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.valve.is_silent() {
            return Poll::Pending;
        }
        if self.valve.is_closed() {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let Some(Cut { after: 0, how }) = self.left else { return Poll::Ready(Ok(())) };
        ready!(Pin::new(&mut self.stream).poll_flush(context))?;
        self.valve.shut(how);
        match how {
            How::HalfOpen => Poll::Pending,
            How::Close => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
        }
    }
}

impl AsyncRead for Tap {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.valve.is_silent() {
            return Poll::Pending;
        }
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Tap {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.lose(context))?;
        let most = self.left.map_or(usize::MAX, |cut| usize::try_from(cut.after).unwrap_or(usize::MAX));
        let part = bytes.get(..most).unwrap_or(bytes);
        let sent = ready!(Pin::new(&mut self.stream).poll_write(context, part))?;
        if let Some(cut) = &mut self.left {
            cut.after -= sent as u64;
        }
        Poll::Ready(Ok(sent))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.lose(context))?;
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.lose(context))?;
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
