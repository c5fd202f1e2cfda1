//! Projects.

pub(crate) mod registry;
