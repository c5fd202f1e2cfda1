//! `docs/clients/follow.js` in a browser, behind a proxy that answers 502 while rdev is away, and for a while after.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use futures_util::stream::unfold;
use rdev_client::types::TicketBody;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};

use crate::docs::browser;
use crate::support::{Client, Server, within};

const FOLLOW: &str = include_str!("../../../../docs/clients/follow.js");

const PAGE: &str = r#"<!doctype html><title>follow</title><script type="module">
import { follow } from "/follow.js";
const tell = (what) => fetch("/seen", { method: "POST", body: what });
const ticketFor = async (path) => {
  const answer = await fetch("/ticket", { method: "POST", body: JSON.stringify({ path }) });
  if (!answer.ok) throw new Error(answer.status);
  return answer.text();
};
follow("/projects/demo/events?stream_id=s", (name, data) => {
  if (name === "output") tell(`${data.seq} ${data.stream} ${data.line}`);
  if (name === "gap") tell("gap");
  if (name === "complete") tell(`complete ${data.seq}`);
  return name !== "complete";
}, ticketFor);
</script>"#;

/// The site that has the page, and the proxy before rdev.
#[derive(Clone)]
struct Site {
    rdev: watch::Receiver<Client>,
    /// Connections to the stream that are still to be answered with 502.
    refusals: Arc<AtomicUsize>,
    refused: Arc<AtomicUsize>,
    seen: mpsc::UnboundedSender<String>,
}

async fn ticket(State(site): State<Site>, body: String) -> Result<String, StatusCode> {
    let body: TicketBody = serde_json::from_str(&body).map_err(|_| StatusCode::BAD_REQUEST)?;
    let client = site.rdev.borrow().clone();
    let ticket = client.api().create_ticket(&body.path).await.map_err(|_| StatusCode::BAD_GATEWAY)?;
    Ok(ticket.ticket)
}

/// Takes what the page tells. The test may be over.
async fn seen(State(site): State<Site>, what: String) {
    site.seen.send(what).ok();
}

/// Passes a request on, or answers as nginx does while nobody listens behind it.
async fn proxied(State(site): State<Site>, request: Request) -> Response {
    let is_refused =
        site.refusals.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok();
    let client = site.rdev.borrow().clone().with_key(None);
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str()).to_owned();
    let answer = if is_refused { None } else { client.get(&path).try_open().await.ok() };
    let Some((head, body)) = answer else {
        site.refused.fetch_add(1, Ordering::SeqCst);
        return StatusCode::BAD_GATEWAY.into_response();
    };
    let pieces = unfold(body, |mut body| async move { body.next().await.map(|piece| (piece, body)) });
    let content_type = head.headers.get(header::CONTENT_TYPE).cloned();
    let content_type = content_type.map(|content_type| [(header::CONTENT_TYPE, content_type)]);
    (head.status, content_type, Body::from_stream(pieces)).into_response()
}

async fn serve(site: Site) -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let html = || async { ([(header::CONTENT_TYPE, "text/html")], PAGE) };
    let script = || async { ([(header::CONTENT_TYPE, "text/javascript")], FOLLOW) };
    let app = axum::Router::new()
        .route("/", get(html))
        .route("/follow.js", get(script))
        .route("/ticket", post(ticket))
        .route("/seen", post(seen))
        .fallback(proxied)
        .with_state(site);
    tokio::spawn(async move { axum::serve(listener, app).await });
    address
}

#[tokio::test]
async fn a_page_follows_through_a_restart_and_the_502s_of_a_proxy() {
    let mut server = Server::start().await;
    let (rdev, receiver) = watch::channel(server.client());
    let (sender, mut seen) = mpsc::unbounded_channel();
    let (refusals, refused) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
    let site = Site { rdev: receiver, refusals: refusals.clone(), refused: refused.clone(), seen: sender };
    let address = serve(site).await;

    let line = "echo one; echo two >&2; until [ -e go ]; do sleep 0.02; done; echo three; seq 4 20";
    server.client().shell_on("s", line).await;
    let profile = tempfile::tempdir().unwrap();
    let _browser = browser(profile.path())
        .args(["--remote-debugging-port=0", &format!("http://{address}/")])
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = Vec::new();
    while lines.len() < 2 {
        lines.push(within("a line in the browser", seen.recv()).await.unwrap());
    }
    server.kill9().await;
    // The proxy finds nobody, and the next connections to the stream neither, though tickets are issued again.
    refusals.store(2, Ordering::SeqCst);
    server.restart().await;
    rdev.send_replace(server.client());
    server.touch("go").await;
    while lines.len() < 21 {
        lines.push(within("a line in the browser", seen.recv()).await.unwrap());
    }
    assert!(refused.load(Ordering::SeqCst) >= 2, "it was refused");
    let mut numbers = Vec::new();
    for line in &lines {
        let words: Vec<&str> = line.split(' ').collect();
        let number = if words[0] == "complete" { words[1] } else { words[0] };
        numbers.push(number.parse::<u64>().unwrap_or_else(|_| panic!("{line}")));
    }
    // The reports of the page overtake each other.
    numbers.sort_unstable();
    assert!(numbers.iter().copied().eq(1..=21), "{lines:?}");
    assert!(lines.iter().any(|line| line == "2 stderr two"), "{lines:?}");
}
