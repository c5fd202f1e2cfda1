//! Promises: what clients were told, and what commands have done to the world, until a moment of a trace.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::PathBuf;

use rdev_client::Received;
use rdev_client::types::Data;
use serde::Deserialize;

use super::trace::{Call, Step};
use crate::support::{Item, Items, ReceivedExt};

/// Bytes that the server has sent, by its connections, and what its commands have done outside of the disk.
#[derive(Debug, Default)]
pub(super) struct Told {
    sent: HashMap<String, Vec<u8>>,
    effects_file: PathBuf,
    pub(super) effects: Vec<u8>,
}

/// The answer to what is accepted.
#[derive(Deserialize)]
pub(super) struct Stored {
    pub(super) id: String,
}

impl Told {
    /// Side effects are what is written to this file.
    pub(super) fn new(effects_file: PathBuf) -> Self {
        Self { effects_file, ..Self::default() }
    }

    pub(super) fn take(&mut self, step: &Step) {
        match step {
            Step::Done(Call::Send { socket, bytes }) => {
                self.sent.entry(socket.clone()).or_default().extend_from_slice(bytes);
            }
            Step::Done(Call::Write { path, bytes, .. }) if *path == self.effects_file => {
                self.effects.extend_from_slice(bytes);
            }
            _ => {}
        }
    }

    /// The ids that came with a 202.
    pub(super) fn accepted(&self) -> BTreeSet<String> {
        let accepted = self.answers().filter(|(head, _)| head.starts_with("HTTP/1.1 202 "));
        accepted
            .filter_map(|(_, body)| serde_json::from_slice::<Data<Stored>>(body).ok())
            .map(|stored| stored.data.id)
            .collect()
    }

    /// The events with a number, by their stream.
    pub(super) fn events(&self) -> BTreeMap<String, Vec<Received>> {
        let mut events: BTreeMap<String, Vec<Received>> = BTreeMap::new();
        let streams =
            self.answers().filter(|(head, _)| head.contains("\r\ncontent-type: text/event-stream\r\n"));
        for (_, body) in streams {
            for event in in_stream(&unchunked(body)) {
                if let (Some(stream), Some(_)) = (event.stream(), event.seq()) {
                    events.entry(stream.to_owned()).or_default().push(event);
                }
            }
        }
        events
    }

    /// The answers as far as they were sent: a head, and what came of the body. What a runner says is none.
    fn answers(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.sent.values().filter(|sent| sent.starts_with(b"HTTP/1.1 ")).filter_map(|sent| {
            let end = sent.windows(4).position(|window| window == b"\r\n\r\n")?;
            Some((std::str::from_utf8(&sent[..end + 2]).ok()?, &sent[end + 4..]))
        })
    }
}

/// The events in the bytes of a stream.
pub(super) fn in_stream(bytes: &[u8]) -> Vec<Received> {
    let mut items = Items::default();
    items.push(bytes);
    let items = std::iter::from_fn(|| items.take());
    items
        .filter_map(|item| match item {
            Item::Event(event) => Some(event),
            Item::Retry(_) => None,
        })
        .collect()
}

/// A body without the lengths of its chunks, up to the last whole one.
fn unchunked(mut body: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    while let Some((chunk, rest)) = chunk(body) {
        plain.extend_from_slice(chunk);
        body = rest;
    }
    plain
}

fn chunk(body: &[u8]) -> Option<(&[u8], &[u8])> {
    let line = body.windows(2).position(|window| window == b"\r\n")?;
    let length = usize::from_str_radix(std::str::from_utf8(&body[..line]).ok()?, 16).ok()?;
    let rest = body.get(line + 2..)?;
    Some((rest.get(..length)?, rest.get(length + 2..)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_and_events_are_read_as_far_as_they_were_sent() {
        let mut told = Told::new("/effects".into());
        let event = "id: 1\nevent: output\ndata: {\"stream_id\":\"s\",\"seq\":1,\"stream\":\"stdout\",\"line\":\"a\",\
                     \"timestamp\":\"2026-01-24T20:00:00Z\"}\n\n";
        let accepted = "HTTP/1.1 202 Accepted\r\nx: y\r\n\r\n{\"data\":{\"id\":\"cmd-1\"},\"meta\":{\"request_id\":\
                        \"1\",\"timestamp\":\"2026-01-24T20:00:00Z\"}}";
        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
        let stream = format!("{head}{:x}\r\n{event}\r\n{:x}\r\nid: 2", event.len(), event.len());
        let mut send = |socket: &str, text: &str| {
            let call = Call::Send { socket: socket.to_owned(), bytes: text.into() };
            told.take(&Step::Done(call));
        };
        let (first, second) = stream.split_at(150);
        send("1", first);
        send("2", accepted);
        send("1", second);
        send("3", &accepted[..60]);
        send("4", "frames");
        told.take(&Step::Done(Call::Write { path: "/effects".into(), offset: None, bytes: b"1\n".to_vec() }));
        assert_eq!(told.accepted(), BTreeSet::from(["cmd-1".to_owned()]));
        assert_eq!(told.events()["s"].iter().map(Received::seq).collect::<Vec<_>>(), [Some(1)]);
        assert_eq!(told.effects, b"1\n");
    }
}
