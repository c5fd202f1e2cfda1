//! The accept loop: one task a connection, and their orderly end.

use std::sync::Arc;

use axum::Router;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::connection::Serving;
use super::limits::{ACCEPT_PAUSE, DRAIN_TIMEOUT, HEAD_TIMEOUT, HEAD_TIMEOUT_CROWDED};
use super::listen::Listener;
use super::permits::ConnectionLimit;
use crate::metrics::Closed;
use crate::request::Peer;

/// Serves until `stop`, then lets connections end: event streams are told to reconnect by their own token.
pub(crate) async fn serve(
    listener: Listener,
    app: Router,
    limit: Arc<ConnectionLimit>,
    stop: CancellationToken,
) {
    let tracker = TaskTracker::new();
    let serving = Serving { app: TowerToHyperService::new(app), stop: stop.clone() };
    while let Some(accepted) = stop.run_until_cancelled(accept(&listener, &limit)).await {
        match accepted {
            Ok((stream, peer)) => {
                let Some(permit) = limit.acquire(peer.ip()) else {
                    Closed::TooMany.count();
                    tracing::debug!(?peer, "refused: this client has too many connections without a key");
                    continue;
                };
                let head_timeout = if limit.is_crowded() { HEAD_TIMEOUT_CROWDED } else { HEAD_TIMEOUT };
                tracker.spawn(serving.clone().serve(stream, peer, permit, head_timeout));
            }
            Err(error) => {
                // Mostly too many open files: connections that end release some.
                tracing::warn!(%error, "accepting a connection failed");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    tracker.close();
    if tokio::time::timeout(DRAIN_TIMEOUT, tracker.wait()).await.is_err() {
        tracing::warn!(connections = tracker.len(), timeout = ?DRAIN_TIMEOUT, "connections did not end in time, and are cut");
    }
}

async fn accept(listener: &Listener, limit: &ConnectionLimit) -> std::io::Result<(TcpStream, Peer)> {
    limit.available().await;
    listener.accept().await
}
