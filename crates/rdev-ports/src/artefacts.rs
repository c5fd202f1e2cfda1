use async_trait::async_trait;
use bytes::Bytes;
use rdev_domain::{Artefact, JobId, Result};

use crate::Fence;

/// The files that tasks have left.
#[async_trait]
pub trait Artefacts: Send + Sync {
    /// Does these steps, all of them or none; what is stored already, because an answer was lost, stays. While a task
    /// runs it is done again from the beginning as often as needed; once it has ended, what is there stays until the
    /// task's next attempt, its own deletion, or until it makes room for what is newer ([`PruneRule::Output`](crate::Rule)).
    ///
    /// # Errors
    /// `LeaseLost` when the fence is not the command's latest claim, or the command has ended.
    async fn keep(&self, fence: &Fence, steps: &[ArtefactWrite]) -> Result<()>;

    /// The files of a command, in their order; none of a command that is not there.
    async fn artefacts(&self, id: &JobId) -> Result<Vec<(u32, Artefact)>>;

    /// A part of a file; `None` where there is none.
    async fn part(&self, id: &JobId, file: u32, part: u32) -> Result<Option<Bytes>>;
}

/// A step of keeping the files of a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ArtefactWrite {
    /// Forgets everything that was kept of it.
    Anew,
    /// Forgets the parts of files that are not listed.
    OnlyListed,
    /// Stores a part of a file, which nobody sees before the file is listed.
    Part {
        /// Number of the file.
        file: u32,
        /// Number of the part, from 0 on.
        part: u32,
        /// The bytes.
        bytes: Bytes,
    },
    /// Lists a file, of which all parts are stored, or of which there are none.
    Listed {
        /// Number of the file.
        file: u32,
        /// What there is to say of it.
        artefact: Artefact,
    },
}

/// Longest part of a file, in bytes.
pub const PART_BYTES_MAX: usize = 1024 * 1024;
