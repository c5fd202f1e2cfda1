//! Operations: durable work of rdev on a project, step by step.

use std::collections::BTreeMap;

use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer, Serialize};

use crate::{AsWritten, Timestamp};

closed_set! {
    /// Consequence of a step that fails for good.
    OnFailure {
        /// Takes everything back that was made, in reverse.
        Rollback = "rollback",
        /// Keeps everything that was made: the operation is `degraded`, and can be retried.
        Keep = "keep",
    }
}

closed_set! {
    /// Type of an operation.
    OperationType {
        /// Makes a project.
        CreateProject = "create_project",
        /// Removes a project with everything of it.
        DeleteProject = "delete_project",
    }
}

closed_set! {
    /// Status of an operation.
    OperationStatus {
        /// Accepted, and going on or about to.
        Running = "running",
        /// Every step is done.
        Completed = "completed",
        /// A step failed for good, and what was made is kept.
        Degraded = "degraded",
        /// A step failed for good, and everything that was made is taken back.
        RolledBack = "rolled_back",
        /// Something is left that was not taken back, or not removed; `message` names it.
        Stuck = "stuck",
        /// A caller asked for the operation's end, and everything that was made is taken back.
        Cancelled = "cancelled",
    }
}

impl OperationStatus {
    /// Returns true for the statuses of an operation that has ended.
    pub const fn is_ended(self) -> bool {
        !matches!(self, Self::Running | Self::Unknown)
    }
}

closed_set! {
    /// State of a step.
    StepState {
        /// Nothing was done yet.
        Pending = "pending",
        /// Being made.
        Running = "running",
        /// Made.
        Done = "done",
        /// Failed for good.
        Failed = "failed",
        /// Being taken back.
        Undoing = "undoing",
        /// Taken back: nothing of the step is left.
        Undone = "undone",
        /// Not taken back, for good: something of the step is left.
        Stuck = "stuck",
    }
}

closed_set! {
    /// Kind of a step's error.
    StepErrorCode {
        /// A system does not answer, or is full. The failure may pass: the step is tried again for 15 min.
        Unavailable = "unavailable",
        /// Something that the operation did not make is in the way.
        Conflict = "conflict",
        /// The operation needs something that does not exist, or is not valid.
        Invalid = "invalid",
        /// A defect, or a broken system.
        Internal = "internal",
    }
}

/// Error of a step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct StepError {
    /// Kind of the error.
    pub code: StepErrorCode,
    /// Explanation, for people.
    #[cfg_attr(
        feature = "schema",
        schema(example = "the folder of workspaces is not available: no space left")
    )]
    pub message: String,
}

/// Step of an operation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct OperationStep {
    /// Name of the step.
    #[cfg_attr(feature = "schema", schema(example = "repository"))]
    pub name: String,
    /// State of the step.
    pub state: StepState,
    /// Number of the attempt to make or to take back the step, from 1; 0 before the first. An attempt that makes a part of
    /// the step begins anew.
    pub attempt: u32,
    /// Things that the step made, by their names.
    #[cfg_attr(feature = "schema", schema(example = json!({"branch": "main"})))]
    pub made: BTreeMap<String, String>,
    /// Error of the step, or of the attempt before; null without one.
    pub error: Option<StepError>,
    /// Time of the first attempt; null before.
    pub started_at: Option<Timestamp>,
    /// Time at which the step was done, failed, was taken back or got stuck; null before.
    pub ended_at: Option<Timestamp>,
}

/// Operation that is stored and will be done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct AcceptedOperation {
    /// Id of the operation.
    #[cfg_attr(feature = "schema", schema(example = "op-0199d7e8c0de7000a0b1c2d3e4f50617"))]
    pub operation_id: String,
    /// Id of the operation's project.
    #[cfg_attr(feature = "schema", schema(example = "shop"))]
    pub project: String,
    /// Status of the operation.
    pub status: OperationStatus,
    /// Path of the operation's events.
    #[cfg_attr(
        feature = "schema",
        schema(example = "/operations/op-0199d7e8c0de7000a0b1c2d3e4f50617/events")
    )]
    pub events_url: String,
}

