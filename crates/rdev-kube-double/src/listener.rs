//! The listening socket and its connections.

use std::sync::{Arc, PoisonError};

use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::http::call::Line;
use crate::http::handle;
use crate::inner::Inner;

/// A listening server.
pub(crate) struct Listener {
    end: CancellationToken,
    accepting: JoinHandle<()>,
}

impl Listener {
    pub(crate) fn start(inner: Arc<Inner>, socket: std::net::TcpListener) -> anyhow::Result<Self> {
        socket.set_nonblocking(true)?;
        let runtime = inner.runtime.clone();
        let _runtime = runtime.enter();
        let socket = TcpListener::from_std(socket)?;
        let end = CancellationToken::new();
        let accepting = runtime.spawn(accept(inner, socket, end.clone()));
        Ok(Self { end, accepting })
    }

    /// Stops listening; the socket is closed on return.
    pub(crate) async fn stop(self) {
        self.end.cancel();
        if let Err(error) = self.accepting.await {
            tracing::error!(%error, "the listener failed");
        }
    }
}

async fn accept(inner: Arc<Inner>, socket: TcpListener, end: CancellationToken) {
    loop {
        let accepted = tokio::select! {
            () = end.cancelled() => break,
            accepted = socket.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                tokio::spawn(end.clone().run_until_cancelled_owned(serve(
                    Arc::clone(&inner),
                    stream,
                    end.clone(),
                )));
            }
            Err(error) => tracing::debug!(%error, "a connection was not accepted"),
        }
    }
    // Closing the socket is not enough: a child forked a moment ago holds it until its exec.
    if let Err(error) = rustix::net::shutdown(&socket, rustix::net::Shutdown::Both) {
        tracing::debug!(%error, "the listening socket was not shut down");
    }
}

async fn serve(inner: Arc<Inner>, stream: TcpStream, end: CancellationToken) {
    if let Err(error) = serve_or_fail(inner, stream, end).await {
        tracing::debug!(%error, "a connection ended");
    }
}

async fn serve_or_fail(inner: Arc<Inner>, stream: TcpStream, end: CancellationToken) -> anyhow::Result<()> {
    stream.set_nodelay(true)?;
    let stream = stream.into_std()?;
    let raw = Arc::new(stream.try_clone()?);
    let stream = TcpStream::from_std(stream)?;
    {
        let mut sockets = inner.sockets();
        sockets.retain(|socket| socket.strong_count() > 0);
        sockets.push(Arc::downgrade(&raw));
    }
    let line = Line { socket: raw, end };
    let acceptor = inner.acceptor.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let stream = acceptor.accept(stream).await?;
    let service = service_fn(|request| {
        let (inner, line) = (Arc::clone(&inner), line.clone());
        async move { Ok::<_, std::convert::Infallible>(handle(inner, line, request).await) }
    });
    hyper::server::conn::http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades()
        .await?;
    Ok(())
}
