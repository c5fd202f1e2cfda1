//! The listening sockets.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use anyhow::Context;
use rustix::io::Errno;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;

use super::limits::{BACKLOG, PEER_TIMEOUT, raise_file_limit};
use crate::config::Config;

/// Listening sockets of the server.
pub(crate) struct Listeners {
    /// The API.
    pub(crate) api: TcpListener,
    /// Probes and metrics, where they have an address of their own.
    pub(crate) probes: Option<TcpListener>,
}

impl Listeners {
    /// Begins to listen as configured.
    ///
    /// # Errors
    /// When an address cannot be listened on; the error names the variable.
    pub(crate) fn open(config: &Config) -> anyhow::Result<Self> {
        raise_file_limit();
        let config = &config.server;
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
