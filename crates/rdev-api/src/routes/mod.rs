//! Handlers, laid out as the URL: `/projects/{project}/commands/…` is in `projects/commands.rs`.
//!
//! A handler extracts, calls one method of a service, and converts the result to the types of `rdev-api-types`.

pub(crate) mod begin;
pub(crate) mod docs;
pub(crate) mod events;
pub(crate) mod health;
pub(crate) mod metrics;
pub(crate) mod operations;
pub(crate) mod projects;
pub(crate) mod queue;
mod reply_as;
pub(crate) mod workers;
