//! Bodies that may be large: read part by part.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use reqwest::header::ACCEPT;
use reqwest::{RequestBuilder, Response};
use tokio::time::timeout;

use crate::{Client, Error, Result};

/// Header that names the events which retention has removed from an output.
const GAP: &str = "rdev-gap";

/// Form of an output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutputForm {
    /// Bytes as they were written, both streams in the order in which they came.
    Bytes,
    /// Data of every event, one JSON object a line, with its name as `event`.
    Ndjson,
}

impl OutputForm {
    pub(crate) fn accept(self) -> &'static str {
        match self {
            Self::Bytes => "text/plain",
            Self::Ndjson => "application/x-ndjson",
        }
    }
}

/// Body that is being received.
#[derive(Debug)]
pub struct Download {
    answer: Response,
    idle_timeout: Duration,
}

impl Download {
    pub(crate) async fn open(client: &Client, request: RequestBuilder, accept: &str) -> Result<Self> {
        let answer = client.open(request.header(ACCEPT, accept)).await?;
        Ok(Self { answer, idle_timeout: client.inner.idle_timeout })
    }

    /// Returns the numbers of the first and the last event that retention has removed, such as `1-4711`; `None` where
    /// nothing is missing.
    pub fn gap(&self) -> Option<&str> {
        self.answer.headers().get(GAP)?.to_str().ok()
    }

    /// Returns the next part; `None` after the last.
    ///
    /// # Errors
    /// [`Error::Transport`] where the body was cut: it is not whole; [`Error::Timeout`] after a silence.
    pub async fn next(&mut self) -> Result<Option<Bytes>> {
        let limit = self.idle_timeout;
        let part = timeout(limit, self.answer.chunk()).await;
        part.map_err(|_| Error::Timeout { what: "the rest of a body", limit })?.map_err(Error::Transport)
    }

    /// Reads the whole body into memory.
    ///
    /// # Errors
    /// As [`Download::next`].
    pub async fn bytes(mut self) -> Result<Bytes> {
        let mut whole = BytesMut::new();
        while let Some(part) = self.next().await? {
            whole.extend_from_slice(&part);
        }
        Ok(whole.freeze())
    }
}
