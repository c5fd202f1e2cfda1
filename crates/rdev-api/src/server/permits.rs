//! Permits for connections: how many there are, how many of them one client may hold, and which connection is evicted
//! when they run out.
//!
//! A connection between two requests, or before its first, can be closed: the client has been promised nothing. So
//! nobody keeps others out by being silent. A connection in the middle of a request stays. (A semaphore, as in
//! `tower::limit` or tokio, has no holder that it could evict.)

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ipnet::IpNet;
use tokio::sync::Notify;
use tokio::time::Instant;

/// Largest number of connections of one client that have not shown an accepted key. Beyond it, idle ones are evicted.
const UNAUTHENTICATED_PER_CLIENT_MAX: usize = 512;
/// Shortest idle time before a client's own connection is evicted for another one of the same client: of many
/// connections that are opened at once each has sent its request by then.
const IDLE_MIN: Duration = Duration::from_secs(1);

/// Limit on the connections of one listener.
pub(crate) struct ConnectionLimit {
    max: usize,
    /// Proxies: many clients connect from one of their addresses.
    trusted: Arc<[IpNet]>,
    register: Mutex<Register>,
    /// A permit is free, or an idle connection could be evicted.
    available: Notify,
}

#[derive(Default)]
struct Register {
    permits: usize,
    sequence: u64,
    /// Connections between two requests, the next to be evicted first.
    idle: BTreeMap<EvictionOrder, Idle>,
    clients: HashMap<IpAddr, Unauthenticated>,
}

/// Order in which idle connections are evicted: those without a key first, then the longest idle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct EvictionOrder {
    authenticated: bool,
    sequence: u64,
}

struct Idle {
    client: Option<IpAddr>,
    since: Instant,
    evict: Arc<Notify>,
}

/// Connections of one client that have not shown a key.
#[derive(Default)]
struct Unauthenticated {
    connections: usize,
    idle: BTreeSet<u64>,
}

impl ConnectionLimit {
    /// Allows `max` connections; the addresses of `trusted` proxies are no clients.
    pub(crate) fn new(max: usize, trusted: Arc<[IpNet]>) -> Arc<Self> {
        Arc::new(Self { max, trusted, register: Mutex::default(), available: Notify::new() })
    }

    /// Waits until a permit is free, or an idle connection can be evicted for one.
    pub(super) async fn available(&self) {
        loop {
            let available = self.available.notified();
            {
                let register = self.register();
                if register.permits < self.max || !register.idle.is_empty() {
                    return;
                }
            }
            available.await;
        }
    }

    /// Returns a permit for a connection from this address, for which an idle one may be evicted. `None` when its
    /// client has too many.
    pub(super) fn acquire(self: &Arc<Self>, peer: Option<IpAddr>) -> Option<ConnectionPermit> {
        let client = peer.and_then(|peer| self.client(peer));
        let mut register = self.register();
        while let Some(unauthenticated) = client.and_then(|client| register.clients.get(&client))
            && unauthenticated.connections >= UNAUTHENTICATED_PER_CLIENT_MAX
        {
            let oldest = EvictionOrder { authenticated: false, sequence: *unauthenticated.idle.first()? };
            if register.idle.get(&oldest).is_some_and(|idle| idle.since.elapsed() < IDLE_MIN) {
                break;
            }
            register.evict(oldest);
        }
        if register.permits >= self.max
            && let Some(order) = register.idle.keys().next().copied()
        {
            register.evict(order);
        }
        register.permits += 1;
        if let Some(client) = client {
            register.clients.entry(client).or_default().connections += 1;
        }
        let evict = Arc::new(Notify::new());
        let sequence = register.begin_idle(false, client, &evict);
        drop(register);
        let state = State { authenticated: false, holds_permit: true, idle: Some(sequence) };
        let usage = ConnectionUsage { limit: self.clone(), client, evict, state: Mutex::new(state) };
        Some(ConnectionPermit(Arc::new(usage)))
    }

    /// Tells whether more than half of the permits are taken.
    pub(super) fn is_crowded(&self) -> bool {
        self.register().permits * 2 > self.max
    }

