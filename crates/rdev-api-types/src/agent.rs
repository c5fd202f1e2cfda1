//! Events of coding agents: lines of their output that were understood.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

use crate::Timestamp;

closed_set! {
    /// Coding agent.
    AgentProvider {
        /// Claude Code.
        Claude = "claude",
    }
}

closed_set! {
    /// Type of an agent's event or block.
    AgentEventType {
        /// A turn begins.
        Init = "init",
        /// Text of the agent.
        Message = "message",
        /// Reasoning of the model.
        Thinking = "thinking",
        /// A tool is called.
        ToolUse = "tool_use",
        /// Result of a tool's call.
        ToolResult = "tool_result",
        /// The agent asks for permission to use a tool.
        PermissionRequest = "permission_request",
        /// Tokens or cost alone.
        Usage = "usage",
        /// A turn is over.
        Result = "result",
        /// Anything else, also what this version of rdev does not know.
        Other = "other",
    }
}

/// Data of `agent`: one line of a coding agent's standard output that was understood, in place of `output`. A line with
/// several blocks has the first one's fields here, and all of them in `blocks`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct AgentEvent {
    /// Name of the stream of events.
    pub stream_id: String,
    /// Number of the event in its stream: that of its line.
    pub seq: u64,
    /// Agent that wrote the line.
    pub provider: AgentProvider,
    /// Type of the line.
    #[serde(rename = "type")]
    pub kind: AgentEventType,
    /// Text of a message, thought, tool's result or result; absent without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schema(example = "The tests pass now."))]
    pub text: Option<String>,
    /// Name of the tool that is called; absent otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schema(example = "Bash"))]
    pub tool: Option<String>,
    /// Id of the tool's call, which its result names as well; absent otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool_use_id: Option<String>,
    /// Arguments of the tool's call, as the agent wrote them; absent otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schema(value_type = Option<Object>))]
    pub input: Option<RawJson>,
    /// Result of a tool where it is more than a text, or the whole line of `other`, as the agent wrote it; absent
    /// otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schema(value_type = Option<Value>))]
    pub content: Option<RawJson>,
    /// True where a message, a tool's result or the result tells of an error; absent on other types.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub is_error: Option<bool>,
    /// The agent's own session, which a later command continues by its `session_id`; absent where the line names none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_id: Option<String>,
    /// Tokens used in the turn, with `result` or `usage`; absent otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<AgentUsage>,
    /// Cost of the run so far in US dollars, with `result` or `usage`; absent otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schema(value_type = Option<f64>, example = 0.049428))]
    pub cost_usd: Option<Dollars>,
    /// All blocks of a line with more than one; absent otherwise.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub blocks: Vec<AgentBlock>,
    /// Time at which the line was read from the agent.
    pub timestamp: Timestamp,
}

/// Block of an agent's line; its fields are those of AgentEvent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct AgentBlock {
    /// Type of the block.
    #[serde(rename = "type")]
    pub kind: AgentEventType,
    /// Text; absent without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// Name of the tool that is called; absent otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool: Option<String>,
    /// Id of the tool's call; absent otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool_use_id: Option<String>,
    /// Arguments of the tool's call; absent otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schema(value_type = Option<Object>))]
    pub input: Option<RawJson>,
    /// Result of a tool, or the block of `other`; absent otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schema(value_type = Option<Value>))]
    pub content: Option<RawJson>,
    /// True where the block tells of an error; absent on types that tell of none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub is_error: Option<bool>,
}

/// Tokens that an agent has used in a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct AgentUsage {
    /// Tokens sent to the model, without those of its cache.
    pub input_tokens: u64,
    /// Tokens that the model wrote.
    pub output_tokens: u64,
    /// Tokens read from the model's cache.
    pub cache_read_tokens: u64,
    /// Tokens written to the model's cache.
    pub cache_write_tokens: u64,
}

/// JSON as an agent wrote it; two of them are equal where their texts are.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RawJson(pub Box<RawValue>);

impl RawJson {
    /// Returns the text.
    pub fn as_str(&self) -> &str {
        self.0.get()
    }
}

impl PartialEq for RawJson {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for RawJson {}

/// Amount in US dollars, exact to a millionth; a number on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Dollars {
    /// Millionths of a dollar.
    pub micros: u64,
}

/// Millionths of a dollar in a dollar.
const MICROS: f64 = 1_000_000.0;

impl Serialize for Dollars {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(self.micros as f64 / MICROS)
    }
}

impl<'de> Deserialize<'de> for Dollars {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // An amount below zero reads as zero.
        f64::deserialize(deserializer).map(|dollars| Self { micros: (dollars * MICROS).round() as u64 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_of_an_agent_is_read_as_it_was_written() {
        let text = concat!(
            r#"{"stream_id":"s","seq":7,"provider":"claude","type":"tool_use","tool":"Bash","tool_use_id":"t","#,
            r#""input":{"command": "ls"},"is_error":false,"session_id":"s-1","usage":{"input_tokens":1,"output_tokens":2,"#,
            r#""cache_read_tokens":0,"cache_write_tokens":0},"cost_usd":0.049428,"blocks":[{"type":"other","content":[1]}],"#,
            r#""timestamp":"2026-01-24T20:00:00Z"}"#
        );
        let event: AgentEvent = serde_json::from_str(text).unwrap();
        assert_eq!((event.kind, event.cost_usd), (AgentEventType::ToolUse, Some(Dollars { micros: 49_428 })));
        assert_eq!(event.input.as_ref().map(RawJson::as_str), Some(r#"{"command": "ls"}"#));
        assert_eq!(serde_json::to_string(&event).unwrap(), text);
        assert_eq!(event, event.clone());
    }
}
