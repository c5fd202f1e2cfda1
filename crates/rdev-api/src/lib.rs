//! The rdev server: configuration, wiring, HTTP and server-sent events.
//!
//! This is the only crate that knows HTTP. `routes/` is laid out as the URL: a path leads to its file, with the handlers.
//! `router.rs` lists every route with its scope, `middleware/` is around all of them, and `wire/` is the only place that
//! names concrete adapters.
//! To add an endpoint: a handler in `routes/`, and one line in `router.rs` that names the scope it needs.

pub mod config;
pub mod process;
pub mod run;
pub mod telemetry;

mod access;
mod asset;
mod backup;
mod build;
mod convert;
mod data_folder;
mod doctor;
mod envelope;
mod error;
mod extract;
mod greeting;
mod idempotency;
mod keys;
mod metrics;
mod middleware;
mod migrate;
mod openapi;
mod parts;
mod rates;
mod request;
mod router;
mod routes;
mod server;
mod sse;
mod state;
mod stream_path;
mod system;
mod tickets;
mod unreadable;
mod wire;
