//! A minimal HTTP/1.1 client for a load generator: a request as text, an answer parsed as it arrives.

use std::ops::ControlFlow;

use anyhow::{Context, bail};
use memchr::memchr;
use memchr::memmem;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Bytes per read.
pub(crate) const READ_BYTES: usize = 256 * 1024;
/// Longest head of an answer.
const HEAD_BYTES_MAX: usize = 16 * 1024;

/// Returns a request's text.
pub(crate) fn request(method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Vec<u8> {
    let mut text = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n");
    for (name, value) in headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    if !body.is_empty() {
        text.push_str(&format!("Content-Type: application/json\r\nContent-Length: {}\r\n", body.len()));
    }
    text.push_str("\r\n");
    text.push_str(body);
    text.into_bytes()
}

/// An answer in progress.
#[derive(Debug)]
pub(crate) struct Answer {
    part: Part,
    /// Bytes of an incomplete head or chunk size line.
    partial: Vec<u8>,
    pub(crate) status: u16,
    pub(crate) is_events: bool,
    /// True when the connection closes after the answer.
    closes: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Head,
    /// Remaining bytes of the body.
    Length(usize),
    ChunkSize,
    Chunk(usize),
    /// The line end after a chunk.
    ChunkEnd,
    /// The empty line after the last chunk.
    Trailer,
    ToClose,
    Over,
}

impl Answer {
    pub(crate) fn new() -> Self {
        Self { part: Part::Head, partial: Vec::new(), status: 0, is_events: false, closes: false }
    }

    pub(crate) fn is_over(&self) -> bool {
        self.part == Part::Over
    }

    pub(crate) fn has_head(&self) -> bool {
        self.part != Part::Head
    }

    /// Parses received bytes; passes those of the body to `body`.
    pub(crate) fn feed(&mut self, mut bytes: &[u8], mut body: impl FnMut(&[u8])) -> anyhow::Result<()> {
        while !bytes.is_empty() {
            match self.part {
                Part::Head => bytes = self.head(bytes)?,
                Part::Length(left) | Part::Chunk(left) => {
                    let (now, rest) = bytes.split_at(left.min(bytes.len()));
                    body(now);
                    self.part = match (self.part, left - now.len()) {
                        (Part::Length(_), 0) => Part::Over,
                        (Part::Length(_), left) => Part::Length(left),
                        (_, 0) => Part::ChunkEnd,
                        (_, left) => Part::Chunk(left),
                    };
                    bytes = rest;
                }
                Part::ChunkSize | Part::ChunkEnd | Part::Trailer => bytes = self.line(bytes)?,
                Part::ToClose => {
                    body(bytes);
                    return Ok(());
                }
                Part::Over => bail!("bytes after the answer's end"),
            }
        }
        Ok(())
    }

    fn line<'a>(&mut self, bytes: &'a [u8]) -> anyhow::Result<&'a [u8]> {
        let Some(end) = memchr(b'\n', bytes) else {
            self.partial.extend_from_slice(bytes);
            return Ok(&[]);
        };
        self.partial.extend_from_slice(&bytes[..end]);
        let line = std::str::from_utf8(&self.partial)?.trim();
        self.part = match self.part {
            Part::ChunkEnd => Part::ChunkSize,
            Part::Trailer if line.is_empty() => Part::Over,
            Part::Trailer => Part::Trailer,
            _ => match usize::from_str_radix(line, 16).with_context(|| format!("chunk size {line:?}"))? {
                0 => Part::Trailer,
                size => Part::Chunk(size),
            },
        };
        self.partial.clear();
        Ok(&bytes[end + 1..])
    }

    fn head<'a>(&mut self, bytes: &'a [u8]) -> anyhow::Result<&'a [u8]> {
        let before = self.partial.len();
        self.partial.extend_from_slice(bytes);
        let Some(end) = memmem::find(&self.partial, b"\r\n\r\n") else {
            anyhow::ensure!(self.partial.len() < HEAD_BYTES_MAX, "the head has no end");
            return Ok(&[]);
        };
        let head = std::str::from_utf8(&self.partial[..end])?.to_ascii_lowercase();
        let mut lines = head.split("\r\n");
        let status = lines.next().and_then(|line| line.split(' ').nth(1));
        self.status = status.and_then(|status| status.parse().ok()).context("no status line")?;
        let mut length = None;
        let mut chunked = false;
        for (name, value) in lines.filter_map(|line| line.split_once(':')) {
            match (name, value.trim()) {
                ("content-length", value) => length = Some(value.parse()?),
                ("transfer-encoding", "chunked") => chunked = true,
                ("connection", "close") => self.closes = true,
                ("content-type", value) => {
                    let events = ["text/event-stream", "application/x-ndjson"];
                    self.is_events = events.iter().any(|events| value.starts_with(events));
                }
                _ => {}
            }
        }
        self.part = match length {
            _ if chunked => Part::ChunkSize,
            Some(0) => Part::Over,
            Some(length) => Part::Length(length),
            None if self.status == 204 || self.status == 101 => Part::Over,
            None => Part::ToClose,
        };
        self.partial.clear();
        Ok(&bytes[end + 4 - before..])
    }
}

