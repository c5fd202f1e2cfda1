//! Health and readiness, which are answered without an envelope.

use serde::{Deserialize, Serialize};

use crate::AsWritten;

closed_set! {
    /// Status of a component.
    ComponentStatus {
        /// It works.
        Ok = "ok",
        /// It does not work, or does not answer.
        Down = "down",
    }
}

closed_set! {
    /// Part of the server's work.
    ReadinessPart {
        /// Answering requests.
        Serve = "serve",
    }
}

/// Answer of `GET /health`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Health {
    /// Status of the process: `ok`.
    pub status: ComponentStatus,
    /// Version of the program.
    pub version: String,
    /// Commit of its source, shortened; `unknown` where the build could not tell.
    pub commit: String,
}

/// Answer of `GET /ready`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema), schema(as = Readiness))]
pub struct ReadinessAnswer {
    /// Status of the whole: `ok` when every component is.
    pub status: ComponentStatus,
    /// Status of each component.
    pub components: Components,
    /// Why components are down, for people; absent while none is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schema(nullable = false))]
    pub message: Option<String>,
}

/// Components of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Components {
    /// Store of commands and events; `ok` when it can be written.
    pub database: ComponentStatus,
    /// Runtime in which commands run; with `only=serve`, `ok` as soon as its projects are known.
    pub runtime: ComponentStatus,
    /// Loop that runs commands.
    pub worker: ComponentStatus,
}

/// Query of `GET /ready`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::IntoParams), into_params(parameter_in = Query))]
pub struct ReadinessQuery {
    /// `serve`: readiness to answer requests, for a load balancer. A cluster that is away does not matter then: history,
    /// streams and cancels need none, and accepted commands wait.
    #[cfg_attr(feature = "schema", param(value_type = Option<ReadinessPart>, nullable = false, inline))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub only: Option<AsWritten<ReadinessPart>>,
}