    fn client(&self, peer: IpAddr) -> Option<IpAddr> {
        let trusted = self.trusted.iter().any(|network| network.contains(&peer));
        (!trusted).then_some(match peer {
            IpAddr::V4(_) => peer,
            // A network of this size is what one customer gets.
            IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
        })
    }

    fn register(&self) -> MutexGuard<'_, Register> {
        self.register.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Register {
    fn begin_idle(&mut self, authenticated: bool, client: Option<IpAddr>, evict: &Arc<Notify>) -> u64 {
        self.sequence += 1;
        let sequence = self.sequence;
        let idle = Idle { client, since: Instant::now(), evict: evict.clone() };
        self.idle.insert(EvictionOrder { authenticated, sequence }, idle);
        if let Some(unauthenticated) = self.unauthenticated(authenticated, client) {
            unauthenticated.idle.insert(sequence);
        }
        sequence
    }

    /// Removes a connection from the idle ones; `None` when it was evicted before.
    fn end_idle(&mut self, order: EvictionOrder) -> Option<Idle> {
        let idle = self.idle.remove(&order)?;
        if let Some(unauthenticated) = self.unauthenticated(order.authenticated, idle.client) {
            unauthenticated.idle.remove(&order.sequence);
        }
        Some(idle)
    }

    /// Evicts an idle connection; its permit counts as free at once.
    fn evict(&mut self, order: EvictionOrder) {
        if let Some(idle) = self.end_idle(order) {
            self.release(order.authenticated, idle.client);
            idle.evict.notify_one();
        }
    }

    fn release(&mut self, authenticated: bool, client: Option<IpAddr>) {
        self.permits -= 1;
        if !authenticated {
            self.forget_unauthenticated(client);
        }
    }

    fn forget_unauthenticated(&mut self, client: Option<IpAddr>) {
        if let Some(client) = client
            && let Some(unauthenticated) = self.clients.get_mut(&client)
        {
            unauthenticated.connections -= 1;
            if unauthenticated.connections == 0 {
                self.clients.remove(&client);
            }
        }
    }

    fn unauthenticated(
        &mut self,
        authenticated: bool,
        client: Option<IpAddr>,
    ) -> Option<&mut Unauthenticated> {
        client.filter(|_| !authenticated).and_then(|client| self.clients.get_mut(&client))
    }
}

/// Permit of one connection, released when this is dropped.
pub(super) struct ConnectionPermit(pub(super) Arc<ConnectionUsage>);

/// Use that one connection makes of its permit.
pub(crate) struct ConnectionUsage {
    limit: Arc<ConnectionLimit>,
    client: Option<IpAddr>,
    evict: Arc<Notify>,
    state: Mutex<State>,
}

struct State {
    /// A key was accepted on this connection.
    authenticated: bool,
    /// False once the permit was given to another connection.
    holds_permit: bool,
    /// Sequence number among the idle connections, while it waits for a request.
    idle: Option<u64>,
}

impl ConnectionUsage {
    /// Notes that a request has arrived.
    pub(super) fn begin_request(&self) {
        let mut state = self.state();
        if let Some(sequence) = state.idle.take() {
            let order = EvictionOrder { authenticated: state.authenticated, sequence };
            // A request may arrive between the eviction and the end of the connection; then it is answered.
            state.holds_permit &= self.limit.register().end_idle(order).is_some();
        }
    }

    /// Notes that the request carries an accepted key.
    pub(crate) fn authenticate(&self) {
        let mut state = self.state();
        if !state.authenticated {
            state.authenticated = true;
            if state.holds_permit {
                self.limit.register().forget_unauthenticated(self.client);
            }
        }
    }

    /// Notes that the request is answered, and another one may follow.
    pub(super) fn end_request(&self) {
        let mut state = self.state();
        if state.holds_permit {
            let sequence = self.limit.register().begin_idle(state.authenticated, self.client, &self.evict);
            state.idle = Some(sequence);
            self.limit.available.notify_one();
        } else {
            state.idle = Some(0);
            self.evict.notify_one();
        }
    }

