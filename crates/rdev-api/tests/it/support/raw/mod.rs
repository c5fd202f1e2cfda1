//! Raw HTTP on purpose: stories about statuses, headers, malformed requests, half-closed and slow connections, and the
//! bytes of an event stream. Each request has a connection of its own. Ordinary calls go through rdev-client, in
//! `client.rs` beside this folder.
//!
//! An answer is read exactly: a field that the wire types do not name, or a value that they do not know, fails the story.
//! The functions of this file write and read connections byte by byte.

mod exact;
mod http;
mod sse;

use std::net::SocketAddr;

use hyper::http::HeaderMap;
use hyper::http::header::HeaderName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::within;

pub(crate) use http::{Answer, Call};
pub(crate) use sse::{Item, Items, RawEvents};

/// Sends bytes, closes the sending side, and reads to the end.
pub(crate) async fn say(address: SocketAddr, bytes: &[u8]) -> String {
    try_say(address, bytes).await.expect("it is not cut off")
}

/// As [`say`], to a server that may be dying.
pub(crate) async fn try_say(address: SocketAddr, bytes: &[u8]) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    // What is refused early is not read to its end.
    stream.write_all(bytes).await.ok();
    stream.shutdown().await.ok();
    heard(stream).await
}

/// Bytes that are said until the other side closes.
pub(crate) async fn heard(mut stream: TcpStream) -> std::io::Result<String> {
    let mut text = Vec::new();
    within("the end of an answer", stream.read_to_end(&mut text)).await?;
    String::from_utf8(text).map_err(std::io::Error::other)
}

/// An answer in its bytes; none where it is not whole.
pub(crate) fn try_answer(text: &str) -> Option<Answer> {
    let (head, body) = text.split_once("\r\n\r\n")?;
    let mut lines = head.split("\r\n");
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let headers: Option<HeaderMap> = lines
        .map(|line| line.split_once(": "))
        .map(|header| {
            header.and_then(|(name, value)| Some((name.parse::<HeaderName>().ok()?, value.parse().ok()?)))
        })
        .collect();
    let answer = Answer { status, headers: headers?, body: body.to_owned().into() };
    let length = answer.headers.get("content-length").and_then(|length| length.to_str().ok()?.parse().ok());
    length.is_none_or(|length: usize| length == answer.body.len()).then_some(answer)
}

/// The answer that these bytes must be.
pub(crate) fn answer(text: &str) -> Answer {
    try_answer(text).unwrap_or_else(|| panic!("no whole answer: {text:?}"))
}
