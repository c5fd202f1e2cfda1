//! Tickets for browsers, whose EventSource sends no headers: a ticket in the URL stands for a key, to read one stream.
//!
//! A ticket is signed and not stored, so it outlives a restart. It ends with its key.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use rdev_domain::{KeyId, Timestamp};
use rdev_services::StreamRef;
use sha2::Sha256;

use crate::config::MasterKey;
use crate::stream_path::path_of;

/// Lifetime of a ticket. A connection that was opened with a ticket may last longer, and is sent new ones.
pub(crate) const TICKET_LIFETIME: Duration = Duration::from_secs(3600);

/// Ticket with which a request came; the gate puts it on the request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TicketUse {
    /// Stream that the ticket opens.
    pub(crate) stream: StreamRef,
    /// End of the ticket.
    pub(crate) expires: Timestamp,
}

/// Content of a valid ticket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Verified {
    /// Key for which the ticket stands.
    pub(crate) key: KeyId,
    /// The ticket, with the stream for which it was issued.
    pub(crate) ticket: TicketUse,
}

/// Issuer and verifier of tickets. Replicas with the same master key accept each other's tickets.
#[derive(Clone)]
pub(crate) struct Tickets {
    mac: Hmac<Sha256>,
}

impl Tickets {
    /// Signs tickets with a key that is derived from the master key.
    pub(crate) fn new(master: &MasterKey) -> Self {
        let mut derive = hmac(&master.0);
        derive.update(b"rdev ticket v2");
        Self { mac: hmac(&derive.finalize().into_bytes()) }
    }

    /// Issues a ticket that is valid until `expires`.
    pub(crate) fn issue(&self, key: &KeyId, stream: &StreamRef, expires: Timestamp) -> String {
        let claim = format!("{}.{}", expires.as_micros(), URL_SAFE_NO_PAD.encode(key.as_str()));
        let mac = self.sign(&claim, stream).finalize().into_bytes();
        format!("{claim}.{}", URL_SAFE_NO_PAD.encode(mac))
    }

    /// Returns what a ticket says, if it is valid for this stream: issued for the stream itself, or for all of its project.
    pub(crate) fn verify(&self, ticket: &str, stream: &StreamRef, now: Timestamp) -> Option<Verified> {
        let (claim, mac) = ticket.rsplit_once('.')?;
        let (expires, key) = claim.split_once('.')?;
        let mac = URL_SAFE_NO_PAD.decode(mac).ok()?;
        let is_for = |stream: &StreamRef| self.sign(claim, stream).verify_slice(&mac).is_ok();
        let stream = [Some(stream.clone()), stream.whole()].into_iter().flatten().find(is_for)?;
        let expires = Timestamp::from_micros(expires.parse().ok()?);
        if expires < now {
            return None;
        }
        let key = String::from_utf8(URL_SAFE_NO_PAD.decode(key).ok()?).ok()?.parse().ok()?;
        Some(Verified { key, ticket: TicketUse { stream, expires } })
    }

    fn sign(&self, claim: &str, stream: &StreamRef) -> Hmac<Sha256> {
        let mut mac = self.mac.clone();
        mac.update(claim.as_bytes());
        mac.update(b"\0");
        mac.update(path_of(stream).as_bytes());
        mac
    }
}

fn hmac(key: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("HMAC takes keys of any length")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_is_good_for_its_stream_and_time() {
        let tickets = Tickets::new(&MasterKey([7; 32]));
        let key: KeyId = "ops".parse().unwrap();
        let one = StreamRef::Stream("demo".parse().unwrap(), "s".parse().unwrap());
        let demo = StreamRef::Project("demo".parse().unwrap());
        let at = Timestamp::from_micros;
        let ticket = tickets.issue(&key, &one, at(1_000));
        let verified = tickets.verify(&ticket, &one, at(999)).unwrap();
        let expected = TicketUse { stream: one.clone(), expires: at(1_000) };
        assert_eq!((verified.key, verified.ticket), (key.clone(), expected));
        assert!(tickets.verify(&ticket, &one, at(1_001)).is_none());
        for other in
            [StreamRef::All, demo.clone(), StreamRef::Stream("demo".parse().unwrap(), "t".parse().unwrap())]
        {
            assert!(tickets.verify(&ticket, &other, at(999)).is_none(), "{other:?}");
        }
        // The project's opens all of its streams.
        let whole = tickets.issue(&key, &demo, at(1_000));
        assert_eq!(tickets.verify(&whole, &one, at(999)).unwrap().ticket.stream, demo);
        assert!(Tickets::new(&MasterKey([8; 32])).verify(&ticket, &one, at(999)).is_none());
        let longer = ticket.replacen("1000", "9000", 1);
        assert!(tickets.verify(&longer, &one, at(999)).is_none());
        for wrong in ["", ".", "..", "1.2.3"] {
            assert!(tickets.verify(wrong, &one, at(0)).is_none());
        }
    }
}
