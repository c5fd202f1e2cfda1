//! A server that follows a script: each connection is answered with the next bytes, then closed or left open.

use std::net::SocketAddr;
use std::time::Duration;

use rdev_client::{Builder, Client, Reconnect};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::timeout;

/// Longest wait for anything that is to happen soon.
const PATIENCE: Duration = Duration::from_secs(20);

/// Answer to one connection.
pub(crate) enum Reply {
    /// Bytes, after which the connection is closed.
    Close(String),
    /// Bytes, after which nothing comes.
    Hold(String),
}

/// A scripted server; it ends with this value.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    requests: UnboundedReceiver<String>,
    task: tokio::task::JoinHandle<()>,
}

impl Server {
    /// Starts a server that answers one connection with each reply, in their order.
    pub(crate) async fn start(script: Vec<Reply>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (seen, requests) = unbounded_channel();
        let task = tokio::spawn(async move {
            let mut held = Vec::new();
            for reply in script {
                let (mut stream, _) = listener.accept().await.unwrap();
                seen.send(head(&mut stream).await).unwrap();
                let (Reply::Close(text) | Reply::Hold(text)) = &reply;
                stream.write_all(text.as_bytes()).await.unwrap();
                match reply {
                    Reply::Close(_) => stream.shutdown().await.unwrap(),
                    Reply::Hold(_) => held.push(stream),
                }
            }
            std::future::pending::<()>().await;
        });
        Self { address, requests, task }
    }

    /// Returns the next request that has come: its head, and a body of known length.
    pub(crate) async fn request(&mut self) -> String {
        within(self.requests.recv()).await.expect("the server lives")
    }

    /// Makes a client that reconnects at once and gives up soon.
    pub(crate) fn client(&self) -> Client {
        self.client_with(|builder| builder)
    }

    pub(crate) fn client_with(&self, options: impl Fn(Builder) -> Builder) -> Client {
        let reconnect = Reconnect {
            delay_first: Duration::from_millis(10),
            delay_max: Duration::from_millis(50),
            give_up_after: PATIENCE,
        };
        let builder = Client::builder().key(Some("k-1")).reconnect(reconnect);
        options(builder).build(&format!("http://{}", self.address)).unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

pub(crate) async fn within<T>(future: impl Future<Output = T>) -> T {
    timeout(PATIENCE, future).await.expect("it happens soon")
}

async fn head(stream: &mut TcpStream) -> String {
    let mut text = Vec::new();
    loop {
        let mut bytes = [0; 4096];
        let count = stream.read(&mut bytes).await.unwrap();
        text.extend_from_slice(&bytes[..count]);
        let so_far = String::from_utf8_lossy(&text);
        if let Some((head, body)) = so_far.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
            if body.len() >= length.unwrap_or(0) {
                return so_far.into_owned();
            }
        }
        assert!(count > 0, "the request is whole");
    }
}

/// An answer with a body in JSON.
pub(crate) fn json(status: &str, headers: &str, body: &str) -> Reply {
    let length = body.len();
    Reply::Close(format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n{headers}\r\n{body}"
    ))
}

/// The beginning of an event stream, in chunks: the connection ends in the middle of it.
pub(crate) fn events(text: &str) -> String {
    format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{text}\r\n",
        text.len()
    )
}

/// A line of output as an event.
pub(crate) fn line(seq: u64) -> String {
    format!(
        "id: {seq}\nevent: output\ndata: {{\"stream_id\":\"s\",\"seq\":{seq},\"stream\":\"stdout\",\"line\":\"line {seq}\",\
         \"timestamp\":\"2026-01-24T20:00:00Z\"}}\n\n"
    )
}

/// The end of a command as an event.
pub(crate) fn complete(seq: u64) -> String {
    format!(
        "id: {seq}\nevent: complete\ndata: {{\"stream_id\":\"s\",\"seq\":{seq},\"status\":\"completed\",\"exit_code\":0,\
         \"reason\":null,\"duration_ms\":5,\"command_id\":\"cmd-1\",\"type\":\"shell\",\"project\":\"demo\",\"timestamp\":\"2026-01-24T20:00:00Z\"}}\n\n"
    )
}
