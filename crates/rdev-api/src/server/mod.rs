//! The listening socket, the connections on it, and their orderly end.

mod connection;
mod exchange;
mod handoff;
mod places;

use std::io::Write;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use hyper_util::service::TowerToHyperService;
use rustix::io::Errno;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::connection::Serving;
pub(crate) use self::handoff::Handoff;
pub(crate) use self::places::{Place, Places};
use crate::config::Config;
use crate::metrics::Closed;
use crate::request::Peer;
use crate::wire::Rdev;

/// Connections that wait to be accepted. With tokio's 1024 a storm of clients waits for SYN retries.
const BACKLOG: i32 = 8192;
/// Connections at the same time. Further ones wait to be accepted, unless one that is silent makes room.
const CONNECTIONS_MAX: usize = 20_000;
/// Connections at the same time on the listener of probes.
pub(crate) const PROBE_CONNECTIONS_MAX: usize = 256;
/// Hundredths of its places that the public listener leaves to one key's event streams.
const STREAMS_OF_ONE_KEY_PERCENT: usize = 75;
/// Files that connections leave to others, such as the database and runners; of a low limit they leave a quarter.
const OTHER_FILES: usize = 2_048;
/// Longest time for a request's head.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// The same while more than half of all places are taken.
const HEAD_TIMEOUT_CROWDED: Duration = Duration::from_secs(10);
/// A client that was told goodbye has so long to close its side.
const LINGER_TIMEOUT: Duration = Duration::from_secs(1);
/// A peer that takes nothing for so long is gone, or as good as gone; it can resume.
const PEER_TIMEOUT: Duration = Duration::from_secs(120);
/// Bytes of one connection that wait to be written; hyper's own limit is over 400 KiB.
const CONNECTION_BUFFER_BYTES: usize = 64 * 1024;
/// Largest head of a request.
const HEAD_BYTES_MAX: usize = 64 * 1024;
/// After a signal, connections have so long to come to their end. With the workers' end this stays in 10 s.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

/// Cancelled by SIGTERM, SIGINT, and by SIGHUP, which a terminal sends that is closed, unless it was ignored at the start.
pub fn stop_on_signal() -> anyhow::Result<CancellationToken> {
    let mut kinds = vec![SignalKind::terminate(), SignalKind::interrupt()];
    // `nohup` has it ignored: whoever starts rdev so wants it to outlive the terminal.
    if !is_ignored(SignalKind::hangup())? {
        kinds.push(SignalKind::hangup());
    }
    let stop = CancellationToken::new();
    for kind in kinds {
        let (mut signal, stop) = (signal(kind)?, stop.clone());
        tokio::spawn(async move {
            signal.recv().await;
            stop.cancel();
        });
    }
    Ok(stop)
}

/// Tells whether this process was started with the signal ignored.
fn is_ignored(signal: SignalKind) -> anyhow::Result<bool> {
    let status = std::fs::read_to_string("/proc/self/status").context("/proc/self/status")?;
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).context("SigIgn")?;
    let mask = u64::from_str_radix(mask.trim(), 16).context("SigIgn")?;
    Ok(mask >> (signal.as_raw_value() - 1) & 1 == 1)
}

/// Where the server listens.
pub struct Listeners {
    /// For everybody.
    pub(crate) api: TcpListener,
    /// For whoever looks after it.
    pub(crate) probes: Option<TcpListener>,
}

impl Listeners {
    /// Begins to listen as configured.
    ///
    /// # Errors
    /// When an address cannot be listened on; it names the variable.
    pub fn open(config: &Config) -> anyhow::Result<Self> {
        raise_file_limit();
        let probes = config.probe_bind.map(|address| listen(address, "RDEV_PROBE_BIND")).transpose()?;
        Ok(Self { api: listen(config.bind, "RDEV_BIND")?, probes })
    }
}

/// Begins to listen at the address that `variable` names.
fn listen(address: SocketAddr, variable: &str) -> anyhow::Result<TcpListener> {
    let listen = || -> std::io::Result<TcpListener> {
        let (socket, address) = socket(address)?;
        socket.set_reuse_address(true)?;
        // Connections inherit both options.
        socket.set_tcp_nodelay(true)?;
        socket.set_tcp_user_timeout(Some(PEER_TIMEOUT))?;
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        TcpListener::from_std(socket.into())
    };
    listen().with_context(|| format!("cannot listen on {address} ({variable})"))
}

