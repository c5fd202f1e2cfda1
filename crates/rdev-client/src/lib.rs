//! Client of rdev's API: typed calls, and event streams that resume after any cut.
//!
//! ```no_run
//! # async fn run() -> Result<(), rdev_client::Error> {
//! use rdev_client::types::{Event, ShellBody};
//!
//! let client = rdev_client::Client::new("http://127.0.0.1:8080", Some("rdev_key"))?;
//! let accepted = client.run_shell("demo", &ShellBody::new("make test")).idempotency_key("build-7").await?;
//! let mut events = client.stream_events("demo", &accepted.stream_id).open();
//! while let Some(received) = events.next().await {
//!     if let Event::Output(line) = received?.event {
//!         print(&line.line);
//!     }
//! }
//! # Ok(())
//! # }
//! # fn print(_: &str) {}
//! ```
//!
//! No wait is endless: connecting, an answer, the silence of a stream and the time without a server have limits, which
//! [`Builder`] sets. Calls are not repeated; a caller repeats a POST safely under the same idempotency key.

mod address;
mod builder;
mod call;
mod client;
mod commands;
mod download;
mod error;
mod events;
mod operations;
mod projects;
mod reconnect;
mod system;
mod tasks;
mod workers;

pub use builder::Builder;
pub use call::{Answer, Call};
pub use client::{Client, Page};
pub use download::{Download, OutputForm};
pub use error::{ApiFailure, Error, Result};
pub use events::{AgentForm, EventStream, Received, Subscription};
pub use rdev_api_types as types;
pub use reconnect::Reconnect;
