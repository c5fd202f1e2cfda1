//! How an entry is read for its subscribers.

use crate::sse::agent::AgentLines;
use crate::sse::shape::Shape;

/// How an entry is read for its subscribers.
#[derive(Clone, Copy, Default)]
pub(crate) struct Reading<'a> {
    /// Reader of the lines of an agent's job, where they are read.
    pub(crate) agent: Option<AgentLines<'a>>,
    /// Events that are sent, and their form.
    pub(crate) shape: Shape,
}
