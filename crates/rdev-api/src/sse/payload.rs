//! The data of events, as documented; clients rely on these shapes.

use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

/// One event as it is sent: `id: …`, `event: …`, `data: …`, and an empty line.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ServerSentEvent {
    /// For `Last-Event-ID`: the event's number in its stream; opaque on a project's stream. `heartbeat` has
    /// none, on one command's stream neither has `status`, and on a project's neither has a `gap` between ids.
    #[schema(example = "1")]
    id: Option<String>,
    /// `output`, `error`, `agent`, `status`, `complete`, `gap` or `heartbeat`.
    #[schema(example = "output")]
    event: Option<String>,
    /// JSON: an OutputEvent, AgentEvent, StatusEvent, CompleteEvent, GapEvent (on a project's stream also ProjectGapEvent) or
    /// HeartbeatEvent.
    #[schema(
        example = "{\"stream_id\":\"ci-7\",\"seq\":1,\"stream\":\"stdout\",\"line\":\"Reading auth handler...\",\"timestamp\":\"2026-01-24T20:00:00Z\"}"
    )]
    data: Option<String>,
    /// Milliseconds to wait before connecting again.
    #[schema(example = 1000)]
    retry: Option<u64>,
}

/// Data of `output` (standard output) and `error` (standard error): one line, or a piece of a long one.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct OutputEvent<'a> {
    /// The stream.
    #[schema(example = "cmd-0199d7e8c0de7000a0b1c2d3e4f50617")]
    pub(crate) stream_id: &'a str,
    /// Number of the event in its stream: 1, 2, 3 … without gaps.
    #[schema(example = 1)]
    pub(crate) seq: u64,
    /// `stdout` or `stderr`.
    #[schema(example = "stdout")]
    pub(crate) stream: &'a str,
    /// The line without its newline; bytes that are no UTF-8 are U+FFFD.
    #[schema(example = "Reading auth handler...")]
    pub(crate) line: &'a str,
    /// True on a piece of a line of over 64 KiB that is not its last piece.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) partial: bool,
    /// When it was read from the command.
    #[schema(format = DateTime, example = "2026-01-24T20:00:00.123456Z")]
    pub(crate) timestamp: &'a str,
}

/// Data of `agent`: one line of a coding agent's standard output that was understood, in place of `output`. A line with
/// several blocks has the first one's fields here, and all of them in `blocks`.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AgentEvent)]
pub(crate) struct AgentEventData<'a> {
    /// The stream.
    pub(crate) stream_id: &'a str,
    /// Number of the event in its stream: that of its line.
    pub(crate) seq: u64,
    /// Agent that wrote the line: `claude`.
    #[schema(example = "claude")]
    pub(crate) provider: &'a str,
    /// `init`, `message`, `thinking`, `tool_use`, `tool_result`, `permission_request`, `usage`, `result`, or `other` for
    /// everything else, also for what this version of rdev does not know.
    #[serde(rename = "type")]
    #[schema(example = "message")]
    pub(crate) kind: &'a str,
    /// Text of a message, thought, tool's result or result.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "The tests pass now.")]
    pub(crate) text: Option<&'a str>,
    /// Name of the tool that is called.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tool: Option<&'a str>,
    /// Id of the tool's call, which its result has as well.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tool_use_id: Option<&'a str>,
    /// Arguments of the tool's call, as the agent wrote them.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub(crate) input: Option<&'a RawValue>,
    /// Result of a tool where it is more than a text, or the whole line of `other`, as the agent wrote it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Value>)]
    pub(crate) content: Option<&'a RawValue>,
    /// True where a message, a tool's result or the result tells of an error.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) is_error: Option<bool>,
    /// The agent's own session: a later command goes on with it by its `session_id`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) session_id: Option<&'a str>,
    /// Tokens used in the turn, told with `result` or `usage`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) usage: Option<AgentUsageEvent>,
    /// Cost of the run so far in US dollars, told with `result` or `usage`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = 0.049428)]
    pub(crate) cost_usd: Option<f64>,
    /// All blocks of a line with more than one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) blocks: Vec<AgentBlockEvent<'a>>,
    /// When the line was read from the agent.
    #[schema(format = DateTime)]
    pub(crate) timestamp: &'a str,
}

