//! Places for connections: how many there are, how many of them one client may have, and who goes when they run out.
//!
//! A connection between two requests, or before its first, can be closed: the client has been promised nothing. So
//! nobody keeps others out by being silent. What is in the middle of a request stays.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ipnet::IpNet;
use tokio::sync::Notify;
use tokio::time::Instant;

/// Connections of one client that have not shown a key which is accepted. Beyond it, the silent ones leave.
const STRANGERS_PER_CLIENT_MAX: usize = 512;
/// Of many clients that come at once each has sent its request after so long.
const SILENT: Duration = Duration::from_secs(1);

/// The places of one listener.
pub(crate) struct Places {
    max: usize,
    /// Proxies: many clients come from one of their addresses.
    trusted: Arc<[IpNet]>,
    register: Mutex<Register>,
    /// A place is free, or could be made free.
    room: Notify,
}

#[derive(Default)]
struct Register {
    taken: usize,
    turns: u64,
    /// Connections that wait for a request.
    waiting: BTreeMap<Turn, Waiting>,
    clients: HashMap<IpAddr, Strangers>,
}

/// The order in which waiting connections go: strangers first, then whoever has waited longest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Turn {
    known: bool,
    number: u64,
}

struct Waiting {
    client: Option<IpAddr>,
    since: Instant,
    leave: Arc<Notify>,
}

/// A client's connections that have not shown a key.
#[derive(Default)]
struct Strangers {
    connections: usize,
    waiting: BTreeSet<u64>,
}

impl Places {
    /// So many places; the addresses of `trusted` proxies are no clients.
    pub(crate) fn new(max: usize, trusted: Arc<[IpNet]>) -> Arc<Self> {
        Arc::new(Self { max, trusted, register: Mutex::default(), room: Notify::new() })
    }

    /// Waits until a place is free, or somebody could leave one.
    pub(super) async fn room(&self) {
        loop {
            let room = self.room.notified();
            {
                let register = self.register();
                if register.taken < self.max || !register.waiting.is_empty() {
                    return;
                }
            }
            room.await;
        }
    }

    /// A place for a connection from this address, for which another one may have to leave. `None` when its client
    /// has too many.
    pub(super) fn take(self: &Arc<Self>, peer: IpAddr) -> Option<Seat> {
        let client = self.client(peer);
        let mut register = self.register();
        while let Some(strangers) = client.and_then(|client| register.clients.get(&client))
            && strangers.connections >= STRANGERS_PER_CLIENT_MAX
        {
            let oldest = Turn { known: false, number: *strangers.waiting.first()? };
            if register.waiting.get(&oldest).is_some_and(|waiting| waiting.since.elapsed() < SILENT) {
                break;
            }
            register.give_up(oldest);
        }
        if register.taken >= self.max
            && let Some(turn) = register.waiting.keys().next().copied()
        {
            register.give_up(turn);
        }
        register.taken += 1;
        if let Some(client) = client {
            register.clients.entry(client).or_default().connections += 1;
        }
        let leave = Arc::new(Notify::new());
        let number = register.wait(false, client, &leave);
        drop(register);
        let standing = Standing { known: false, counted: true, waiting: Some(number) };
        Some(Seat(Arc::new(Place { places: self.clone(), client, leave, standing: Mutex::new(standing) })))
    }

    /// Whether more than half of the places are taken.
    pub(super) fn crowded(&self) -> bool {
        self.register().taken * 2 > self.max
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
    fn wait(&mut self, known: bool, client: Option<IpAddr>, leave: &Arc<Notify>) -> u64 {
        self.turns += 1;
        let number = self.turns;
        self.waiting
            .insert(Turn { known, number }, Waiting { client, since: Instant::now(), leave: leave.clone() });
        if let Some(strangers) = self.strangers(known, client) {
            strangers.waiting.insert(number);
        }
        number
    }

    /// What it has waited with; `None` when it was given up before.
    fn wait_no_more(&mut self, turn: Turn) -> Option<Waiting> {
        let waiting = self.waiting.remove(&turn)?;
        if let Some(strangers) = self.strangers(turn.known, waiting.client) {
            strangers.waiting.remove(&turn.number);
        }
        Some(waiting)
    }

    /// Has a waiting connection leave; its place counts as free at once.
    fn give_up(&mut self, turn: Turn) {
        if let Some(waiting) = self.wait_no_more(turn) {
            self.free(turn.known, waiting.client);
            waiting.leave.notify_one();
        }
    }

    fn free(&mut self, known: bool, client: Option<IpAddr>) {
        self.taken -= 1;
        if !known {
            self.no_stranger(client);
        }
    }

    fn no_stranger(&mut self, client: Option<IpAddr>) {
        if let Some(client) = client
            && let Some(strangers) = self.clients.get_mut(&client)
        {
            strangers.connections -= 1;
            if strangers.connections == 0 {
                self.clients.remove(&client);
            }
        }
    }

    fn strangers(&mut self, known: bool, client: Option<IpAddr>) -> Option<&mut Strangers> {
        client.filter(|_| !known).and_then(|client| self.clients.get_mut(&client))
    }
}

/// A connection's place, until this is dropped.
pub(super) struct Seat(pub(super) Arc<Place>);

/// The place of one connection.
pub(crate) struct Place {
    places: Arc<Places>,
    client: Option<IpAddr>,
    leave: Arc<Notify>,
    standing: Mutex<Standing>,
}

struct Standing {
    /// A key was accepted on it.
    known: bool,
    /// False once its place was given to another.
    counted: bool,
    /// Its number, while it waits for a request.
    waiting: Option<u64>,
}

impl Place {
    /// A request has come.
    pub(super) fn ask(&self) {
        let mut standing = self.standing();
        if let Some(number) = standing.waiting.take() {
            let turn = Turn { known: standing.known, number };
            // Between the word to leave and its being heard a request may come; then it is answered.
            standing.counted &= self.places.register().wait_no_more(turn).is_some();
        }
    }

