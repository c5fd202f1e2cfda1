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
        stream_id: String,
    }
}

described! {
    /// `{task_id}` in a path.
    TaskPath in Path {
        /// Id of the task
        task_id: String,
    }
}

described! {
    /// `{operation_id}` in a path.
    OperationPath in Path {
        /// Id of the operation
        operation_id: String,
    }
}

described! {
    /// `{task_id}` and `{path}` in a path.
    ArtefactPath in Path {
        /// Id of the task
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
    /// `Last-Event-ID` of one stream.
    LastEventIdHeader in Header {
        /// Id of the event after which to begin
        #[cfg_attr(feature = "schema", param(rename = "Last-Event-ID", nullable = false, pattern = "^([0-9]{1,18})?$"))]
        last_event_id: Option<String>,
    }
}

described! {
    /// `Last-Event-ID` of a project's stream.
    ProjectLastEventIdHeader in Header {
        /// Id of the event after which to begin
        #[cfg_attr(feature = "schema", param(
            rename = "Last-Event-ID",
            nullable = false,
            pattern = "^([0-9]{1,18}|[0-9]{1,18}-[0-9]{1,18}|latest)?$"
        ))]
        last_event_id: Option<String>,
    }
}

/// Query of a project's events.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::IntoParams), into_params(parameter_in = Query))]
pub struct EventsQuery {
    /// Name of one command's stream; default: every command of the project.
    #[cfg_attr(feature = "schema", param(pattern = "^[A-Za-z0-9][A-Za-z0-9._:-]{0,127}$"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stream_id: Option<String>,
    /// Id of the event after which to begin; the header `Last-Event-ID` overrides it. On a project's stream `latest`
    /// begins with the next event.
    #[cfg_attr(feature = "schema", param(pattern = "^([0-9]{1,18}|[0-9]{1,18}-[0-9]{1,18}|latest)?$"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_event_id: Option<String>,
    /// Form of an agent's lines: `events` (default) as `agent`, `text` as `output` with their text for people in `line`,
    /// `raw` as `output` as the agent wrote them.
    #[cfg_attr(feature = "schema", param(pattern = "^(events|text|raw)$"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
}

/// Query of the events of a command's stream.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::IntoParams), into_params(parameter_in = Query))]
pub struct StreamQuery {
    /// Id of the event after which to begin; the header `Last-Event-ID` overrides it.
    #[cfg_attr(feature = "schema", param(pattern = "^([0-9]{1,18})?$"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_event_id: Option<String>,
    /// Form of an agent's lines: `events` (default) as `agent`, `text` as `output` with their text for people in `line`,
    /// `raw` as `output` as the agent wrote them.
    #[cfg_attr(feature = "schema", param(pattern = "^(events|text|raw)$"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
}

/// Query of the events of one stream.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::IntoParams), into_params(parameter_in = Query))]
pub struct LastEventIdQuery {
    /// Id of the event after which to begin; the header `Last-Event-ID` overrides it.
    #[cfg_attr(feature = "schema", param(pattern = "^([0-9]{1,18})?$"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_event_id: Option<String>,
}
