//! Support of the stories: servers, a client, and waits that end.

mod client;
mod cluster;
mod double;
mod events;
mod fixture;
mod model;
mod places;
mod postgres;
mod processes;
pub(crate) mod raw;
mod repository;
mod runtime;
mod server;
mod tools;

use std::future::Future;
use std::time::Duration;

pub(crate) use client::Client;
pub(crate) use cluster::Cluster;
pub(crate) use double::IN_A_POD;
pub(crate) use events::{Events, ReceivedExt, event_streams, moment};
pub(crate) use fixture::{Fixture, said};
pub(crate) use model::Model;
pub(crate) use places::MASTER_KEY;
pub(crate) use postgres::{PrivatePostgres, Restart};
pub(crate) use raw::{Answer, Call, Item, Items, RawEvents};
pub(crate) use repository::Repository;
pub(crate) use runtime::{Runtime, on_both_stores, on_every_runtime, on_runtime};
pub(crate) use server::Server;
pub(crate) use tools::{chromium, faketime, nginx, target_dir, variable};

/// Longest wait for anything that is to happen soon.
pub(crate) const PATIENCE: Duration = Duration::from_secs(45);
/// Pause between two looks at something that cannot be awaited, such as another process.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Awaits, but not for ever.
pub(crate) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(value) => value,
        Err(_) => panic!("{what}: not within {PATIENCE:?}"),
    }
}

/// Looks until there is something to see.
pub(crate) async fn eventually<T, F: Future<Output = Option<T>>>(what: &str, look: impl FnMut() -> F) -> T {
    within(what, looking(look)).await
}

/// As [`eventually`], but as long as the caller says.
pub(crate) async fn looking<T, F: Future<Output = Option<T>>>(mut look: impl FnMut() -> F) -> T {
    loop {
        if let Some(seen) = look().await {
            return seen;
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

/// An address on which nobody listens.
pub(crate) fn free_address() -> std::net::SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("it has an address")
}