    /// The request comes with a key that is accepted.
    pub(crate) fn recognise(&self) {
        let mut standing = self.standing();
        if !standing.known {
            standing.known = true;
            if standing.counted {
                self.places.register().no_stranger(self.client);
            }
        }
    }

    /// The request is answered, and another one may come.
    pub(super) fn wait(&self) {
        let mut standing = self.standing();
        if standing.counted {
            let number = self.places.register().wait(standing.known, self.client, &self.leave);
            standing.waiting = Some(number);
            self.places.room.notify_one();
        } else {
            standing.waiting = Some(0);
            self.leave.notify_one();
        }
    }

    /// Returns when the place is needed for another connection, and this one waits.
    pub(super) async fn given_up(&self) {
        loop {
            self.leave.notified().await;
            if self.standing().waiting.is_some() {
                return;
            }
        }
    }

    fn standing(&self) -> MutexGuard<'_, Standing> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let Place { places, client, standing, .. } = &*self.0;
        let mut standing = standing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut register = places.register();
        if let Some(number) = standing.waiting.take() {
            let turn = Turn { known: standing.known, number };
            standing.counted &= register.wait_no_more(turn).is_some();
        }
        if std::mem::take(&mut standing.counted) {
            register.free(standing.known, *client);
            places.room.notify_one();
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

    async fn must_leave(seat: &Seat) -> bool {
        timeout(Duration::from_millis(1), seat.0.given_up()).await.is_ok()
    }

    async fn is_full(places: &Places) -> bool {
        timeout(Duration::from_millis(1), places.room()).await.is_err()
    }

    #[tokio::test(start_paused = true)]
    async fn when_places_run_out_the_silent_leave_strangers_first_and_the_oldest_of_them() {
        let places = Places::new(3, Arc::default());
        let take = |from: &str| places.take(address(from)).unwrap();
        let known = take("10.0.0.1");
        known.0.ask();
        known.0.recognise();
        known.0.wait();
        let (older, younger) = (take("10.0.0.2"), take("10.0.0.3"));
        assert!(places.crowded());
        let one = take("10.0.0.4");
        one.0.ask();
        assert!(must_leave(&older).await && !must_leave(&younger).await);
        let two = take("10.0.0.5");
        two.0.ask();
        assert!(must_leave(&younger).await && !must_leave(&known).await);
        let three = take("10.0.0.6");
        three.0.ask();
        assert!(must_leave(&known).await);
        assert!(is_full(&places).await, "nobody is silent now");
        drop((older, younger, known));
        assert!(is_full(&places).await, "their places were given away before");
        drop(two);
        assert!(!is_full(&places).await);
        drop((one, three));
        let register = places.register();
        assert_eq!((register.taken, register.waiting.len(), register.clients.len()), (0, 0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_makes_room_for_itself_and_is_refused_when_it_cannot() {
        let places = Places::new(STRANGERS_PER_CLIENT_MAX * 4, [IpNet::from(address("10.0.0.9"))].into());
        let take = |from: &str| places.take(address(from));
        let other = take("2001:db8:1::1").unwrap();
        let seats: Vec<Seat> =
            (0..STRANGERS_PER_CLIENT_MAX).map(|n| take(&format!("2001:db8::{n:x}")).unwrap()).collect();
        let newest = take("2001:db8::ffff:1").unwrap();
        assert!(!must_leave(&seats[0]).await, "it has just come");
        tokio::time::advance(SILENT).await;
        let one_more = take("2001:db8::ffff:2").unwrap();
        assert!(must_leave(&seats[0]).await && must_leave(&seats[1]).await);
        assert!(!must_leave(&seats[2]).await && !must_leave(&other).await);
        for seat in seats[2..].iter().chain([&newest, &one_more]) {
            seat.0.ask();
        }
        assert!(take("2001:db8::5").is_none());
        newest.0.recognise();
        let next = take("2001:db8::5").expect("with a key it is no stranger");
        next.0.ask();
        assert!(take("2001:db8::5").is_none());
        assert!(take("2001:db8:1::2").is_some() && take("10.0.0.9").is_some());
        let proxied: Vec<_> = (0..STRANGERS_PER_CLIENT_MAX + 1).map(|_| take("10.0.0.9").unwrap()).collect();
        assert!(!must_leave(&proxied[0]).await);
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_asks_in_time_is_answered_before_it_leaves() {
        let places = Places::new(1, Arc::default());
        let first = places.take(address("10.0.0.1")).unwrap();
        let second = places.take(address("10.0.0.2")).unwrap();
        first.0.ask();
        assert!(!must_leave(&first).await);
        first.0.wait();
        assert!(must_leave(&first).await);
        drop((first, second));
        assert_eq!(places.register().taken, 0);
    }
}
