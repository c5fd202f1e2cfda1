//! The files that tasks have left.

use async_trait::async_trait;
use bytes::Bytes;
use rdev_domain::{Artefact, JobId, Result};

use crate::Fence;

/// The files that tasks have left.
#[async_trait]
pub trait Artefacts: Send + Sync {
    /// Carries out these writes, all of them or none. What is stored already, because an answer was lost, stays. While a
    /// task runs, its files are stored from the beginning as often as needed. Once the task has ended, they stay until
    /// its next attempt, its own removal, or until they make room for newer ones
    /// ([`PruneRule::Output`](crate::PruneRule::Output)).
    ///
    /// # Errors
    /// `LeaseLost` when the fence is not the job's latest claim, or the job has ended.
    async fn keep(&self, fence: &Fence, writes: &[ArtefactWrite]) -> Result<()>;

    /// Returns the files of a job with their numbers, in order; none for an unknown job.
    async fn artefacts(&self, id: &JobId) -> Result<Vec<(u32, Artefact)>>;

    /// Returns a part of a file; `None` when there is none.
    async fn part(&self, id: &JobId, file: u32, part: u32) -> Result<Option<Bytes>>;
}

/// One write to the files of a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ArtefactWrite {
    /// Removes all files of the task, to begin anew.
    Anew,
    /// Removes the parts of files that are not listed.
    OnlyListed,
    /// Stores a part of a file, which is invisible until the file is listed.
    Part {
        /// Number of the file.
        file: u32,
        /// Number of the part, from 0.
        part: u32,
        /// The bytes, at most [`PART_BYTES_MAX`].
        bytes: Bytes,
    },
    /// Lists a file, of which all parts are stored, or of which there are none.
    Listed {
        /// Number of the file.
        file: u32,
        /// Description of the file.
        artefact: Artefact,
    },
}

/// Maximum length of a part of a file: 1 MiB.
pub const PART_BYTES_MAX: usize = 1024 * 1024;
