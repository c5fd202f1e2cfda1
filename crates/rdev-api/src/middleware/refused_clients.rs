//! Clients that are refused again and again for want of an accepted key, and the few warnings about them.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use quick_cache::sync::Cache;
use tokio::time::Instant;

/// Most clients that are remembered; beyond it the one that was refused the longest ago is forgotten.
const CLIENTS_MAX: usize = 1024;
/// Time after which the count of a client begins anew.
const WINDOW: Duration = Duration::from_secs(60);
/// Count of a client's first warning in a window; the next come at ten times as many each, so a flood is a few lines.
const WARNED_FIRST: u64 = 3;

/// Counts of refused requests by client.
pub(super) struct RefusedClients {
    clients: Cache<IpAddr, Arc<Mutex<Refused>>>,
}

/// Requests of one client that were refused in the present window.
struct Refused {
    since: Instant,
    count: u64,
}

impl RefusedClients {
    /// Makes a count of no requests.
    pub(super) fn new() -> Self {
        Self { clients: Cache::new(CLIENTS_MAX) }
    }

    /// Counts a request that was refused, and warns of a client that repeats it.
    pub(super) fn refused(&self, client: IpAddr) {
        if let Some(requests) = self.count(client) {
            let seconds = WINDOW.as_secs();
            tracing::warn!(requests, seconds, "this client is refused again and again: no accepted key");
        }
    }

    /// Counts a request. Returns the count that is worth a warning.
    fn count(&self, client: IpAddr) -> Option<u64> {
        let new = || Arc::new(Mutex::new(Refused { since: Instant::now(), count: 0 }));
        let refused = match self.clients.get(&client) {
            Some(refused) => refused,
            None => {
                let refused = new();
                self.clients.insert(client, refused.clone());
                refused
            }
        };
        let mut refused = refused.lock().unwrap_or_else(PoisonError::into_inner);
        if refused.since.elapsed() >= WINDOW {
            *refused = Refused { since: Instant::now(), count: 0 };
        }
        refused.count += 1;
        is_told(refused.count).then_some(refused.count)
    }
}

/// Tells whether this count is the first that is told, or a power of ten times it.
fn is_told(mut count: u64) -> bool {
    while count > WARNED_FIRST && count.is_multiple_of(10) {
        count /= 10;
    }
    count == WARNED_FIRST
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn of_a_flood_few_counts_are_told_and_each_client_has_its_own() {
        let refused_clients = RefusedClients::new();
        let (one, other) = ("10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap());
        let told: Vec<u64> = (0..500).filter_map(|_| refused_clients.count(one)).collect();
        assert_eq!(told, [3, 30, 300]);
        assert_eq!(refused_clients.count(other), None);
        tokio::time::advance(WINDOW).await;
        let told: Vec<u64> = (0..5).filter_map(|_| refused_clients.count(one)).collect();
        assert_eq!(told, [3]);
    }
}
