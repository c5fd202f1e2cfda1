//! The way from the root of a server to what it has.

use serde::{Deserialize, Serialize};

/// Answer of `GET /` to a client that is no browser: paths of this server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Links {
    /// The reference of the API, for people.
    pub docs: String,
    /// The same as an OpenAPI document.
    pub openapi: String,
    /// The projects that a key may see.
    pub projects: String,
    /// Liveness of the process, and its version.
    pub health: String,
    /// Readiness of the server for its work.
    pub ready: String,
}

impl Default for Links {
    fn default() -> Self {
        let [docs, openapi, projects, health, ready] =
            ["/docs", "/openapi.json", "/projects", "/health", "/ready"].map(str::to_owned);
        Self { docs, openapi, projects, health, ready }
    }
}
