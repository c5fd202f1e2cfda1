//! HTTP connections: the listening sockets, the accept loop, one connection each, and their orderly end.
//!
//! hyper speaks HTTP here; `axum::serve` has neither permits for connections, nor an answer for what is no request, nor a
//! way to write an event stream without hyper's buffers.

mod accept;
mod connection;
mod departure;
mod exchange;
mod handoff;
mod limits;
mod listen;
mod permits;
mod signals;
mod unix;

pub(crate) use self::accept::serve;
pub(crate) use self::departure::Departure;
pub(crate) use self::handoff::Handoff;
pub(crate) use self::limits::{PROBE_CONNECTIONS_MAX, connections_max, streams_per_key};
pub(crate) use self::listen::{Listener, Listeners};
pub(crate) use self::permits::{ConnectionLimit, ConnectionUsage};
pub(crate) use self::signals::stop_on_signal;
