//! Access: tickets for browsers.

pub(crate) mod tickets;
