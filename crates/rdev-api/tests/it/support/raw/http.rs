//! Requests over a connection each, whose reading can be slowed down and cut.

use std::net::SocketAddr;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::http::request::Builder;
use hyper::http::{HeaderMap, StatusCode, response};
use hyper_util::rt::TokioIo;
use rdev_client::types::ErrorBody;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::TcpSocket;
use tokio::task::JoinHandle;

use super::exact;
use super::sse::RawEvents;
use crate::support::{Client, raw, within};

/// A request in the making.
pub(crate) struct Call {
    address: SocketAddr,
    builder: Builder,
    body: Bytes,
    receive_buffer: Option<u32>,
}

/// A whole answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// The answer's body as it comes; the connection is cut when this is dropped.
pub(crate) struct Body {
    incoming: Incoming,
    connection: JoinHandle<()>,
}

impl Client {
    pub(crate) fn get(&self, path: &str) -> Call {
        self.call("GET", path)
    }

    pub(crate) fn post(&self, path: &str, body: &impl Serialize) -> Call {
        let body = serde_json::to_vec(body).expect("test bodies are JSON");
        self.call("POST", path).header("content-type", "application/json").body(body)
    }

    /// The connection of a stream's events, from after one of them or from its start.
    pub(crate) async fn connection(&self, stream: &str, after: Option<&str>) -> RawEvents {
        let call = self.get(&format!("/projects/demo/events?stream_id={stream}"));
        match after {
            Some(id) => call.header("last-event-id", id).events().await,
            None => call.events().await,
        }
    }

    pub(crate) fn call(&self, method: &str, path: &str) -> Call {
        let builder = Builder::new().method(method).uri(path).header("host", self.address.to_string());
        let call = Call { address: self.address, builder, body: Bytes::new(), receive_buffer: None };
        match &self.key {
            Some(key) => call.header("authorization", &format!("Bearer {key}")),
            None => call,
        }
    }
}

impl Call {
    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.builder = self.builder.header(name, value);
        self
    }

    pub(crate) fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    /// A small buffer makes a slow reader slow for the server too.
    pub(crate) fn receive_buffer(mut self, bytes: u32) -> Self {
        self.receive_buffer = Some(bytes);
        self
    }

    /// The whole answer.
    pub(crate) async fn send(self) -> Answer {
        self.try_send().await.expect("the server answers, and the answer comes whole")
    }

    /// As [`Call::send`], for a server that may be dying.
    pub(crate) async fn try_send(self) -> std::io::Result<Answer> {
        within("an answer", async {
            let (head, mut body) = self.try_open().await?;
            let mut bytes = Vec::new();
            while let Some(piece) = body.next().await {
                bytes.extend_from_slice(&piece.map_err(std::io::Error::other)?);
            }
            Ok(Answer { status: head.status, headers: head.headers, body: bytes.into() })
        })
        .await
    }

    /// As [`Call::try_send`]; the sending side of the connection is closed when all is sent.
    pub(crate) async fn try_send_half_closed(self) -> std::io::Result<Answer> {
        let length = self.body.len().to_string();
        let request =
            self.builder.header("content-length", length).body(()).map_err(std::io::Error::other)?;
        let mut text = format!("{} {} HTTP/1.1\r\n", request.method(), request.uri()).into_bytes();
        for (name, value) in request.headers() {
            text.extend([name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat());
        }
        text.extend([b"\r\n", &*self.body].concat());
        let answer = raw::try_say(self.address, &text).await?;
        // Whoever dies in the middle of an answer has not given it.
        raw::try_answer(&answer).ok_or_else(|| std::io::ErrorKind::UnexpectedEof.into())
    }

    /// The answer as an event stream; any other answer fails the test.
    pub(crate) async fn events(self) -> RawEvents {
        let (head, body) = within("the beginning of a stream", self.open()).await;
        assert_eq!(head.status, 200, "{:?}", head.headers);
        RawEvents::new(head.headers, body)
    }

    /// The answer as an event stream, unless the caller is to come again, or the server has died.
    pub(crate) async fn events_or_later(self) -> Option<RawEvents> {
        let (head, body) = within("the beginning of a stream", self.try_open()).await.ok()?;
        assert!(matches!(head.status.as_u16(), 200 | 503), "{}", head.status);
        (head.status == 200).then(|| RawEvents::new(head.headers, body))
    }

    pub(crate) async fn open(self) -> (response::Parts, Body) {
        self.try_open().await.expect("the server answers")
    }

    /// As [`Call::open`], for a server that may be dying.
    pub(crate) async fn try_open(self) -> std::io::Result<(response::Parts, Body)> {
        let socket = if self.address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        if let Some(bytes) = self.receive_buffer {
            socket.set_recv_buffer_size(bytes)?;
        }
        let stream = socket.connect(self.address).await?;
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(std::io::Error::other)?;
        let connection = tokio::spawn(async move {
            // How it ends shows in the body.
            connection.await.ok();
        });
        let request = self.builder.body(Full::new(self.body)).map_err(std::io::Error::other)?;
        let (head, incoming) =
            sender.send_request(request).await.map_err(std::io::Error::other)?.into_parts();
        Ok((head, Body { incoming, connection }))
    }
}

impl Body {
    /// The next bytes; `None` at the orderly end, an error when the connection was cut.
    pub(crate) async fn next(&mut self) -> Option<Result<Bytes, hyper::Error>> {
        loop {
            match self.incoming.frame().await? {
                Ok(frame) => match frame.into_data() {
                    Ok(bytes) => return Some(Ok(bytes)),
                    Err(_trailers) => {}
                },
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

impl Answer {
    /// The value of a header, which must be there.
    pub(crate) fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name).unwrap_or_else(|| panic!("no {name} in {:?}", self.headers));
        value.to_str().expect("headers are text")
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as its type and nothing more, of an answer with this status.
    pub(crate) fn json<T: DeserializeOwned + Serialize>(&self, status: u16) -> T {
        let whole = self.part(status);
        exact::hold(&whole, &self.text());
        whole
    }

    /// As [`Answer::json`], of a body that has more fields than the type.
    pub(crate) fn part<T: DeserializeOwned>(&self, status: u16) -> T {
        assert_eq!(self.status, status, "{}", self.text());
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error} in {}", self.text()))
    }

    /// The failure that this answer must be.
    pub(crate) fn failure(&self, status: u16, code: &str) -> ErrorBody {
        let failure: ErrorBody = self.json(status);
        assert_eq!(failure.error.code, code, "{}", self.text());
        assert!(!failure.error.message.is_empty(), "{}", self.text());
        assert_eq!(self.header("content-type"), "application/json");
        assert_eq!(self.header("x-request-id"), failure.meta.request_id);
        failure
    }
}
