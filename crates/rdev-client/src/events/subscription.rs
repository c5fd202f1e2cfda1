//! Subscriptions: the choice of a stream, and of the event after which it begins.

use rdev_api_types::EventName;

use super::reader::Reader;
use super::source::Source;
use super::stream::EventStream;
use crate::{Client, Result};

/// Form of an agent's lines in a stream of a project.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AgentForm {
    /// `agent` events, for programs.
    Events,
    /// `output` events with the text for people.
    Text,
    /// `output` events with the lines as the agent wrote them.
    Raw,
}

impl AgentForm {
    fn as_str(self) -> &'static str {
        match self {
            Self::Events => "events",
            Self::Text => "text",
            Self::Raw => "raw",
        }
    }
}

/// Subscription to events, before it is opened.
#[derive(Debug, Clone)]
pub struct Subscription {
    source: Source,
    /// Id after which the first connection begins.
    after: Option<String>,
}

impl Client {
    /// Subscribes to one stream of a project. It ends after `complete`.
    pub fn stream_events(&self, project: &str, stream: &str) -> Subscription {
        self.subscription(&["projects", project, "events", stream], true)
    }

    /// Subscribes to every command of a project, and to every task that is done for it. It ends with the reader.
    pub fn project_events(&self, project: &str) -> Subscription {
        self.subscription(&["projects", project, "events"], false)
    }

    /// Subscribes to everything that the key may see. It ends with the reader.
    pub fn all_events(&self) -> Subscription {
        self.subscription(&["events"], false)
    }

    /// Subscribes to a task, over all of its attempts. It ends after `complete`.
    pub fn task_events(&self, id: &str) -> Subscription {
        self.subscription(&["queue", "tasks", id, "events"], true)
    }

    pub(crate) fn subscription(&self, segments: &[&str], ends: bool) -> Subscription {
        let segments = segments.iter().map(|segment| (*segment).to_owned()).collect();
        Subscription {
            source: Source { client: self.clone(), segments, query: Vec::new(), ends },
            after: None,
        }
    }
}

impl Subscription {
    /// Begins after the event of this id; `latest` begins with the next event. Default: the first event.
    #[must_use]
    pub fn after(mut self, id: impl Into<String>) -> Self {
        self.after = Some(id.into());
        self
    }

    /// Sets the form of an agent's lines; default: [`AgentForm::Events`]. Only streams of a project have one: the server
    /// refuses it on a task's.
    #[must_use]
    pub fn agent(self, form: AgentForm) -> Self {
        self.with("agent", form.as_str())
    }

    /// Begins with the first events that were stored at this time, as RFC 3339, or later; an id goes before it.
    #[must_use]
    pub fn since(self, at: impl Into<String>) -> Self {
        self.with("since", at)
    }

    /// Sends the lines of standard error as `output` events, whose `stream` tells them.
    #[must_use]
    pub fn stderr_as_output(self) -> Self {
        self.with("stderr", "output")
    }

    /// Sends these events alone, of those that [`EventName`] has for jobs; gaps, heartbeats and tickets are always sent.
    #[must_use]
    pub fn types(self, names: &[EventName]) -> Self {
        let names: Vec<&str> = names.iter().map(|name| name.as_str()).collect();
        self.with("types", names.join(","))
    }

    /// Sends lines that are ready together in one [`LinesEvent`](rdev_api_types::LinesEvent) of at most so many, 1 to 1000,
    /// in place of an event each.
    #[must_use]
    pub fn batch(self, lines: u32) -> Self {
        self.with("batch", lines.to_string())
    }

    fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.source.query.push((name, value.into()));
        self
    }

    /// Opens the stream. It connects when its first event is awaited.
    pub fn open(self) -> EventStream {
        EventStream::of(Reader::new(self.source, self.after))
    }

    /// Opens the stream and connects: a subscription after `latest` begins with the first event after the return of this
    /// call, and a refusal is returned here instead of as the first item.
    ///
    /// # Errors
    /// [`Error::Api`](crate::Error::Api) where the server refuses the subscription; any other error after
    /// [`Reconnect::give_up_after`](crate::Reconnect::give_up_after).
    pub async fn connect(self) -> Result<EventStream> {
        let mut reader = Reader::new(self.source, self.after);
        reader.connect().await?;
        Ok(EventStream::of(reader))
    }
}
