//! Projects: their registry.

pub(crate) mod registry;
