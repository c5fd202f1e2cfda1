//! Parameters in paths, queries and headers, each described once.

use serde::{Deserialize, Serialize};

/// Header of a POST whose repetition is to give the first answer again.
pub const IDEMPOTENCY_KEY: &str = "idempotency-key";
/// Header of the answer to a repetition, with the value `true`.
pub const IDEMPOTENT_REPLAYED: &str = "idempotent-replayed";
/// Header with what the caller's key has left of its rate.
pub const RATE_LIMIT: &str = "ratelimit";
/// Header with the rate of the caller's key.
pub const RATE_LIMIT_POLICY: &str = "ratelimit-policy";
/// Header of a subscription that continues after an event.
pub const LAST_EVENT_ID: &str = "last-event-id";

/// Defines parameters of a path or a header, which only the document needs.
macro_rules! described {
    ($(#[doc = $about:literal])+ $name:ident in $place:ident { $($(#[$field:meta])+ $param:ident: $type:ty,)+ }) => {
        $(#[doc = $about])+
        #[derive(Debug, Clone)]
        #[cfg_attr(feature = "schema", derive(utoipa::IntoParams), into_params(parameter_in = $place))]
        pub struct $name { $($(#[$field])+ pub $param: $type,)+ }
    };
}

described! {
    /// `{project}` in a path.
    ProjectPath in Path {
        /// Id of the project
        #[cfg_attr(feature = "schema", param(example = "demo"))]
        project: String,
    }
}

described! {
    /// `{project}` and `{command_id}` in a path.
    CommandPath in Path {
        /// Id of the project
        #[cfg_attr(feature = "schema", param(example = "demo"))]
        project: String,
        /// Id of the command
        #[cfg_attr(feature = "schema", param(example = "cmd-0199d7e8c0de7000a0b1c2d3e4f50617"))]
        command_id: String,
    }
}

described! {
    /// `{project}` and `{stream_id}` in a path.
    StreamPath in Path {
        /// Id of the project
        #[cfg_attr(feature = "schema", param(example = "demo"))]
        project: String,
        /// Name of the command's stream
        #[cfg_attr(feature = "schema", param(example = "ci-7"))]
        stream_id: String,
    }
}

described! {
    /// `{task_id}` in a path.
    TaskPath in Path {
        /// Id of the task
        #[cfg_attr(feature = "schema", param(example = "task-0199d7e8c0de7000a0b1c2d3e4f50617"))]
        task_id: String,
    }
}

described! {
    /// `{operation_id}` in a path.
    OperationPath in Path {
        /// Id of the operation
        #[cfg_attr(feature = "schema", param(example = "op-0199d7e8c0de7000a0b1c2d3e4f50617"))]
        operation_id: String,
    }
}

described! {
    /// `{task_id}` and `{path}` in a path.
    ArtefactPath in Path {
        /// Id of the task
        #[cfg_attr(feature = "schema", param(example = "task-0199d7e8c0de7000a0b1c2d3e4f50617"))]
        task_id: String,
        /// Path of the file, with its slashes
        #[cfg_attr(feature = "schema", param(example = "target/report.xml"))]
        path: String,
    }
}

described! {
    /// `{worker_id}` in a path.
    WorkerPath in Path {
        /// Name of the worker
        #[cfg_attr(feature = "schema", param(example = "slot-1"))]
        worker_id: String,
    }
}

described! {
    /// `Idempotency-Key` of a POST.
    IdempotencyKeyHeader in Header {
        /// Key of the request; a repetition with the same key gives the first answer, for 24 hours
        #[cfg_attr(feature = "schema", param(
            rename = "Idempotency-Key",
            nullable = false,
            min_length = 1,
            max_length = 255,
            pattern = "^[!-~]+$"
        ))]
        idempotency_key: Option<String>,
    }
}

described! {
    /// `Last-Event-ID` of a stream.
    LastEventIdHeader in Header {
        /// Id of the event after which to begin, or `latest`
        #[cfg_attr(feature = "schema", param(
            rename = "Last-Event-ID",
            nullable = false,
            pattern = "^([0-9]{1,18}|[0-9]{1,18}-[0-9]{1,18}|latest)?$"
        ))]
        last_event_id: Option<String>,
    }
}

