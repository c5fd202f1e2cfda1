//! Commands: what runs in a project.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::number::whole_number_or_null;
use crate::{AsWritten, Progress, Status, StreamName, TimeoutSeconds, VariableName, VariableValue};

closed_set! {
    /// Type of a command.
    CommandType {
        /// Claude Code with a prompt.
        Claude = "claude",
        /// A line for `sh -c`.
        Shell = "shell",
        /// git with arguments.
        Git = "git",
    }
}

/// Request to run Claude Code.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct ClaudeBody {
    /// Prompt for the agent, 1 byte to 1 MiB, not blank.
    #[cfg_attr(
        feature = "schema",
        schema(
            min_length = 1,
            max_length = 1_048_576,
            pattern = "^[^\\u0000]*[^\\u0000\\s][^\\u0000]*$",
            example = "Explain what this project does"
        )
    )]
    pub prompt: String,
    /// Name of the command's stream, new in its project; default: the command's id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stream_id: Option<StreamName>,
    /// Session of the agent to continue, from its `init` line.
    #[cfg_attr(
        feature = "schema",
        schema(pattern = "^[A-Za-z0-9._:/@\\[\\]][A-Za-z0-9._:/@\\[\\]-]{0,199}$")
    )]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_id: Option<String>,
    /// Model, by the agent's name for it; default: the agent's choice.
    #[cfg_attr(
        feature = "schema",
        schema(pattern = "^[A-Za-z0-9._:/@\\[\\]][A-Za-z0-9._:/@\\[\\]-]{0,199}$", example = "sonnet")
    )]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Most turns of the agent, 1 to 1000; default: the agent's choice.
    #[cfg_attr(feature = "schema", schema(minimum = 1, maximum = 1000))]
    #[serde(default, deserialize_with = "whole_number_or_null", skip_serializing_if = "Option::is_none")]
    pub max_turns: Option<u32>,
    /// Time limit; default: the server's `RDEV_COMMAND_TIMEOUT_SECONDS`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout_seconds: Option<TimeoutSeconds>,
}

/// Request to run a shell line.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct ShellBody {
    /// Line for `sh -c`, 1 to 131,071 bytes.
    #[cfg_attr(
        feature = "schema",
        schema(
            min_length = 1,
            max_length = 131_071,
            pattern = "^[^\\u0000]*$",
            example = "for i in 1 2 3; do echo line $i; sleep 1; done"
        )
    )]
    pub command: String,
    /// Name of the command's stream, new in its project; default: the command's id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stream_id: Option<StreamName>,
    /// Time limit; default: the server's `RDEV_COMMAND_TIMEOUT_SECONDS`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout_seconds: Option<TimeoutSeconds>,
    /// Environment variables to set, 256 at most.
    #[cfg_attr(feature = "schema", schema(example = json!({"CI": "true"})))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub env: Option<BTreeMap<VariableName, VariableValue>>,
}

impl ShellBody {
    /// Makes a request for a line, with every default.
    pub fn new(command: impl Into<String>) -> Self {
        Self { command: command.into(), ..Self::default() }
    }
}

/// Command that is stored and will run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Accepted {
    /// Id of the command.
    #[cfg_attr(feature = "schema", schema(example = "cmd-0199d7e8c0de7000a0b1c2d3e4f50617"))]
    pub id: String,
    /// Id of the command, the same as `id`.
    #[cfg_attr(feature = "schema", schema(example = "cmd-0199d7e8c0de7000a0b1c2d3e4f50617"))]
    pub command_id: String,
    /// Id of the project.
    #[cfg_attr(feature = "schema", schema(example = "demo"))]
    pub project: String,
    /// Type of the command.
    #[serde(rename = "type")]
    pub kind: CommandType,
    /// Status of the command; `pending` in the answer to its acceptance.
    pub status: Status,
    /// Name of its stream.
    #[cfg_attr(feature = "schema", schema(example = "cmd-0199d7e8c0de7000a0b1c2d3e4f50617"))]
    pub stream_id: String,
    /// Path of its events.
    #[cfg_attr(
        feature = "schema",
        schema(example = "/projects/demo/events?stream_id=cmd-0199d7e8c0de7000a0b1c2d3e4f50617")
    )]
    pub stream_url: String,
}

/// Command of a project, with its progress.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Command {
    /// Identity of the command, and its status.
    #[serde(flatten)]
    pub accepted: Accepted,
    /// Beginning of its prompt, line or arguments, at most 120 characters.
    #[cfg_attr(feature = "schema", schema(example = "for i in 1 2 3; do echo line $i; sleep 1; done"))]
    pub summary: String,
    /// Progress of the command.
    #[serde(flatten)]
    pub progress: Progress,
}

/// Query of a page of commands.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::IntoParams), into_params(parameter_in = Query))]
pub struct CommandPage {
    /// Name of the command's stream.
    #[cfg_attr(feature = "schema", param(pattern = "^[A-Za-z0-9][A-Za-z0-9._:-]{0,127}$"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stream_id: Option<String>,
    /// Status of the commands.
    #[cfg_attr(feature = "schema", param(value_type = Option<Status>, nullable = false, inline))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<AsWritten<Status>>,
    /// Time of acceptance, as RFC 3339: only commands of this millisecond or later.
    #[cfg_attr(feature = "schema", param(format = DateTime))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// Most entries of the page, 1 to 200; default 50.
    #[cfg_attr(feature = "schema", param(minimum = 1, maximum = 200, default = 50))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// Value of `meta.next_cursor` of the page before.
    #[cfg_attr(feature = "schema", param(pattern = "^cmd-[0-9a-f]{32}$"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Reason;

    const COMMAND: &str = r#"{"id":"cmd-1","command_id":"cmd-1","project":"demo","type":"shell","status":"failed",
        "stream_id":"ci-7","stream_url":"/projects/demo/events?stream_id=ci-7","summary":"false","timeout_ms":3600000,
        "cancel_requested":false,"created_by":"admin","created_at":"2026-01-24T20:00:00Z","started_at":"2026-01-24T20:00:00.5Z",
        "ended_at":"2026-01-24T20:00:01Z","duration_ms":500,"exit_code":1,"reason":"exit_code","message":null,
        "queue":null,"added_later":[1]}"#;

    #[test]
    fn a_command_is_one_object_whatever_it_is_made_of() {
        let command: Command = serde_json::from_str(COMMAND).unwrap();
        assert_eq!(
            (command.accepted.status, command.progress.reason),
            (Status::Failed, Some(Reason::ExitCode))
        );
        let written: serde_json::Value = serde_json::to_value(&command).unwrap();
        let mut told: serde_json::Value = serde_json::from_str(COMMAND).unwrap();
        told.as_object_mut().unwrap().remove("added_later");
        assert_eq!(written, told);
    }

    #[test]
    fn a_request_writes_only_what_it_asks_for_and_refuses_unknown_fields() {
        let body = ShellBody { timeout_seconds: Some(5.into()), ..ShellBody::new("true") };
        assert_eq!(serde_json::to_string(&body).unwrap(), r#"{"command":"true","timeout_seconds":5}"#);
        let error = serde_json::from_str::<ShellBody>(r#"{"command":"true","comand":"x"}"#).unwrap_err();
        assert!(error.to_string().contains("unknown field `comand`"), "{error}");
        let read: ShellBody = serde_json::from_str(r#"{"command":"true","timeout_seconds":5.0}"#).unwrap();
        assert_eq!(read, body);
    }
}
