//! Connections to one stream of events.

use reqwest::header::{ACCEPT, CONTENT_TYPE};
use reqwest::{Method, StatusCode};

use super::decode::Blocks;
use crate::{Client, Error, Result};

/// Stream of events on the server, to which a reader connects as often as needed.
#[derive(Debug, Clone)]
pub(super) struct Source {
    pub(super) client: Client,
    /// Path of the stream.
    pub(super) segments: Vec<String>,
    /// Parameters of the query.
    pub(super) query: Vec<(&'static str, String)>,
    /// True where `complete` is the last event.
    pub(super) ends: bool,
}

impl Source {
    /// Connects, to continue after an id; `None` where the server has nothing more.
    pub(super) async fn connect(&self, after: Option<&str>) -> Result<Option<Blocks>> {
        let segments: Vec<&str> = self.segments.iter().map(String::as_str).collect();
        let request = self.client.request(Method::GET, &segments).header(ACCEPT, "text/event-stream");
        let request = request.query(&self.query);
        let request = match after {
            Some(id) => request.header(rdev_api_types::LAST_EVENT_ID, id),
            None => request,
        };
        let answer = self.client.open(request).await?;
        if answer.status() == StatusCode::NO_CONTENT {
            return Ok(None);
        }
        let content_type =
            answer.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
        if !content_type.starts_with("text/event-stream") {
            return Err(Error::NotAStream { content_type: content_type.to_owned() });
        }
        Ok(Some(Blocks::of(answer.bytes_stream())))
    }
}
