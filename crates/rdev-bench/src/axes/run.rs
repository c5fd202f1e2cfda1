//! One command through rdev, as a client sees it.

use std::ops::ControlFlow;

use rdev_client::types::{Accepted, Data, ShellBody};

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
        see: impl FnMut(&[u8]) -> ControlFlow<()>,
    ) -> anyhow::Result<()> {
        self.events_as((EVENTS, ""), command, see).await
    }

    /// As [`Client::events`], in the form that a value of `Accept` and a query ask for.
    pub(crate) async fn events_as(
        &mut self,
        (accept, query): (&str, &str),
        command: &str,
        mut see: impl FnMut(&[u8]) -> ControlFlow<()>,
    ) -> anyhow::Result<()> {
        let body = serde_json::to_string(&ShellBody::new(command))?;
        let post = self.rdev.request("POST", &format!("/projects/demo/shell{query}"), accept, &body);
        let mut begun = Vec::new();
        let mut answer = self.requests.send(&post, |bytes| begun.extend_from_slice(bytes)).await?;
        if answer.is_events {
            let enough = see(&begun).is_break();
            return if enough { Ok(()) } else { self.requests.follow(&mut answer, see).await };
        }
        while self.requests.read(&mut answer, |bytes| begun.extend_from_slice(bytes)).await? {}
        let accepted: Data<Accepted> = serde_json::from_slice(&begun)?;
        let get = self.rdev.request("GET", &accepted.data.stream_url, EVENTS, "");
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
}
