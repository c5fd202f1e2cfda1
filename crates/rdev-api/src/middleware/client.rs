//! The client's address, behind proxies that are trusted.

use std::net::IpAddr;

use axum::body::Body;
use axum::http::{HeaderMap, Request};
use ipnet::IpNet;

use crate::request::Peer;

/// Returns the address of the nearest hop that is no trusted proxy.
pub(super) fn client(request: &Request<Body>, trusted: &[IpNet]) -> Option<IpAddr> {
    behind_proxies(*request.extensions().get::<Peer>()?, request.headers(), trusted)
}

fn behind_proxies(peer: Peer, headers: &HeaderMap, trusted: &[IpNet]) -> Option<IpAddr> {
    // Whoever may connect to the Unix socket is trusted.
    let is_trusted = |address: Option<IpAddr>| {
        address.is_none_or(|address| trusted.iter().any(|network| network.contains(&address)))
    };
    let mut client = peer.ip();
    let forwarded = headers.get_all("x-forwarded-for").iter().rev();
    let hops = forwarded.filter_map(|value| value.to_str().ok()).flat_map(|value| value.rsplit(','));
    for hop in hops {
        if !is_trusted(client) {
            break;
        }
        let Ok(address) = hop.trim().parse() else { break };
        client = Some(address);
    }
    client
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn only_trusted_proxies_are_believed() {
        let trusted: Vec<IpNet> = ["10.0.0.0/8", "192.168.1.1/32"].map(|net| net.parse().unwrap()).to_vec();
        let of = |peer: Peer, forwarded: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for value in forwarded {
                headers.append("x-forwarded-for", HeaderValue::from_static(value));
            }
            behind_proxies(peer, &headers, &trusted)
        };
        let client = |peer: &str, forwarded: &[&'static str]| {
            let peer = Peer::Tcp((peer.parse::<IpAddr>().unwrap(), 1).into());
            of(peer, forwarded).unwrap().to_string()
        };
        assert_eq!(client("1.2.3.4", &["9.9.9.9"]), "1.2.3.4");
        assert_eq!(client("10.0.0.1", &[]), "10.0.0.1");
        assert_eq!(client("10.0.0.1", &["9.9.9.9"]), "9.9.9.9");
        assert_eq!(client("10.0.0.1", &["6.6.6.6, 9.9.9.9, 192.168.1.1"]), "9.9.9.9");
        assert_eq!(client("10.0.0.1", &["6.6.6.6, 9.9.9.9", "10.2.2.2"]), "9.9.9.9");
        assert_eq!(client("10.0.0.1", &["nonsense"]), "10.0.0.1");
        assert_eq!(of(Peer::Unix, &[]), None);
        assert_eq!(of(Peer::Unix, &["6.6.6.6, 9.9.9.9, 10.2.2.2"]), "9.9.9.9".parse().ok());
    }
}
