//! Event streams: typed events with their ids, over any number of connections.

mod decode;
mod reader;
mod source;
mod stream;
mod subscription;

pub use reader::Received;
pub use stream::EventStream;
pub use subscription::{AgentForm, Subscription};
