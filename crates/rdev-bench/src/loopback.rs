//! The floor of a stream: a server that writes recorded bytes, and does nothing else.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;

const HEALTHY: &[u8] = b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n";
const STREAM: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n";

/// Answers each request with the bytes of a file as an event stream; `/health` with 204.
pub(crate) fn serve(port: u16, file: &Path) -> anyhow::Result<()> {
    let events = fs::read(file)?;
    for socket in TcpListener::bind(("127.0.0.1", port))?.incoming() {
        // A client that leaves early ends its own answer only.
        if let Err(error) = answer(socket?, &events) {
            writeln!(std::io::stderr(), "{error:#}")?;
        }
    }
    Ok(())
}

fn answer(mut socket: TcpStream, events: &[u8]) -> anyhow::Result<()> {
    socket.set_nodelay(true)?;
    let mut lines = BufReader::new(socket.try_clone()?).lines();
    let is_health = lines.next().transpose()?.is_some_and(|line| line.starts_with("GET /health "));
    while lines.next().transpose()?.is_some_and(|line| !line.is_empty()) {}
    if is_health {
        return socket.write_all(HEALTHY).map_err(Into::into);
    }
    socket.write_all(STREAM)?;
    socket.write_all(events).map_err(Into::into)
}
