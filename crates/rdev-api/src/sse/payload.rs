//! The data of events, as documented; clients rely on these shapes.

use serde::Serialize;
use utoipa::ToSchema;

/// One event as it is sent: `id: …`, `event: …`, `data: …`, and an empty line.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ServerSentEvent {
    /// For `Last-Event-ID`: the event's number in its stream; opaque on a project's stream. `heartbeat` has
    /// none, on one command's stream neither has `status`, and on a project's neither has a `gap` between ids.
    #[schema(example = "1")]
    id: Option<String>,
    /// `output`, `error`, `status`, `complete`, `gap` or `heartbeat`.
    #[schema(example = "output")]
    event: Option<String>,
    /// JSON: an OutputEvent, StatusEvent, CompleteEvent, GapEvent (on a project's stream also ProjectGapEvent) or
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
