//! Listen addresses of the server.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;

use super::parse::address;

/// Address at which the API listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Bind {
    /// An address of the machine, and a port.
    Tcp(SocketAddr),
    /// A Unix socket: an absolute path.
    Unix(PathBuf),
}

impl Bind {
    fn parse(text: &str) -> Result<Self, String> {
        match text.strip_prefix("unix:") {
            Some(path) if path.starts_with('/') => Ok(Self::Unix(path.into())),
            Some(_) => {
                Err("accepted after unix: is an absolute path, such as unix:/run/rdev/api.sock".to_owned())
            }
            None => address(text).map(Self::Tcp).map_err(|accepted| format!("{accepted}, or unix:/PATH")),
        }
    }
}

/// As it is configured.
impl fmt::Display for Bind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// Listen addresses.
#[derive(Debug, Clone, Args)]
pub struct ServerConfig {
    /// Listen address: IP:PORT, or unix:/PATH
    #[arg(long, env = "RDEV_BIND", default_value = "127.0.0.1:8080", value_name = "ADDRESS", value_parser = Bind::parse)]
    pub bind: Bind,

    /// Another listen address, for /health, /ready and /metrics: then /metrics is there alone, and the others are
    /// there too
    #[arg(long, env = "RDEV_PROBE_BIND", value_name = "IP:PORT", value_parser = address)]
    pub probe_bind: Option<SocketAddr>,
}