/// Operation with its steps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Operation {
    /// Identity of the operation, and its status.
    #[serde(flatten)]
    pub accepted: AcceptedOperation,
    /// Type of the operation.
    #[serde(rename = "type")]
    pub kind: OperationType,
    /// Key that asked for the operation.
    pub created_by: String,
    /// True once a caller has asked for the operation's end.
    pub cancel_requested: bool,
    /// Time of the acceptance.
    pub created_at: Timestamp,
    /// Time of the start of the last round; null before.
    pub started_at: Option<Timestamp>,
    /// Time of the end; null before.
    pub ended_at: Option<Timestamp>,
    /// Errors of the steps, the cause first, and what is left of them, for people; null without one.
    pub message: Option<String>,
    /// Steps in their order; empty before the start.
    pub steps: Vec<OperationStep>,
}

/// Query of a page of operations.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::IntoParams), into_params(parameter_in = Query))]
pub struct OperationPage {
    /// Project of the operations.
    #[cfg_attr(feature = "schema", param(pattern = "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
    /// Time of acceptance, as RFC 3339: only operations of this millisecond or later.
    #[cfg_attr(feature = "schema", param(format = DateTime))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// Most entries of the page, 1 to 200; default 50.
    #[cfg_attr(feature = "schema", param(minimum = 1, maximum = 200, default = 50))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// Value of `meta.next_cursor` of the page before.
    #[cfg_attr(feature = "schema", param(pattern = "^op-[0-9a-f]{32}$"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

/// Field of a request that this version cannot serve, whatever its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Later;

impl<'de> Deserialize<'de> for Later {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        IgnoredAny::deserialize(deserializer).map(|IgnoredAny| Self)
    }
}

/// Defines the request, with the fields that are refused by name until they can be served.
macro_rules! create_project_body {
    ($($later:ident),+) => {
        /// Request to make a project.
        #[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
        #[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
        #[serde(deny_unknown_fields)]
        pub struct CreateProjectBody {
            /// Id of the new project: 1 to 63 of a-z, 0-9 and '-', beginning and ending with a letter or digit.
            #[cfg_attr(feature = "schema", schema(
                min_length = 1,
                max_length = 63,
                pattern = "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$",
                example = "shop"
            ))]
            pub name: String,
            /// Consequence of a step that fails for good: `rollback` (default) takes back everything that was made, `keep`
            /// keeps it.
            #[cfg_attr(feature = "schema", schema(value_type = Option<OnFailure>))]
            #[serde(skip_serializing_if = "Option::is_none")]
            pub on_failure: Option<AsWritten<OnFailure>>,
            $(
                #[doc(hidden)]
                #[cfg_attr(feature = "schema", schema(ignore))]
                #[serde(default, skip_serializing)]
                pub $later: Option<Later>,
            )+
        }

        impl CreateProjectBody {
            /// Returns the names of the fields that this version cannot serve.
            pub fn unserved(&self) -> impl Iterator<Item = &'static str> {
                [$((stringify!($later), self.$later.is_some())),+]
                    .into_iter()
                    .filter_map(|(name, is_there)| is_there.then_some(name))
            }
        }
    };
}

create_project_body!(template, components, repository, databases, caches, domains, toolchain);

impl CreateProjectBody {
    /// Makes a request for a project of this id, with every default.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), ..Self::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_later_versions_are_read_and_named() {
        let body: CreateProjectBody =
            serde_json::from_str(r#"{"name":"shop","template":"go","databases":[{"a":1}],"caches":null}"#)
                .unwrap();
        assert_eq!(body.unserved().collect::<Vec<_>>(), ["template", "databases"]);
        let error = serde_json::from_str::<CreateProjectBody>(r#"{"name":"shop","nam":1}"#).unwrap_err();
        assert!(error.to_string().contains("unknown field `nam`"), "{error}");
        let body =
            CreateProjectBody { on_failure: Some(OnFailure::Keep.into()), ..CreateProjectBody::new("shop") };
        assert_eq!(serde_json::to_string(&body).unwrap(), r#"{"name":"shop","on_failure":"keep"}"#);
    }
}
