//! One command through rdev, as a client sees it.

use std::ops::ControlFlow;

use anyhow::Context;
use serde_json::{Value, json};

use crate::http::Connection;
use crate::servers::Rdev;
use crate::sse::Counter;

const EVENTS: &str = "text/event-stream";

/// A client with one connection for requests, and one for events where the server requires two.
#[derive(Debug)]
pub(crate) struct Client<'a> {
    rdev: &'a Rdev,
    requests: Connection,
    events: Connection,
}

impl<'a> Client<'a> {
    pub(crate) async fn new(rdev: &'a Rdev) -> anyhow::Result<Self> {
        let port = rdev.server.port;
        Ok(Self { rdev, requests: Connection::open(port).await?, events: Connection::open(port).await? })
    }

    /// Runs a command and passes every piece of its event stream to `see`, to the end.
    ///
    /// The POST requests events itself; when the server answers with 202, a GET requests them.
    pub(crate) async fn events(
        &mut self,
        command: &str,
        mut see: impl FnMut(&[u8]) -> ControlFlow<()>,
    ) -> anyhow::Result<()> {
        let body = json!({ "command": command }).to_string();
        let post = self.rdev.request("POST", "/projects/demo/shell", EVENTS, &body);
        let mut begun = Vec::new();
        let mut answer = self.requests.send(&post, |bytes| begun.extend_from_slice(bytes)).await?;
        if answer.is_events {
            let enough = see(&begun).is_break();
            return if enough { Ok(()) } else { self.requests.follow(&mut answer, see).await };
        }
        while self.requests.read(&mut answer, |bytes| begun.extend_from_slice(bytes)).await? {}
        let url = field(&begun, "stream_url")?;
        let get = self.rdev.request("GET", &url, EVENTS, "");
        let mut enough = false;
        let mut answer = self.events.send(&get, |bytes| enough |= see(bytes).is_break()).await?;
        if enough { Ok(()) } else { self.events.follow(&mut answer, see).await }
    }

    /// Runs a command to its end and counts its events.
    pub(crate) async fn count(&mut self, command: &str) -> anyhow::Result<Counter> {
        let mut counter = Counter::new();
        self.events(command, |bytes| {
            counter.push(bytes);
            ControlFlow::Continue(())
        })
        .await?;
        anyhow::ensure!(counter.is_complete(), "the stream ended without `complete`");
        anyhow::ensure!(counter.numbers.in_order(), "events were lost or repeated: {counter:?}");
        Ok(counter)
    }

    /// Starts a command; returns its id and the URL of its events.
    pub(crate) async fn submit(&mut self, command: &str) -> anyhow::Result<(String, String)> {
        let body = json!({ "command": command, "timeout_seconds": 120 }).to_string();
        let post = self.rdev.request("POST", "/projects/demo/shell", "application/json", &body);
        let (status, answer) = self.requests.call(&post).await?;
        anyhow::ensure!(status == 202, "status {status}: {}", String::from_utf8_lossy(&answer));
        Ok((field(&answer, "id")?, field(&answer, "stream_url")?))
    }

    /// Sends any other request; returns status and body.
    pub(crate) async fn call(&mut self, method: &str, path: &str) -> anyhow::Result<(u16, Vec<u8>)> {
        self.requests.call(&self.rdev.request(method, path, "*/*", "")).await
    }
}

fn field(answer: &[u8], name: &str) -> anyhow::Result<String> {
    let value: Value = serde_json::from_slice(answer)?;
    let text = value["data"][name].as_str();
    text.map(str::to_owned).with_context(|| format!("no {name} in {value}"))
}
