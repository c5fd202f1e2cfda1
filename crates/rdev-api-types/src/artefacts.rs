//! Artefacts: files that tasks leave behind.

use serde::{Deserialize, Serialize};

closed_set! {
    /// Cause for which a file is not kept.
    ArtefactProblem {
        /// No file matches the pattern.
        Missing = "missing",
        /// With the file, the task would leave more bytes than it may.
        TooLarge = "too_large",
        /// More files match the pattern than a task may leave.
        TooMany = "too_many",
        /// The file is no regular file of the checkout, or may not be read.
        Unreadable = "unreadable",
        /// The checkout has more files than are searched.
        Unsearched = "unsearched",
        /// The pod of the checkout is gone, or the task was cancelled meanwhile.
        Lost = "lost",
        /// The file was kept until retention removed it.
        Removed = "removed",
    }
}

/// File that a task has left, or was to leave.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Artefact {
    /// Path in the checkout; without a file, the pattern that asked for it.
    #[cfg_attr(feature = "schema", schema(example = "target/report.xml"))]
    pub path: String,
    /// Size in bytes.
    pub size: u64,
    /// SHA-256 in hexadecimal digits; null where the file is not kept.
    #[cfg_attr(
        feature = "schema",
        schema(example = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")
    )]
    pub sha256: Option<String>,
    /// Cause for which the file is not kept; null where it is.
    pub problem: Option<ArtefactProblem>,
    /// Path of its download; null where the file is not kept.
    #[cfg_attr(
        feature = "schema",
        schema(example = "/queue/tasks/task-0199d7e8c0de7000a0b1c2d3e4f50617/artefacts/target/report.xml")
    )]
    pub url: Option<String>,
}

/// Counts of the files that a task has left.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct ArtefactSummary {
    /// Number of files that are kept.
    pub files: usize,
    /// Bytes of the files that are kept.
    pub bytes: u64,
    /// Number of files and patterns of which nothing is kept; the list has the cause of each.
    pub problems: usize,
}
