//! New tickets for a stream that was opened with one: a page that reconnects has a valid one, however long it was open.

use std::time::Duration;

use rdev_api_types::Ticket;
use rdev_domain::Timestamp;
use rdev_ports::Clock;
use tokio::time::Instant;

use crate::convert::time;
use crate::tickets::{TICKET_LIFETIME, TicketUse, Tickets};

/// Rest of a ticket's lifetime at which the stream sends the next one.
const RENEWED_BEFORE: Duration = Duration::from_secs(TICKET_LIFETIME.as_secs() / 2);

/// Issuer of the next tickets of one stream.
pub(super) struct Renewal {
    tickets: Tickets,
    /// Ticket that opened the stream.
    ticket: TicketUse,
    next: Instant,
}

impl Renewal {
    /// Issues tickets from half an hour before the end of `ticket` on: at once, where that has passed.
    pub(super) fn new(tickets: Tickets, ticket: TicketUse, now: Timestamp) -> Self {
        let next = Instant::now() + ticket.expires.since(now).saturating_sub(RENEWED_BEFORE);
        Self { tickets, ticket, next }
    }

    /// Returns the next ticket, if it is due.
    pub(super) fn due(&mut self, now: Instant, clock: &dyn Clock) -> Option<Ticket> {
        if now < self.next {
            return None;
        }
        self.next = now + (TICKET_LIFETIME - RENEWED_BEFORE);
        let expires = clock.now() + TICKET_LIFETIME;
        let ticket = self.tickets.issue(&self.ticket.key, &self.ticket.stream, expires);
        Some(Ticket { ticket, expires_at: time(expires) })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rdev_ports::testing::{FakeClock, START};
    use rdev_services::StreamRef;

    use super::*;
    use crate::config::{AdminKeys, MasterKey};
    use crate::keys::{AcceptedKey, Keys};

    #[test]
    fn a_ticket_is_renewed_half_an_hour_before_it_expires_and_again() {
        let (tickets, clock) = (Tickets::new(&MasterKey([7; 32])), FakeClock::default());
        let secret = "rdev_ops_0123456789abcdef";
        let (key, keys) = (Arc::new(AcceptedKey::of(secret)), Keys::of(&AdminKeys::parse(secret).unwrap()));
        let of = |left| {
            let ticket = TicketUse { key: key.clone(), stream: StreamRef::All, expires: START + left };
            Renewal::new(tickets.clone(), ticket, START)
        };
        let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
        let begun = Instant::now();
        assert!(of(minutes(10)).due(Instant::now(), &clock).is_some(), "it is late");
        let mut renewal = of(minutes(50));
        let mut due = Vec::new();
        for minute in 0..120 {
            if let Some(ticket) = renewal.due(begun + minutes(minute) + minutes(1), &clock) {
                let opens = tickets.verify(&ticket.ticket, &StreamRef::All, &keys, clock.now());
                assert!(opens.unwrap().key == key);
                due.push(minute + 1);
            }
        }
        assert_eq!(due, [21, 51, 81, 111]);
    }
}
