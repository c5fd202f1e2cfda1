//! Event streams: entries of the log, rendered as server-sent events once for all their readers, and as whole outputs.

pub(crate) mod agent;
mod cache;
mod event_id;
mod negotiation;
mod output;
mod parts;
mod quota;
mod render;
mod renewal;
mod shape;
mod stored;
mod streams;
mod subscriber;

pub(crate) use self::event_id::{LogEventId, number};
pub(crate) use self::negotiation::reply_framing;
pub(crate) use self::output::stored_output;
pub(crate) use self::shape::Shape;
pub(crate) use self::streams::{Opening, Streams};
