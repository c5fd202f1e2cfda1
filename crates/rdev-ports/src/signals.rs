use futures_util::stream::{self, BoxStream, StreamExt};
use rdev_domain::{JobId, Position, Target};

/// Hints between the processes that share a store. They come soon, mostly: they may be late, merged with
/// others, or lost, so whoever waits for one looks now and then all the same. Nothing is true because a
/// signal said so; the store is asked.
pub trait Signals: Send + Sync {
    /// Tells the other processes, soon and without waiting for any of them. What is told is in the store.
    fn publish(&self, signal: Signal);

    /// What the other processes tell from now on; nothing of what this one publishes. When signals may have
    /// been lost, [`Signal::Resync`] says so.
    fn subscribe(&self) -> BoxStream<'static, Signal>;

    /// Whether there may be other processes.
    fn shared(&self) -> bool;
}

/// What a process tells the others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Signal {
    /// These logs have grown.
    Appended(Vec<Appended>),
    /// There is something to claim.
    Work,
    /// Somebody has asked for this command's end.
    Cancel(JobId),
    /// Signals may have been missed: everything may have changed.
    Resync,
}

/// A command's log has grown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Appended {
    /// Where the command belongs.
    pub target: Target,
    /// The command.
    pub job: JobId,
    /// Its last entry.
    pub position: Position,
}

/// For a store that no other process uses.
#[derive(Debug, Clone, Copy, Default)]
pub struct SingleProcess;

impl Signals for SingleProcess {
    fn publish(&self, _signal: Signal) {}

    fn subscribe(&self) -> BoxStream<'static, Signal> {
        stream::pending().boxed()
    }

    fn shared(&self) -> bool {
        false
    }
}
