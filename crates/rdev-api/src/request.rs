//! What is known of a request before anybody reads it: its id, its time, and where it came from.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use ipnet::IpNet;
use rdev_domain::Timestamp;
use rdev_ports::Clock;

use crate::error::ApiError;
use crate::metrics::Answering;

const REQUEST_ID: &str = "x-request-id";
/// Longest request id that is taken over from the caller.
const REQUEST_ID_BYTES_MAX: usize = 128;

tokio::task_local! {
    /// The request that this task answers: answers and errors are made far from where it came in.
    static REQUEST: RequestMeta;
}

/// A request's id and time.
#[derive(Clone)]
pub(crate) struct RequestMeta {
    pub(crate) id: Arc<str>,
    pub(crate) at: Timestamp,
}

impl RequestMeta {
    /// Of the request that is being answered.
    pub(crate) fn current() -> Self {
        let nobody = || Self { id: "".into(), at: Timestamp::from_micros(0) };
        REQUEST.try_with(Self::clone).unwrap_or_else(|_| nobody())
    }
}

/// The other end of the connection; the server puts it on every request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer(pub(crate) SocketAddr);

/// The answer to a request that could not be read; the server puts it on what it sends in the place of that.
#[derive(Debug, Clone)]
pub(crate) struct Refusal(pub(crate) ApiError);

/// What [`identify`] needs.
#[derive(Clone)]
pub(crate) struct Identify {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) trusted_proxies: Arc<[IpNet]>,
}

/// Gives the request its id, the caller's own if it is a sound one, and puts it on the answer and in the log;
/// counts it.
pub(crate) async fn identify(State(identify): State<Identify>, mut request: Request, next: Next) -> Response {
    let given = request.headers().get(REQUEST_ID).and_then(|id| id.to_str().ok()).filter(|id| {
        !id.is_empty() && id.len() <= REQUEST_ID_BYTES_MAX && id.bytes().all(|byte| byte.is_ascii_graphic())
    });
    let id: Arc<str> = match given {
        Some(id) => id.into(),
        None => uuid::Uuid::now_v7().simple().to_string().into(),
    };
    let log = tracing::enabled!(tracing::Level::DEBUG).then(|| {
        let client = client(&request, &identify.trusted_proxies);
        (client, request.method().clone(), request.uri().path().to_owned())
    });
    let meta = RequestMeta { id: id.clone(), at: identify.clock.now() };
    let answering = Answering::begin(&request);
    let mut response = match request.extensions_mut().remove() {
        Some(Refusal(error)) => REQUEST.sync_scope(meta, || error.into_response()),
        None => REQUEST.scope(meta, next.run(request)).await,
    };
    answering.end(response.status());
    if let Some((client, method, path)) = log {
        let status = response.status().as_u16();
        tracing::debug!(request_id = %id, ?client, %method, path, status, "answered");
    }
    if let Ok(id) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    response
}

/// Where a request comes from: the nearest hop that is no trusted proxy.
fn client(request: &Request, trusted: &[IpNet]) -> Option<IpAddr> {
    let peer = request.extensions().get::<Peer>()?.0.ip();
    Some(behind_proxies(peer, request.headers(), trusted))
}

fn behind_proxies(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> IpAddr {
    let is_trusted = |address: &IpAddr| trusted.iter().any(|network| network.contains(address));
    let mut client = peer;
    let forwarded = headers.get_all("x-forwarded-for").iter().rev();
    let hops = forwarded.filter_map(|value| value.to_str().ok()).flat_map(|value| value.rsplit(','));
    for hop in hops {
        if !is_trusted(&client) {
            break;
        }
        let Ok(address) = hop.trim().parse() else { break };
        client = address;
    }
    client
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_trusted_proxies_are_believed() {
        let trusted: Vec<IpNet> = ["10.0.0.0/8", "192.168.1.1/32"].map(|net| net.parse().unwrap()).to_vec();
        let client = |peer: &str, forwarded: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for value in forwarded {
                headers.append("x-forwarded-for", HeaderValue::from_static(value));
            }
            behind_proxies(peer.parse().unwrap(), &headers, &trusted).to_string()
        };
        assert_eq!(client("1.2.3.4", &["9.9.9.9"]), "1.2.3.4");
        assert_eq!(client("10.0.0.1", &[]), "10.0.0.1");
        assert_eq!(client("10.0.0.1", &["9.9.9.9"]), "9.9.9.9");
        assert_eq!(client("10.0.0.1", &["6.6.6.6, 9.9.9.9, 192.168.1.1"]), "9.9.9.9");
        assert_eq!(client("10.0.0.1", &["6.6.6.6, 9.9.9.9", "10.2.2.2"]), "9.9.9.9");
        assert_eq!(client("10.0.0.1", &["nonsense"]), "10.0.0.1");
    }
}
