//! Tickets for browsers, whose EventSource sends no headers: a ticket in the URL stands for a key, to read one stream.
//!
//! A ticket is signed and not stored, so it outlives a restart. It is bound to the whole key, and ends with it.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use rdev_domain::{KeyId, Timestamp};
use rdev_services::StreamRef;
use sha2::Sha256;

use crate::config::MasterKey;
use crate::keys::{AcceptedKey, Keys};
use crate::stream_path::path_of;

/// Lifetime of a ticket. A connection that was opened with a ticket may last longer, and is sent new ones.
pub(crate) const TICKET_LIFETIME: Duration = Duration::from_secs(3600);

/// Ticket with which a request came; the gate puts it on the request.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct TicketUse {
    /// Key for which the ticket stands.
    pub(crate) key: Arc<AcceptedKey>,
    /// Stream that the ticket opens.
    pub(crate) stream: StreamRef,
    /// End of the ticket.
    pub(crate) expires: Timestamp,
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
        derive.update(b"rdev ticket v3");
        Self { mac: hmac(&derive.finalize().into_bytes()) }
    }

    /// Issues a ticket that is valid until `expires`.
    pub(crate) fn issue(&self, key: &AcceptedKey, stream: &StreamRef, expires: Timestamp) -> String {
        let claim = format!("{}.{}", expires.as_micros(), URL_SAFE_NO_PAD.encode(key.id().as_str()));
        let mac = self.sign(&claim, stream, key).finalize().into_bytes();
        format!("{claim}.{}", URL_SAFE_NO_PAD.encode(mac))
    }

    /// Returns what a ticket says, if it is valid for this stream: issued to one of the keys for the stream itself, or for
    /// all of its project.
    pub(crate) fn verify(
        &self,
        ticket: &str,
        stream: &StreamRef,
        keys: &Keys,
        now: Timestamp,
    ) -> Option<TicketUse> {
        let (claim, mac) = ticket.rsplit_once('.')?;
        let (expires, id) = claim.split_once('.')?;
        let expires = Timestamp::from_micros(expires.parse().ok()?);
        if expires < now {
            return None;
        }
        let mac = URL_SAFE_NO_PAD.decode(mac).ok()?;
        let id: KeyId = String::from_utf8(URL_SAFE_NO_PAD.decode(id).ok()?).ok()?.parse().ok()?;
        let streams = [Some(stream.clone()), stream.whole()];
        let issued_to = |key: &Arc<AcceptedKey>| {
            let is_for = |stream: &StreamRef| self.sign(claim, stream, key).verify_slice(&mac).is_ok();
            let stream = streams.iter().flatten().find(|stream| is_for(stream))?.clone();
            Some(TicketUse { key: key.clone(), stream, expires })
        };
        keys.with_id(&id).find_map(issued_to)
    }

    fn sign(&self, claim: &str, stream: &StreamRef, key: &AcceptedKey) -> Hmac<Sha256> {
        let mut mac = self.mac.clone();
        mac.update(claim.as_bytes());
        mac.update(b"\0");
        mac.update(path_of(stream).as_bytes());
        mac.update(b"\0");
        mac.update(key.sha256());
        mac
    }
}

fn hmac(key: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("HMAC takes keys of any length")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::AdminKeys;

    const OPS: &str = "rdev_ops_0123456789abcdef";
    const NEXT: &str = "rdev_ops_fedcba9876543210";

    fn keys(accepted: &str) -> Keys {
        Keys::of(&AdminKeys::parse(accepted).unwrap())
    }

    #[test]
    fn a_ticket_is_good_for_its_stream_and_time() {
        let (tickets, keys, key) =
            (Tickets::new(&MasterKey([7; 32])), keys(OPS), Arc::new(AcceptedKey::of(OPS)));
        let one = StreamRef::Stream("demo".parse().unwrap(), "s".parse().unwrap());
        let demo = StreamRef::Project("demo".parse().unwrap());
        let at = Timestamp::from_micros;
        let ticket = tickets.issue(&key, &one, at(1_000));
        let verify = |ticket: &str, of: &StreamRef, now| tickets.verify(ticket, of, &keys, at(now));
        let expected = TicketUse { key: key.clone(), stream: one.clone(), expires: at(1_000) };
        assert!(verify(&ticket, &one, 999) == Some(expected));
        assert!(verify(&ticket, &one, 1_001).is_none());
        for other in
            [StreamRef::All, demo.clone(), StreamRef::Stream("demo".parse().unwrap(), "t".parse().unwrap())]
        {
            assert!(verify(&ticket, &other, 999).is_none(), "{other:?}");
        }
        // The project's opens all of its streams.
        let whole = tickets.issue(&key, &demo, at(1_000));
        assert_eq!(verify(&whole, &one, 999).unwrap().stream, demo);
        assert!(Tickets::new(&MasterKey([8; 32])).verify(&ticket, &one, &keys, at(999)).is_none());
        let longer = ticket.replacen("1000", "9000", 1);
        assert!(verify(&longer, &one, 999).is_none());
        for wrong in ["", ".", "..", "1.2.3"] {
            assert!(verify(wrong, &one, 0).is_none());
        }
    }

    #[test]
    fn a_ticket_ends_with_its_key_also_where_another_has_the_same_id() {
        let tickets = Tickets::new(&MasterKey([7; 32]));
        let at = Timestamp::from_micros(1_000);
        let of_ops = tickets.issue(&AcceptedKey::of(OPS), &StreamRef::All, at);
        let of_next = tickets.issue(&AcceptedKey::of(NEXT), &StreamRef::All, at);
        let valid = |accepted: &str| {
            let keys = keys(accepted);
            [&of_ops, &of_next].map(|ticket| tickets.verify(ticket, &StreamRef::All, &keys, at).is_some())
        };
        assert_eq!(valid(OPS), [true, false]);
        assert_eq!(valid(&format!("{NEXT},{OPS}")), [true, true]);
        assert_eq!(valid(NEXT), [false, true]);
    }
}
