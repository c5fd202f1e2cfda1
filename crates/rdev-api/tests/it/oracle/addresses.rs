//! Addresses of the servers.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::support::Client;

/// Addresses of the servers now; a dead one is looked for where it was.
#[derive(Clone)]
pub(crate) struct Addresses(Arc<Mutex<Vec<Client>>>);

impl Addresses {
    pub(crate) fn new(servers: Vec<Client>) -> Self {
        Self(Arc::new(Mutex::new(servers)))
    }

    pub(crate) fn count(&self) -> usize {
        self.servers().len()
    }

    /// One of them; numbers beyond the last begin anew.
    pub(crate) fn of(&self, server: usize) -> Client {
        let servers = self.servers();
        servers[server % servers.len()].clone()
    }

    pub(crate) fn moved(&self, server: usize, client: Client) {
        self.servers()[server] = client;
    }

    fn servers(&self) -> MutexGuard<'_, Vec<Client>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
