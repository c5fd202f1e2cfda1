//! Envelopes: the shapes around every answer.

use serde::{Deserialize, Serialize};

#[cfg(feature = "schema")]
use crate::ErrorCode;
use crate::Timestamp;

/// Facts about an answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Meta {
    /// Id of the request, as in `X-Request-Id`.
    #[cfg_attr(feature = "schema", schema(example = "0199d7e8c0de7000a0b1c2d3e4f50617"))]
    pub request_id: String,
    /// Time at which the request was received.
    pub timestamp: Timestamp,
}

/// Facts about a page of a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct ListMeta {
    /// Facts about the answer.
    #[serde(flatten)]
    pub meta: Meta,
    /// Cursor of the next page, to be sent as `cursor`; null on the last page.
    pub next_cursor: Option<String>,
}

/// Answer with one resource.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Data<T> {
    /// The resource.
    pub data: T,
    /// Facts about the answer.
    pub meta: Meta,
}

/// Answer with a page of resources.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct List<T> {
    /// The resources.
    pub data: Vec<T>,
    /// Facts about the page.
    pub meta: ListMeta,
}

/// Body of every failure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct ErrorBody {
    /// The failure.
    pub error: ErrorInfo,
    /// Facts about the answer.
    pub meta: Meta,
}

impl ErrorBody {
    /// Returns the names of the fields that are not valid, in their order.
    pub fn fields(&self) -> Vec<&str> {
        match &self.error.details {
            Some(Details::Fields(fields)) => fields.iter().map(|detail| detail.field.as_str()).collect(),
            Some(Details::Job(_)) | None => Vec::new(),
        }
    }
}

/// Failure of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct ErrorInfo {
    /// Stable code, for programs.
    #[cfg_attr(feature = "schema", schema(value_type = ErrorCode, example = "PROJECT_NOT_FOUND"))]
    pub code: String,
    /// Explanation, for people.
    #[cfg_attr(feature = "schema", schema(example = "project \"demo\" does not exist"))]
    pub message: String,
    /// Every field that is not valid; for `STREAM_ID_TAKEN` the command that has the name, unless it was removed; null
    /// for other failures.
    pub details: Option<Details>,
}

/// Details of a failure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(untagged)]
pub enum Details {
    /// Fields that are not valid.
    Fields(Vec<Detail>),
    /// The job that is in the way.
    Job(DetailJob),
}

/// Job that is in the way of a request: one of the two ids.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct DetailJob {
    /// Id of the command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schema(example = "cmd-0199d7e8c0de7000a0b1c2d3e4f50617"))]
    pub command_id: Option<String>,
    /// Id of the task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task_id: Option<String>,
}

/// Field that is not valid.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Detail {
    /// Name of the field, as in the request.
    #[cfg_attr(feature = "schema", schema(example = "timeout_seconds"))]
    pub field: String,
    /// Explanation: the fault, and the values that are accepted.
    #[cfg_attr(feature = "schema", schema(example = "0 is not valid: 1 to 604800 seconds"))]
    pub message: String,
}