/// A connection, kept alive as long as the server allows, then reopened.
#[derive(Debug)]
pub(crate) struct Connection {
    port: u16,
    socket: TcpStream,
    closed: bool,
    buffer: Vec<u8>,
}

impl Connection {
    pub(crate) async fn open(port: u16) -> anyhow::Result<Self> {
        Ok(Self { port, socket: connect(port).await?, closed: false, buffer: vec![0; READ_BYTES] })
    }

    /// Sends a request and waits for the answer's head; the body's beginning goes to `body`.
    pub(crate) async fn send(
        &mut self,
        request: &[u8],
        mut body: impl FnMut(&[u8]),
    ) -> anyhow::Result<Answer> {
        if self.closed {
            *self = Self::open(self.port).await?;
        }
        self.socket.write_all(request).await?;
        let mut answer = Answer::new();
        while !answer.has_head() && self.read(&mut answer, &mut body).await? {}
        anyhow::ensure!(answer.has_head(), "the connection ended before the answer");
        self.closed = answer.closes;
        Ok(answer)
    }

    /// Reads the available bytes of the body; false at its end.
    pub(crate) async fn read(
        &mut self,
        answer: &mut Answer,
        body: impl FnMut(&[u8]),
    ) -> anyhow::Result<bool> {
        if answer.is_over() {
            return Ok(false);
        }
        let n = self.socket.read(&mut self.buffer).await?;
        answer.feed(&self.buffer[..n], body)?;
        Ok(n > 0)
    }

    /// Sends a request and returns the whole answer: status and body.
    pub(crate) async fn call(&mut self, request: &[u8]) -> anyhow::Result<(u16, Vec<u8>)> {
        let mut whole = Vec::new();
        let mut answer = self.send(request, |bytes| whole.extend_from_slice(bytes)).await?;
        while self.read(&mut answer, |bytes| whole.extend_from_slice(bytes)).await? {}
        Ok((answer.status, whole))
    }

    /// Reads the body until `see` breaks, or it ends.
    pub(crate) async fn follow(
        &mut self,
        answer: &mut Answer,
        mut see: impl FnMut(&[u8]) -> ControlFlow<()>,
    ) -> anyhow::Result<()> {
        let mut enough = false;
        while !enough && self.read(answer, |bytes| enough |= see(bytes).is_break()).await? {}
        Ok(())
    }
}

pub(crate) async fn connect(port: u16) -> anyhow::Result<TcpStream> {
    let socket = TcpStream::connect(("127.0.0.1", port)).await.with_context(|| format!("port {port}"))?;
    socket.set_nodelay(true)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_in_chunks_is_whole_however_it_is_cut() {
        let text =
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n\
                     5\r\nhello\r\n6\r\n, you!\r\n0\r\n\r\n";
        for size in 1..text.len() {
            let (mut answer, mut body) = (Answer::new(), Vec::new());
            for piece in text.chunks(size) {
                answer.feed(piece, |bytes| body.extend_from_slice(bytes)).unwrap();
            }
            assert_eq!(body, b"hello, you!");
            assert!(answer.is_over() && answer.is_events && answer.status == 200);
        }
    }
}
