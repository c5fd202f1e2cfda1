//! Projects: their registry, and the operations that make and remove them.

mod creation;
mod deletion;
pub(crate) mod operations;
pub(crate) mod plans;
pub(crate) mod registry;