/// One block of an agent's line. Fields are those of AgentEvent.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AgentBlock)]
pub(crate) struct AgentBlockEvent<'a> {
    #[serde(rename = "type")]
    pub(crate) kind: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) text: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tool: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tool_use_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub(crate) input: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Value>)]
    pub(crate) content: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) is_error: Option<bool>,
}

impl<'a> AgentBlockEvent<'a> {
    /// Block of this type alone.
    pub(crate) fn plain(kind: &'a str) -> Self {
        Self { kind, text: None, tool: None, tool_use_id: None, input: None, content: None, is_error: None }
    }
}

/// Tokens that an agent has used in a turn.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AgentUsage)]
pub(crate) struct AgentUsageEvent {
    /// Tokens sent to the model, without those of its cache.
    pub(crate) input_tokens: u64,
    /// Tokens that the model wrote.
    pub(crate) output_tokens: u64,
    /// Tokens read from the model's cache.
    pub(crate) cache_read_tokens: u64,
    /// Tokens written to the model's cache.
    pub(crate) cache_write_tokens: u64,
}

/// Data of `status`: the command is pending, or running. It takes no number. Of a task that was retried by hand after
/// its end, that end is a `status` as well, with its number; `complete` is the last event alone.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct StatusEvent<'a> {
    /// The stream.
    pub(crate) stream_id: &'a str,
    /// `pending` or `running`; of a former end `completed`, `failed`, `cancelled` or `timed_out`.
    #[schema(example = "running")]
    pub(crate) status: &'a str,
    /// Between two attempts of a task: the number of the one that follows.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = 2)]
    pub(crate) attempt: Option<u32>,
    /// Between two attempts of a task: why the one before ended, or `retried` by hand. Of a former end: why the task
    /// did not complete. Of a command that is running: what keeps it from that, until it ends or another `status` says
    /// that nothing does any more.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "exit_code")]
    pub(crate) reason: Option<&'a str>,
    /// The same for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) message: Option<&'a str>,
    /// Since when.
    #[schema(format = DateTime)]
    pub(crate) timestamp: &'a str,
}

/// Data of `complete`: the last event of a command.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CompleteEvent<'a> {
    /// The stream.
    pub(crate) stream_id: &'a str,
    /// Number of the event in its stream.
    pub(crate) seq: u64,
    /// `completed`, `failed`, `cancelled` or `timed_out`.
    #[schema(example = "completed")]
    pub(crate) status: &'a str,
    /// Exit code of its process; 128 + the number for a death by signal; null when there was none.
    #[schema(example = 0)]
    pub(crate) exit_code: Option<i32>,
    /// Why it did not complete; null when it did.
    pub(crate) reason: Option<&'a str>,
    /// More about the reason, for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) message: Option<&'a str>,
    /// Time from the start of its process to its end.
    #[schema(example = 4532)]
    pub(crate) duration_ms: u64,
    /// When it was over.
    #[schema(format = DateTime)]
    pub(crate) timestamp: &'a str,
}

/// Data of `gap`: these events are not sent, and mostly exist no more.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct GapEvent<'a> {
    /// The stream.
    pub(crate) stream_id: &'a str,
    /// Number of the first event that is missing.
    pub(crate) from: u64,
    /// Number of the last event that is missing; null where the command itself was removed while it was read:
    /// nothing follows.
    pub(crate) to: Option<u64>,
    /// `output_limit`, `disk_full`, `journal_damaged` or `retention`; `runner_lost` where the runner is gone, and whatever
    /// had these numbers with it; `unknown_id` where the reader named a last event that this stream never had: it knows
    /// another one of that name.
    #[schema(example = "output_limit")]
    pub(crate) reason: &'a str,
}

/// Data of `gap` on a project's stream: something of what was stored between two ids exists no more, and what is
/// left of it follows.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ProjectGapEvent<'a> {
    /// The id that the reader has, opaque; null where it reads from the start.
    #[schema(example = "4711-12")]
    pub(crate) from: Option<&'a str>,
    /// From this id on, opaque as well, everything is there.
    #[schema(example = "90210-0")]
    pub(crate) to: &'a str,
    /// `retention`, or `unknown_id` where this log has never had the id that the reader has.
    #[schema(example = "retention")]
    pub(crate) reason: &'a str,
}

/// Data of `heartbeat`: nothing has happened.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct HeartbeatEvent<'a> {
    /// Now.
    #[schema(format = DateTime)]
    pub(crate) timestamp: &'a str,
}
