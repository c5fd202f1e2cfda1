//! Tickets for browsers, whose EventSource sends no headers: a ticket in the URL stands for the key, to read one project's
//! events, for a short time.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use rdev_domain::{KeyId, Principal, ProjectId, Scope, Timestamp};
use sha2::Sha256;

use crate::config::MasterKey;

/// Lifetime of a ticket; a connection opened with it may last longer.
pub(crate) const TICKET_LIFETIME: Duration = Duration::from_secs(300);

/// Issuer and verifier of tickets. Replicas with the same master key accept each other's tickets.
#[derive(Clone)]
pub(crate) struct Tickets {
    mac: Hmac<Sha256>,
}

impl Tickets {
    /// Signs tickets with a key that is derived from the master key.
    pub(crate) fn new(master: &MasterKey) -> Self {
        let mut derive = hmac(&master.0);
        derive.update(b"rdev ticket v1");
        Self { mac: hmac(&derive.finalize().into_bytes()) }
    }

    /// Issues a ticket that is valid until `expires`.
    pub(crate) fn issue(&self, key: &KeyId, project: &ProjectId, expires: Timestamp) -> String {
        let claim = format!("{}.{}", expires.as_micros(), URL_SAFE_NO_PAD.encode(key.as_str()));
        let mac = self.sign(&claim, project).finalize().into_bytes();
        format!("{claim}.{}", URL_SAFE_NO_PAD.encode(mac))
    }

    /// Returns the caller who may read the project's events with this ticket, if it is valid.
    pub(crate) fn verify(&self, ticket: &str, project: &ProjectId, now: Timestamp) -> Option<Principal> {
        let (claim, mac) = ticket.rsplit_once('.')?;
        let (expires, key) = claim.split_once('.')?;
        self.sign(claim, project).verify_slice(&URL_SAFE_NO_PAD.decode(mac).ok()?).ok()?;
        if Timestamp::from_micros(expires.parse().ok()?) < now {
            return None;
        }
        let key = String::from_utf8(URL_SAFE_NO_PAD.decode(key).ok()?).ok()?;
        Some(Principal { key: key.parse().ok()?, scopes: vec![Scope::ProjectsRead] })
    }

    fn sign(&self, claim: &str, project: &ProjectId) -> Hmac<Sha256> {
        let mut mac = self.mac.clone();
        mac.update(claim.as_bytes());
        mac.update(b"\0");
        mac.update(project.as_str().as_bytes());
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
    fn a_ticket_is_good_for_its_project_and_time() {
        let tickets = Tickets::new(&MasterKey([7; 32]));
        let (key, demo): (KeyId, ProjectId) = ("ops".parse().unwrap(), "demo".parse().unwrap());
        let at = Timestamp::from_micros;
        let ticket = tickets.issue(&key, &demo, at(1_000));
        let caller = tickets.verify(&ticket, &demo, at(999)).unwrap();
        assert_eq!((caller.key, caller.scopes), (key, vec![Scope::ProjectsRead]));
        assert!(tickets.verify(&ticket, &demo, at(1_001)).is_none());
        assert!(tickets.verify(&ticket, &"other".parse().unwrap(), at(999)).is_none());
        assert!(Tickets::new(&MasterKey([8; 32])).verify(&ticket, &demo, at(999)).is_none());
        let longer = ticket.replacen("1000", "9000", 1);
        assert!(tickets.verify(&longer, &demo, at(999)).is_none());
        for wrong in ["", ".", "..", "1.2.3"] {
            assert!(tickets.verify(wrong, &demo, at(0)).is_none());
        }
    }
}
