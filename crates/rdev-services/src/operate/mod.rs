//! Operation of a store: what is removed in time.

pub(crate) mod retention;
