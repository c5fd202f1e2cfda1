//! The listening sockets.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use anyhow::Context;
use rustix::io::Errno;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};

use super::limits::{BACKLOG, PEER_TIMEOUT, raise_file_limit};
use super::unix::UnixSocket;
use crate::config::{Bind, Config};
use crate::request::Peer;

/// Listening sockets of the server.
pub(crate) struct Listeners {
    /// The API.
    pub(crate) api: Listener,
    /// Probes and metrics, where they have an address of their own.
    pub(crate) probes: Option<Listener>,
}

impl Listeners {
    /// Begins to listen as configured.
    ///
    /// # Errors
    /// When an address cannot be listened on; the error names the variable.
    pub(crate) fn open(config: &Config) -> anyhow::Result<Self> {
        raise_file_limit();
        let config = &config.server;
        let probes = config.probe_bind.map(|address| tcp(address, "RDEV_PROBE_BIND")).transpose()?;
        let api = match &config.bind {
            Bind::Tcp(address) => tcp(*address, "RDEV_BIND")?,
            Bind::Unix(path) => unix(path.clone())?,
        };
        Ok(Self { api, probes })
    }
}

/// A listening socket.
pub(crate) enum Listener {
    /// Socket at an address of the machine.
    Tcp(TcpListener),
    /// Socket at a file.
    Unix(UnixSocket),
}

impl Listener {
    /// Returns the address, with the port that the system has chosen where none was configured.
    ///
    /// # Errors
    /// When the socket has no address.
    pub(crate) fn address(&self) -> std::io::Result<Bind> {
        Ok(match self {
            Self::Tcp(listener) => Bind::Tcp(listener.local_addr()?),
            Self::Unix(socket) => Bind::Unix(socket.path().to_owned()),
        })
    }

    /// Waits for the next connection.
    ///
    /// # Errors
    /// Mostly too many open files.
    pub(super) async fn accept(&self) -> std::io::Result<(TcpStream, Peer)> {
        match self {
            Self::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                // `[::]` shows an IPv4 client as `::ffff:192.0.2.1`, which is in no network that anybody has configured.
                let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
                Ok((stream, Peer::Tcp(peer)))
            }
            Self::Unix(socket) => {
                // A connected socket is read, written and closed by the same calls, whatever its family.
                let connected = OwnedFd::from(socket.accept().await?);
                Ok((TcpStream::from_std(connected.into())?, Peer::Unix))
            }
        }
    }
}

/// Begins to listen at the address that `variable` names.
fn tcp(address: SocketAddr, variable: &str) -> anyhow::Result<Listener> {
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
    listen().map(Listener::Tcp).with_context(|| format!("cannot listen on {address} ({variable})"))
}

/// Begins to listen at a Unix socket.
fn unix(path: PathBuf) -> anyhow::Result<Listener> {
    let context = format!("cannot listen on {} (RDEV_BIND)", Bind::Unix(path.clone()));
    UnixSocket::bind(path).map(Listener::Unix).context(context)
}

/// Makes a socket for the address. `[::]` is every address of the machine, also its IPv4 ones, and also on a machine
/// that has no others.
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