    /// Waits until this connection is idle and evicted for another one.
    pub(super) async fn evicted(&self) {
        loop {
            self.evict.notified().await;
            if self.state().idle.is_some() {
                return;
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        let ConnectionUsage { limit, client, state, .. } = &*self.0;
        let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
        let mut register = limit.register();
        if let Some(sequence) = state.idle.take() {
            let order = EvictionOrder { authenticated: state.authenticated, sequence };
            state.holds_permit &= register.end_idle(order).is_some();
        }
        if std::mem::take(&mut state.holds_permit) {
            register.release(state.authenticated, *client);
            limit.available.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    async fn is_evicted(permit: &ConnectionPermit) -> bool {
        timeout(Duration::from_millis(1), permit.0.evicted()).await.is_ok()
    }

    async fn is_full(limit: &ConnectionLimit) -> bool {
        timeout(Duration::from_millis(1), limit.available()).await.is_err()
    }

    #[tokio::test(start_paused = true)]
    async fn idle_connections_are_evicted_those_without_a_key_first_and_the_oldest_of_them() {
        let limit = ConnectionLimit::new(3, Arc::default());
        let acquire = |from: &str| limit.acquire(Some(address(from))).unwrap();
        let known = acquire("10.0.0.1");
        known.0.begin_request();
        known.0.authenticate();
        known.0.end_request();
        let (older, younger) = (acquire("10.0.0.2"), acquire("10.0.0.3"));
        assert!(limit.is_crowded());
        let one = acquire("10.0.0.4");
        one.0.begin_request();
        assert!(is_evicted(&older).await && !is_evicted(&younger).await);
        let two = acquire("10.0.0.5");
        two.0.begin_request();
        assert!(is_evicted(&younger).await && !is_evicted(&known).await);
        let three = acquire("10.0.0.6");
        three.0.begin_request();
        assert!(is_evicted(&known).await);
        assert!(is_full(&limit).await, "no connection is idle now");
        drop((older, younger, known));
        assert!(is_full(&limit).await, "their permits were given away before");
        drop(two);
        assert!(!is_full(&limit).await);
        drop((one, three));
        let register = limit.register();
        assert_eq!((register.permits, register.idle.len(), register.clients.len()), (0, 0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_evicts_its_own_connections_and_is_refused_when_none_is_idle() {
        let proxy = [IpNet::from(address("10.0.0.9"))];
        let limit = ConnectionLimit::new(UNAUTHENTICATED_PER_CLIENT_MAX * 4, proxy.into());
        let acquire = |from: &str| limit.acquire(Some(address(from)));
        let other = acquire("2001:db8:1::1").unwrap();
        let permits: Vec<ConnectionPermit> = (0..UNAUTHENTICATED_PER_CLIENT_MAX)
            .map(|n| acquire(&format!("2001:db8::{n:x}")).unwrap())
            .collect();
        let newest = acquire("2001:db8::ffff:1").unwrap();
        assert!(!is_evicted(&permits[0]).await, "it was opened just now");
        tokio::time::advance(IDLE_MIN).await;
        let one_more = acquire("2001:db8::ffff:2").unwrap();
        assert!(is_evicted(&permits[0]).await && is_evicted(&permits[1]).await);
        assert!(!is_evicted(&permits[2]).await && !is_evicted(&other).await);
        for permit in permits[2..].iter().chain([&newest, &one_more]) {
            permit.0.begin_request();
        }
        assert!(acquire("2001:db8::5").is_none());
        newest.0.authenticate();
        let next = acquire("2001:db8::5").expect("a connection with a key is not counted");
        next.0.begin_request();
        assert!(acquire("2001:db8::5").is_none());
        assert!(acquire("2001:db8:1::2").is_some() && acquire("10.0.0.9").is_some());
        let proxied: Vec<_> =
            (0..UNAUTHENTICATED_PER_CLIENT_MAX + 1).map(|_| acquire("10.0.0.9").unwrap()).collect();
        assert!(!is_evicted(&proxied[0]).await);
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_that_arrives_in_time_is_answered_before_its_connection_is_closed() {
        let limit = ConnectionLimit::new(1, Arc::default());
        let first = limit.acquire(Some(address("10.0.0.1"))).unwrap();
        let second = limit.acquire(Some(address("10.0.0.2"))).unwrap();
        first.0.begin_request();
        assert!(!is_evicted(&first).await);
        first.0.end_request();
        assert!(is_evicted(&first).await);
        drop((first, second));
        assert_eq!(limit.register().permits, 0);
    }
}