/// A socket for the address. `[::]` is every address of the machine, also its IPv4 ones, and also on a machine that has
/// no others.
fn socket(address: SocketAddr) -> std::io::Result<(Socket, SocketAddr)> {
    let of = |address| Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP));
    match of(address) {
        Err(error)
            if error.raw_os_error() == Some(Errno::AFNOSUPPORT.raw_os_error())
                && address.ip() == Ipv6Addr::UNSPECIFIED =>
        {
            let address = (Ipv4Addr::UNSPECIFIED, address.port()).into();
            Ok((of(address)?, address))
        }
        Ok(socket) if address.is_ipv6() => {
            socket.set_only_v6(false)?;
            Ok((socket, address))
        }
        socket => Ok((socket?, address)),
    }
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
pub fn greet(listeners: &Listeners, rdev: &Rdev) -> anyhow::Result<()> {
    let (address, key) = (listeners.api.local_addr()?, rdev.key_place());
    let greeting = format!(
        "rdev listens on http://{address}  (reference: http://{address}/docs)\n\
         The admin key is {key}. Run a command and watch it:\n\n  \
         curl -N http://{address}/projects/demo/shell -H \"Authorization: Bearer {}\" \
         -H 'Accept: text/event-stream' -H 'Content-Type: application/json' \
         -d '{{\"command\":\"for i in 1 2 3 4 5; do echo line $i; sleep 1; done\"}}'\n\n",
        rdev.key_command(),
    );
    if let Some(probes) = &listeners.probes {
        tracing::info!(address = %probes.local_addr()?, "probes and metrics are answered");
    }
    let write = move || {
        if let Err(error) = std::io::stdout().write_all(greeting.as_bytes()) {
            tracing::warn!(%error, %address, "nobody was told the address on standard output");
        }
    };
    // Nobody may read it: then this thread waits, and nothing waits for it, as the runtime would for one of its own.
    thread::Builder::new().name("greeting".to_owned()).spawn(write).context("a thread for the greeting")?;
    Ok(())
}

/// How many connections the files allow that this process may have open.
pub(crate) fn connections_max() -> usize {
    use rustix::process::{Resource, getrlimit};
    let files = getrlimit(Resource::Nofile).current.and_then(|files| usize::try_from(files).ok());
    files.map_or(CONNECTIONS_MAX, |files| CONNECTIONS_MAX.min(files - OTHER_FILES.min(files / 4)))
}

/// How many event streams one key may have open.
pub(crate) fn streams_per_key(config: &Config) -> usize {
    let share = || (connections_max() * STREAMS_OF_ONE_KEY_PERCENT / 100).max(1);
    config.streams_per_key.map_or_else(share, |streams| streams as usize)
}

/// Serves until `stop`, then lets connections end: streams say goodbye on `drain`.
pub(crate) async fn serve(listener: TcpListener, app: Router, places: Arc<Places>, stop: CancellationToken) {
    let tracker = TaskTracker::new();
    let serving = Serving { app: TowerToHyperService::new(app), stop: stop.clone() };
    while let Some(accepted) = stop.run_until_cancelled(accept(&listener, &places)).await {
        match accepted {
            Ok((stream, peer)) => {
                let Some(seat) = places.take(peer.ip()) else {
                    Closed::TooMany.count();
                    tracing::debug!(%peer, "too many connections without a key from this client");
                    continue;
                };
                let head_timeout = if places.crowded() { HEAD_TIMEOUT_CROWDED } else { HEAD_TIMEOUT };
                tracker.spawn(serving.clone().serve(stream, Peer(peer), seat, head_timeout));
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

async fn accept(listener: &TcpListener, places: &Places) -> std::io::Result<(TcpStream, SocketAddr)> {
    places.room().await;
    let (stream, peer) = listener.accept().await?;
    // `[::]` tells an IPv4 client as `::ffff:192.0.2.1`, which is in no network that anybody has configured.
    Ok((stream, SocketAddr::new(peer.ip().to_canonical(), peer.port())))
}
