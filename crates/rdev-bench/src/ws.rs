//! A minimal WebSocket client that counts messages.

use anyhow::bail;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::http::{READ_BYTES, connect};
use crate::sse::{Numbers, leading_number};

const TEXT: u8 = 1;
const CLOSE: u8 = 8;

/// Messages of a connection, until the server closed it.
#[derive(Debug)]
pub(crate) struct Received {
    pub(crate) numbers: Numbers,
    pub(crate) last: String,
}

/// Connects, and counts messages to the end. Each has a number after `prefix`; the first number is
/// `first`.
pub(crate) async fn receive(port: u16, prefix: &str, first: u64) -> anyhow::Result<Received> {
    let mut socket = connect(port).await?;
    let upgrade = "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                   Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\
                   Origin: http://localhost\r\n\r\n";
    socket.write_all(upgrade.as_bytes()).await?;
    let mut received = Received { numbers: Numbers::from(first), last: String::new() };
    let (mut buffer, mut filled, mut upgraded) = (vec![0; READ_BYTES], 0, false);
    loop {
        let n = socket.read(&mut buffer[filled..]).await?;
        if n == 0 {
            return Ok(received);
        }
        filled += n;
        let mut at = 0;
        if !upgraded {
            let Some(end) = memchr::memmem::find(&buffer[..filled], b"\r\n\r\n") else { continue };
            anyhow::ensure!(buffer.starts_with(b"HTTP/1.1 101"), "the upgrade was refused");
            (upgraded, at) = (true, end + 4);
        }
        while let Some((kind, payload, end)) = frame(&buffer[at..filled])? {
            let payload = &buffer[at..filled][payload];
            match kind {
                TEXT => {
                    let number = payload.get(prefix.len()..).and_then(leading_number);
                    number.into_iter().for_each(|number| received.numbers.see(number));
                    received.last.clear();
                    received.last.push_str(std::str::from_utf8(payload)?);
                }
                CLOSE => return Ok(received),
                _ => {}
            }
            at += end;
        }
        buffer.copy_within(at..filled, 0);
        filled -= at;
    }
}

/// Parses the first frame: its kind, the range of its payload, and its end. Servers do not mask.
fn frame(bytes: &[u8]) -> anyhow::Result<Option<(u8, std::ops::Range<usize>, usize)>> {
    let (Some(&first), Some(&second)) = (bytes.first(), bytes.get(1)) else {
        return Ok(None);
    };
    let (head, length) = match second & 0x7f {
        126 if bytes.len() >= 4 => (4, u64::from(u16::from_be_bytes([bytes[2], bytes[3]]))),
        127 if bytes.len() >= 10 => (10, u64::from_be_bytes(bytes[2..10].try_into()?)),
        126 | 127 => return Ok(None),
        length => (2, u64::from(length)),
    };
    if length as usize > READ_BYTES / 2 {
        bail!("a frame of {length} bytes");
    }
    let end = head + length as usize;
    Ok((bytes.len() >= end).then_some((first & 0x0f, head..end, end)))
}
