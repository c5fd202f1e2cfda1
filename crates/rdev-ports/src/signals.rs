//! Hints between the processes that share a store.

use futures_util::stream::{self, BoxStream, StreamExt};
use rdev_domain::{JobId, Position, ProjectId};

/// Hints between the processes that share a store. A hint usually arrives within milliseconds, but may be late, merged
/// with others, or lost: its receivers also poll the store. A hint proves nothing; the store is asked.
pub trait Signals: Send + Sync {
    /// Sends a signal to the other processes, without waiting for any of them. The change that it reports must be stored
    /// already.
    fn publish(&self, signal: Signal);

    /// Returns the signals of the other processes from now on, without those of this one. [`Signal::Resync`] comes
    /// where signals may have been lost.
    fn subscribe(&self) -> BoxStream<'static, Signal>;

    /// Tells whether other processes may share the store.
    fn shared(&self) -> bool;
}

/// A hint of one process to the others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Signal {
    /// Entries were appended to these logs.
    Appended(Vec<Appended>),
    /// Jobs may be claimed.
    Work,
    /// The cancellation of this job was requested.
    Cancel(JobId),
    /// Signals may have been lost: everything may have changed.
    Resync,
}

/// Entries were appended to a job's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Appended {
    /// Project in whose log the entries are, if they are in one's.
    pub project: Option<ProjectId>,
    /// Id of the job.
    pub job: JobId,
    /// Position of the job's last entry.
    pub position: Position,
}

/// Signals of a store that no other process uses: none are sent, and none arrive.
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
