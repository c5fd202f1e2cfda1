//! The resources, one file each: handlers with their documents, and the shapes that they take and give.

pub(crate) mod artefacts;
pub(crate) mod commands;
pub(crate) mod docs;
pub(crate) mod events;
pub(crate) mod health;
pub(crate) mod metrics;
pub(crate) mod output;
pub(crate) mod projects;
pub(crate) mod queue;
pub(crate) mod submission;
pub(crate) mod tickets;
pub(crate) mod work;
pub(crate) mod workers;
