//! The queue: tasks of the pool, their files, and figures.

pub(crate) mod artefacts;
mod convert;
pub(crate) mod stats;
pub(crate) mod tasks;
