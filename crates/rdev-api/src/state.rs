//! The state of the routes. A handler names the part that it needs (`State<Commands>`), never the whole.
//!
//! To add a service: a field of [`Parts`], and a line of `parts!`.

use std::sync::Arc;

use axum::extract::FromRef;
use rdev_services::{Commands, Events, Health, Operations, Pool, Projects, Tasks, TicketIssuer};

use crate::metrics::Metrics;
use crate::routes::projects::submit::Submission;
use crate::sse::Streams;
use crate::tickets::Tickets;

/// State of the routes. Axum clones it for every request, so it is one pointer.
#[derive(Clone)]
pub(crate) struct AppState(Arc<Parts>);

/// Parts of the state.
pub(crate) struct Parts {
    /// Projects.
    pub(crate) projects: Projects,
    /// Operations on projects.
    pub(crate) operations: Operations,
    /// Commands of projects.
    pub(crate) commands: Commands,
    /// Tasks of the pool.
    pub(crate) tasks: Tasks,
    /// Workers of the pool.
    pub(crate) pool: Pool,
    /// Readers of the event log.
    pub(crate) events: Events,
    /// Event streams.
    pub(crate) streams: Streams,
    /// Tickets of browsers.
    pub(crate) tickets: Tickets,
    /// Figures for Prometheus.
    pub(crate) metrics: Metrics,
    /// Times of tickets.
    pub(crate) ticket_issuer: TicketIssuer,
    /// Health of the parts of the server.
    pub(crate) health: Health,
}

impl From<Parts> for AppState {
    fn from(parts: Parts) -> Self {
        Self(Arc::new(parts))
    }
}

macro_rules! parts {
    ($($field:ident: $part:ty),* $(,)?) => {
        $(impl FromRef<AppState> for $part {
            fn from_ref(state: &AppState) -> Self {
                state.0.$field.clone()
            }
        })*
    };
}

parts! {
    projects: Projects,
    operations: Operations,
    commands: Commands,
    tasks: Tasks,
    pool: Pool,
    events: Events,
    streams: Streams,
    tickets: Tickets,
    metrics: Metrics,
    ticket_issuer: TicketIssuer,
    health: Health,
}

impl FromRef<AppState> for Submission {
    fn from_ref(state: &AppState) -> Self {
        let parts = &*state.0;
        Self::new(parts.commands.clone(), parts.streams.clone())
    }
}
