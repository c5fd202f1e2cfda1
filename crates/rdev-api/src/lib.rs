//! The rdev server: configuration, wiring, HTTP and server-sent events.
//!
//! This is the only crate that knows HTTP. A URL leads to its file: `routes/` has one file a resource, with
//! the handler and its shapes. `wire.rs` is the only place that names concrete adapters.
//! To add an endpoint: a handler in `routes/`, and one line in `app.rs` that names the scope it needs.

pub mod app;
pub mod config;
pub mod doctor;
pub mod migrate;
pub mod process;
pub mod run;
pub mod server;
pub mod telemetry;
pub mod wire;

mod access;
mod data_folder;
mod envelope;
mod error;
mod extract;
mod keys;
mod metrics;
mod openapi;
mod parts;
mod request;
mod routes;
mod sse;
mod system;
mod tickets;
