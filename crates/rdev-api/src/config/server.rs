//! Listen addresses of the server.

use std::net::SocketAddr;

use clap::Args;

use super::parse::address;

/// Listen addresses.
#[derive(Debug, Clone, Args)]
pub struct ServerConfig {
    /// Listen address
    #[arg(long, env = "RDEV_BIND", default_value = "127.0.0.1:8080", value_name = "IP:PORT", value_parser = address)]
    pub bind: SocketAddr,

    /// Another listen address, for /health, /ready and /metrics: then /metrics is there alone, and the others are
    /// there too
    #[arg(long, env = "RDEV_PROBE_BIND", value_name = "IP:PORT", value_parser = address)]
    pub probe_bind: Option<SocketAddr>,
}
