//! Tickets for browsers.

use serde::{Deserialize, Serialize};

use crate::Timestamp;

/// Ticket that stands for a key in the URL of an event stream, for an hour. A stream that was opened with a ticket sends
/// a new one, as the event `ticket`, half an hour before its own expires.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Ticket {
    /// Value of `?ticket=` on the stream; that of a project's stream opens each stream of the project.
    pub ticket: String,
    /// Time by which connections must be opened; they may last longer, and get new tickets.
    pub expires_at: Timestamp,
}

/// Request for a ticket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct TicketBody {
    /// Path of a stream, as in `stream_url` and `events_url`: `/events`, `/projects/{project}/events`,
    /// `/projects/{project}/events?stream_id={stream_id}`, `/queue/tasks/{task_id}/events` or
    /// `/operations/{operation_id}/events`. Other parameters of streams may follow, and change nothing.
    #[cfg_attr(feature = "schema", schema(example = "/projects/demo/events?stream_id=ci-7"))]
    pub path: String,
}