/// Query of a project's events: one stream, or all.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::IntoParams), into_params(parameter_in = Query))]
pub struct ProjectEventsQuery {
    /// Name of one command's stream; default: every command of the project, and every task that is done for it.
    #[cfg_attr(feature = "schema", param(pattern = "^[A-Za-z0-9][A-Za-z0-9._:-]{0,127}$"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stream_id: Option<String>,
    /// Form of an agent's lines: `events` (default) as `agent`, `text` as `output` with their text for people in `line`,
    /// `raw` as `output` as the agent wrote them.
    #[cfg_attr(feature = "schema", param(pattern = "^(events|text|raw)$"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
}

/// Query of every event stream.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::IntoParams), into_params(parameter_in = Query))]
pub struct SubscriptionQuery {
    /// Id of the event after which to begin, or `latest` to begin with the next event; the header `Last-Event-ID`
    /// overrides it. Default: the first event that is stored.
    #[cfg_attr(feature = "schema", param(pattern = "^([0-9]{1,18}|[0-9]{1,18}-[0-9]{1,18}|latest)?$"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_event_id: Option<String>,
    /// Time, as RFC 3339: begins with the first events that were stored then, or later. A last event id overrides it.
    #[cfg_attr(feature = "schema", param(format = DateTime))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// Name of the events of standard error: `error` (default), or `output`. EventSource calls its own failures `error`.
    #[cfg_attr(feature = "schema", param(pattern = "^(error|output)$"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stderr: Option<String>,
    /// Names of the events to send, with commas between: `status`, `output`, `error`, `agent`, `step`, `complete`;
    /// default: all. `gap`, `heartbeat` and `ticket` are always sent, and `complete` on the stream of one job. With `batch`
    /// `output` and `error` choose the lines.
    #[cfg_attr(
        feature = "schema",
        param(
            pattern = "^(status|output|error|agent|step|complete)(,(status|output|error|agent|step|complete))*$"
        )
    )]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub types: Option<String>,
    /// Most lines of one event, 1 to 1000: lines that are ready together come in one `lines` event, in place of an `output` or
    /// `error` each. Nothing waits for more lines. Default: an event a line.
    #[cfg_attr(feature = "schema", param(minimum = 1, maximum = 1000))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub batch: Option<u32>,
}

impl SubscriptionQuery {
    /// Most lines of one event that a subscriber may ask for.
    pub const BATCH_MAX: u32 = 1000;
}

/// Query of a POST that may be answered with the events of what it has added.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::IntoParams), into_params(parameter_in = Query))]
pub struct ReplyQuery {
    /// With `Accept: text/event-stream` or `application/x-ndjson`: name of the events of standard error, `error` (default) or
    /// `output`.
    #[cfg_attr(feature = "schema", param(pattern = "^(error|output)$"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stderr: Option<String>,
    /// With the same: most lines of one event, 1 to 1000, as on a stream.
    #[cfg_attr(feature = "schema", param(minimum = 1, maximum = 1000))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub batch: Option<u32>,
}

/// Query of the form of an agent's lines.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::IntoParams), into_params(parameter_in = Query))]
pub struct AgentQuery {
    /// Form of an agent's lines: `events` (default) as `agent`, `text` as `output` with their text for people in `line`,
    /// `raw` as `output` as the agent wrote them.
    #[cfg_attr(feature = "schema", param(pattern = "^(events|text|raw)$"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
}

/// Query of one command, task or operation.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::IntoParams), into_params(parameter_in = Query))]
pub struct WaitQuery {
    /// Seconds, 1 to 60: the answer comes at the end, or after so long as it stands then. Default: at once.
    #[cfg_attr(feature = "schema", param(minimum = 1, maximum = 60))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wait: Option<u32>,
}

impl WaitQuery {
    /// Longest wait, in seconds.
    pub const SECONDS_MAX: u32 = 60;
}
