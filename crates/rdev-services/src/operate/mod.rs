//! Operation: health of the parts, retention.

pub(crate) mod health;
pub(crate) mod retention;
