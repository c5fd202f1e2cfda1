//! Event streams: entries of the log, rendered as server-sent events once for all their readers, and as whole outputs.

mod cache;
mod event_id;
pub(crate) mod payload;
mod quota;
pub(crate) mod render;
pub(crate) mod stored;
mod streams;
mod subscriber;

pub(crate) use self::event_id::{ProjectEventId, number};
pub(crate) use self::streams::{Opening, Streams};
