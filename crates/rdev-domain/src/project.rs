use crate::{ProjectId, Timestamp};

/// A project: a place in which commands run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Project {
    /// Its id, part of every URL.
    pub id: ProjectId,
    /// Whether commands can run in it now.
    pub status: ProjectStatus,
    /// A fault that somebody is to mend, whatever its status.
    pub warning: Option<Condition>,
    /// Where its files are, as the commands in it see them.
    pub workspace: String,
    /// Where its files come from, as git names it.
    pub repository: Option<String>,
    /// What it is, for people.
    pub description: Option<String>,
    /// The agent that works in it unless another one is asked for.
    pub default_agent: Option<String>,
}

/// Whether commands can run in a project now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProjectStatus {
    /// Commands start at once.
    Ready,
    /// It is on its way: commands wait for it.
    Starting(Condition),
    /// Something is wrong with it: commands wait a while, should it mend.
    Failing(Condition),
    /// Its pod is gone, and no other has come in its place.
    Gone(Condition),
}

impl ProjectStatus {
    /// Why it is not ready; `None` when it is.
    pub fn condition(self) -> Option<Condition> {
        match self {
            Self::Ready => None,
            Self::Starting(condition) | Self::Failing(condition) | Self::Gone(condition) => Some(condition),
        }
    }
}

/// Why a project is not ready, or what else is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    /// One word, of the cluster's own: `ContainerCreating`, `ImagePullBackOff`.
    pub reason: String,
    /// A sentence for people.
    pub message: String,
    /// How long it has been so.
    pub since: Timestamp,
}
