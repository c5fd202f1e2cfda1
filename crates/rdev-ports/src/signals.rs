use futures_util::stream::{self, BoxStream, StreamExt};
use rdev_domain::{CommandId, Home, Position};

/// Hints between the processes that share a store. They come soon, mostly: they may be late, merged with
/// others, or lost, so whoever waits for one looks now and then all the same. Nothing is true because a
/// signal said so; the store is asked.
pub trait Signals: Send + Sync {
    /// Tells the other processes, soon and without waiting for any of them. What is told is in the store.
    fn publish(&self, signal: Signal);

    /// What the other processes tell from now on; nothing of what this one publishes. When signals may have
    /// been lost, [`Signal::Anything`] says so.
    fn subscribe(&self) -> BoxStream<'static, Signal>;

    /// Whether there may be other processes.
    fn shared(&self) -> bool;
}

/// What a process tells the others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Signal {
    /// These logs have grown.
    Grown(Vec<Growth>),
    /// There is something to claim.
    Work,
    /// Somebody has asked for this command's end.
    Cancel(CommandId),
    /// Signals may have been missed: everything may have changed.
    Anything,
}

/// A command's log has grown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Growth {
    /// Where the command belongs.
    pub home: Home,
    /// The command.
    pub command: CommandId,
    /// Its last entry.
    pub position: Position,
}

/// For a store that no other process uses.
#[derive(Debug, Clone, Copy, Default)]
pub struct Alone;

impl Signals for Alone {
    fn publish(&self, _signal: Signal) {}

    fn subscribe(&self) -> BoxStream<'static, Signal> {
        stream::pending().boxed()
    }

    fn shared(&self) -> bool {
        false
    }
}
