//! Projects.

use serde::{Deserialize, Serialize};

use crate::Timestamp;

closed_set! {
    /// Status of a project.
    ProjectStatus {
        /// Commands start at once.
        Ready = "ready",
        /// Its pod is starting: commands wait for it.
        Starting = "starting",
        /// Its pod has a fault: commands wait a while, then fail with the reason.
        Failing = "failing",
        /// Its pod is gone and was not replaced: commands wait a while, then fail.
        Gone = "gone",
        /// It is being deleted, and takes no commands.
        Deleting = "deleting",
    }
}

/// Project: a workspace in which commands run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Project {
    /// Id of the project.
    #[cfg_attr(feature = "schema", schema(example = "demo"))]
    pub id: String,
    /// Status of the project.
    pub status: ProjectStatus,
    /// Path of its files, as its commands see it.
    #[cfg_attr(feature = "schema", schema(example = "/workspace"))]
    pub workspace: String,
    /// Cause for which it is not ready, in one word of the cluster; or a fault of a ready one, such as `DuplicateId`
    /// (more than one pod has its id); null otherwise.
    #[cfg_attr(feature = "schema", schema(example = "ImagePullBackOff"))]
    pub reason: Option<String>,
    /// Explanation of the reason, for people.
    pub message: Option<String>,
    /// Time since which the reason holds.
    pub since: Option<Timestamp>,
    /// Repository of its files, as git names it.
    #[cfg_attr(feature = "schema", schema(example = "git@github.com:example/demo.git"))]
    pub repository: Option<String>,
    /// Description of the project.
    pub description: Option<String>,
    /// Agent that works in it unless a request names another one.
    #[cfg_attr(feature = "schema", schema(example = "claude"))]
    pub default_agent: Option<String>,
}

/// Query of a page of projects.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::IntoParams), into_params(parameter_in = Query))]
pub struct ProjectPage {
    /// Most entries of the page, 1 to 200; default 50.
    #[cfg_attr(feature = "schema", param(minimum = 1, maximum = 200, default = 50))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// Value of `meta.next_cursor` of the page before.
    #[cfg_attr(feature = "schema", param(pattern = "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}
