//! Tickets for browsers.

use serde::{Deserialize, Serialize};

use crate::Timestamp;

/// Ticket that stands for a key in the URL of an event stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Ticket {
    /// Value of `?ticket=` on the event streams of the project.
    pub ticket: String,
    /// Time by which connections must be opened; they may last longer.
    pub expires_at: Timestamp,
}
