//! The listening socket, the connections on it, and their orderly end.

mod connection;

use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use hyper_util::service::TowerToHyperService;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub(crate) use self::connection::Handoff;
use crate::request::Peer;
use crate::wire::Rdev;

/// Connections that wait to be accepted. With tokio's 1024 a storm of clients waits for SYN retries.
const BACKLOG: i32 = 8192;
/// Connections at the same time; further ones wait to be accepted.
const CONNECTIONS_MAX: usize = 20_000;
/// Longest time for a request's head.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// A peer that takes nothing for so long is gone, or as good as gone; it can resume.
const PEER_TIMEOUT: Duration = Duration::from_secs(120);
/// Bytes of one connection that wait to be written; hyper's own limit is over 400 KiB.
const CONNECTION_BUFFER_BYTES: usize = 64 * 1024;
/// After a signal, connections have so long to come to their end. With the workers' end this stays in 10 s.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

/// Cancelled by SIGTERM, SIGINT, and SIGHUP, which a terminal sends that is closed.
pub fn stop_on_signal() -> anyhow::Result<CancellationToken> {
    let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let mut hangup = signal(SignalKind::hangup())?;
    let stop = CancellationToken::new();
    let on_signal = stop.clone();
    tokio::spawn(async move {
        tokio::select! { _ = term.recv() => {}, _ = int.recv() => {}, _ = hangup.recv() => {} }
        on_signal.cancel();
    });
    Ok(stop)
}

/// Begins to listen.
pub fn listen(address: SocketAddr) -> anyhow::Result<TcpListener> {
    raise_file_limit();
    let listen = || -> std::io::Result<TcpListener> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        // Connections inherit both options.
        socket.set_tcp_nodelay(true)?;
        socket.set_tcp_user_timeout(Some(PEER_TIMEOUT))?;
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        TcpListener::from_std(socket.into())
    };
    listen().with_context(|| format!("cannot listen on {address} (RDEV_BIND)"))
}

/// Every subscriber is an open file: the soft limit, often 1024, is raised as far as allowed.
fn raise_file_limit() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::warn!(%error, "the limit of open files stays as it is");
    }
}

/// Tells a person at a terminal where to go. Where nobody takes it, the server works all the same.
pub fn greet(listener: &TcpListener, rdev: &Rdev) -> anyhow::Result<()> {
    let (address, key) = (listener.local_addr()?, rdev.key_place());
    let greeting = format!(
        "rdev listens on http://{address}  (reference: http://{address}/docs)\n\
         The admin key is {key}. Run a command and watch it:\n\n  \
         curl -N http://{address}/projects/demo/shell -H \"Authorization: Bearer {}\" \
         -H 'Accept: text/event-stream' -H 'Content-Type: application/json' \
         -d '{{\"command\":\"for i in 1 2 3 4 5; do echo line $i; sleep 1; done\"}}'\n",
        rdev.key_command(),
    );
    let mut out = std::io::stdout().lock();
    if let Err(error) = writeln!(out, "{greeting}").and_then(|()| out.flush()) {
        tracing::warn!(%error, %address, "nobody was told the address on standard output");
    }
    Ok(())
}

/// Serves until `stop`, then lets connections end: streams say goodbye on `drain`.
pub(crate) async fn serve(listener: TcpListener, app: Router, stop: CancellationToken) {
    let (tracker, places) = (TaskTracker::new(), Arc::new(Semaphore::new(CONNECTIONS_MAX)));
    let app = TowerToHyperService::new(app);
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = accept(&listener, &places) => accepted,
        };
        match accepted {
            Ok((stream, peer, place)) => {
                let connection = connection::serve(stream, Peer(peer), app.clone(), stop.clone());
                tracker.spawn(async move {
                    connection.await;
                    drop(place);
                });
            }
            Err(error) => {
                // Mostly too many open files: those that end make room.
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
    drop(listener);
    tracker.close();
    if tokio::time::timeout(DRAIN_TIMEOUT, tracker.wait()).await.is_err() {
        tracing::warn!(connections = tracker.len(), "these connections did not end, and are cut");
    }
}

async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> std::io::Result<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    let place = places.clone().acquire_owned().await.map_err(std::io::Error::other)?;
    let (stream, peer) = listener.accept().await?;
    Ok((stream, peer, place))
}
