//! Events of streams: their names and their data, as documented; clients rely on these shapes.

use serde::{Deserialize, Deserializer, Serialize};

use crate::{AgentEvent, Reason, Status, StepError, StepState, Ticket, Timestamp};

closed_set! {
    /// Name of an event.
    EventName {
        /// One line of standard output.
        Output = "output",
        /// One line of standard error.
        Error = "error",
        /// Lines of both outputs, in place of `output` and `error`, on a stream that was opened with `batch`.
        Lines = "lines",
        /// One line of a coding agent that was understood, in place of `output`.
        Agent = "agent",
        /// A change of status that is no end.
        Status = "status",
        /// A step of an operation has reached another state.
        Step = "step",
        /// The end of a command, task or operation: its last event.
        Complete = "complete",
        /// Events that are not sent.
        Gap = "gap",
        /// A sign of life.
        Heartbeat = "heartbeat",
        /// A new ticket, for a stream that was opened with one.
        Ticket = "ticket",
    }
}

closed_set! {
    /// Type of a command, task or operation.
    JobType {
        /// Command: Claude Code with a prompt.
        Claude = "claude",
        /// Command or task: a line for `sh -c`, or other work.
        Shell = "shell",
        /// Command: git with arguments.
        Git = "git",
        /// Task that makes something.
        Build = "build",
        /// Task that checks something.
        Test = "test",
        /// Task that changes an outside system.
        Deploy = "deploy",
        /// Operation that makes a project.
        CreateProject = "create_project",
        /// Operation that removes a project.
        DeleteProject = "delete_project",
    }
}

/// Job of an event: exactly one of the three ids, its type and its project.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct EventJob {
    /// Id of the command; absent for others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schema(example = "cmd-0199d7e8c0de7000a0b1c2d3e4f50617"))]
    pub command_id: Option<String>,
    /// Id of the task; absent for others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task_id: Option<String>,
    /// Id of the operation; absent for others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation_id: Option<String>,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: JobType,
    /// Project that it is done for; null for a task without one.
    #[cfg_attr(feature = "schema", schema(example = "demo"))]
    pub project: Option<String>,
}

closed_set! {
    /// Stream of a process's output.
    OutputStream {
        /// Standard output.
        Stdout = "stdout",
        /// Standard error.
        Stderr = "stderr",
    }
}

closed_set! {
    /// Cause for which events are not sent.
    GapReason {
        /// The command wrote more than is kept.
        OutputLimit = "output_limit",
        /// The disk of the command's pod was full.
        DiskFull = "disk_full",
        /// The runner's journal was damaged on its disk.
        JournalDamaged = "journal_damaged",
        /// The runner is gone, and the events of these numbers with it.
        RunnerLost = "runner_lost",
        /// Retention has removed the events.
        Retention = "retention",
        /// The reader named a last event that this stream never had: it knows another stream of that name.
        UnknownId = "unknown_id",
    }
}

/// Data of `output` (standard output) and `error` (standard error): one line, or a piece of a long one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct OutputEvent {
    /// Name of the stream of events.
    #[cfg_attr(feature = "schema", schema(example = "cmd-0199d7e8c0de7000a0b1c2d3e4f50617"))]
    pub stream_id: String,
    /// Number of the event in its stream: 1, 2, 3 … without gaps.
    #[cfg_attr(feature = "schema", schema(example = 1))]
    pub seq: u64,
    /// Stream of the process that wrote the line.
    pub stream: OutputStream,
    /// Line without its newline; bytes that are not UTF-8 are U+FFFD.
    #[cfg_attr(feature = "schema", schema(example = "Reading auth handler..."))]
    pub line: String,
    /// True on a piece of a line of over 64 KiB that is not its last piece; absent otherwise.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub partial: bool,
    /// Time at which it was read from the process.
    pub timestamp: Timestamp,
}

/// Data of `lines`: consecutive lines of one command that were ready together. The id of the event is that of its last line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct LinesEvent {
    /// Name of the stream of events.
    #[cfg_attr(feature = "schema", schema(example = "cmd-0199d7e8c0de7000a0b1c2d3e4f50617"))]
    pub stream_id: String,
    /// Lines in their order, one part for those that were read from one output at one time; at least one part.
    pub parts: Vec<LinesPart>,
}

/// Lines that were read from one output at one time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct LinesPart {
    /// Number of the first line; the others have the next numbers.
    #[cfg_attr(feature = "schema", schema(example = 1))]
    pub seq: u64,
    /// Stream of the process that wrote the lines.
    pub stream: OutputStream,
    /// True where the only line is a piece of a line of over 64 KiB that is not its last piece; absent otherwise.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub partial: bool,
    /// Time at which the lines were read from the process.
    pub timestamp: Timestamp,
    /// Lines without their newlines, at least one; bytes that are not UTF-8 are U+FFFD.
    pub lines: Vec<String>,
}

impl LinesPart {
    /// Returns the number of the last line.
    pub fn last_seq(&self) -> u64 {
        self.seq.saturating_add(self.lines.len() as u64).saturating_sub(1)
    }
}

/// Data of `status`: the command is pending or running. It takes no number. After a retry by hand, the former end of the
/// task is a `status` as well, with its number; `complete` is the last event alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct StatusEvent {
    /// Name of the stream of events.
    pub stream_id: String,
    /// `pending` or `running`; of a former end `completed`, `failed`, `cancelled` or `timed_out`.
    pub status: Status,
    /// Number of the attempt that follows, between two attempts of a task; absent otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schema(example = 2))]
    pub attempt: Option<u32>,
    /// Cause: of the end of the attempt before, `retried` after a retry by hand; of a former end; or of the delay of a
    /// running command, until it ends or another `status` comes without a reason. Absent otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// Explanation of the reason, for people; absent without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Job that has the status.
    #[serde(flatten)]
    pub job: EventJob,
    /// Time since which the status holds.
    pub timestamp: Timestamp,
}

/// Data of `step`: a step of an operation has reached another state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct StepEvent {
    /// Name of the stream of events: the operation's id.
    pub stream_id: String,
    /// Number of the event in its stream.
    pub seq: u64,
    /// Name of the step.
    #[cfg_attr(feature = "schema", schema(example = "repository"))]
    pub name: String,
    /// State that the step has reached.
    pub state: StepState,
    /// Number of the attempt to make it, or to take it back.
    pub attempt: u32,
    /// Its error, or that of the attempt before; absent without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<StepError>,
    /// Time of the change.
    pub timestamp: Timestamp,
}

/// Data of `complete`: the last event of a command, task or operation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct CompleteEvent {
    /// Name of the stream of events.
    pub stream_id: String,
    /// Number of the event in its stream.
    pub seq: u64,
    /// `completed`, `failed`, `cancelled` or `timed_out`.
    pub status: Status,
    /// Exit code of its process; 128 + the number for a death by signal; null where no process ended.
    #[cfg_attr(feature = "schema", schema(example = 0))]
    pub exit_code: Option<i32>,
    /// Cause of an end without success; null for `completed`.
    pub reason: Option<Reason>,
    /// Explanation of the reason, for people; absent without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Milliseconds from the start of its process to its end.
    #[cfg_attr(feature = "schema", schema(example = 4532))]
    pub duration_ms: u64,
    /// Job that has ended.
    #[serde(flatten)]
    pub job: EventJob,
    /// Time of its end.
    pub timestamp: Timestamp,
}

/// Data of `gap`: events that are not sent, and mostly exist no more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct GapEvent {
    /// Name of the stream of events.
    pub stream_id: String,
    /// Number of the first missing event.
    pub from: u64,
    /// Number of the last missing event; null where the command itself was removed while it was read: nothing follows.
    pub to: Option<u64>,
    /// Cause of the gap.
    pub reason: GapReason,
}

/// Data of `gap` on a project's stream: events between two ids exist no more; the remaining ones follow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct ProjectGapEvent {
    /// Id that the reader has, opaque; null where it reads from the start.
    #[cfg_attr(feature = "schema", schema(example = "4711-12"))]
    pub from: Option<String>,
    /// Id from which on nothing is missing, opaque.
    #[cfg_attr(feature = "schema", schema(example = "90210-0"))]
    pub to: String,
    /// `retention`, or `unknown_id` where this log has never had the id that the reader has.
    pub reason: GapReason,
}

/// Data of `heartbeat`: nothing has happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct HeartbeatEvent {
    /// Time of the heartbeat.
    pub timestamp: Timestamp,
}

/// Event of a stream, as a client reads it; written as its data alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Event {
    /// One line of standard output.
    Output(OutputEvent),
    /// One line of standard error.
    Error(OutputEvent),
    /// Lines of both outputs.
    Lines(LinesEvent),
    /// One line of a coding agent that was understood.
    Agent(AgentEvent),
    /// A change of status that is no end.
    Status(StatusEvent),
    /// A change of an operation's step.
    Step(StepEvent),
    /// The end of a command, task or operation.
    Complete(CompleteEvent),
    /// Missing events of one stream.
    Gap(GapEvent),
    /// Missing events of a project's log.
    ProjectGap(ProjectGapEvent),
    /// A sign of life.
    Heartbeat(HeartbeatEvent),
    /// A new ticket.
    Ticket(Ticket),
    /// Event that this version does not know, of a newer server; its data is dropped.
    Unknown,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum AnyGap {
    Stream(GapEvent),
    Project(ProjectGapEvent),
}

impl Event {
    /// Reads the data of an event of this name.
    ///
    /// # Errors
    /// The deserializer's, where the data has not the shape that is documented for the name.
    pub fn read<'de, D: Deserializer<'de>>(name: EventName, data: D) -> Result<Self, D::Error> {
        Ok(match name {
            EventName::Output => Self::Output(Deserialize::deserialize(data)?),
            EventName::Error => Self::Error(Deserialize::deserialize(data)?),
            EventName::Lines => Self::Lines(Deserialize::deserialize(data)?),
            EventName::Agent => Self::Agent(Deserialize::deserialize(data)?),
            EventName::Status => Self::Status(Deserialize::deserialize(data)?),
            EventName::Step => Self::Step(Deserialize::deserialize(data)?),
            EventName::Complete => Self::Complete(Deserialize::deserialize(data)?),
            EventName::Gap => match AnyGap::deserialize(data)? {
                AnyGap::Stream(gap) => Self::Gap(gap),
                AnyGap::Project(gap) => Self::ProjectGap(gap),
            },
            EventName::Heartbeat => Self::Heartbeat(Deserialize::deserialize(data)?),
            EventName::Ticket => Self::Ticket(Deserialize::deserialize(data)?),
            EventName::Unknown => Self::Unknown,
        })
    }

    /// Returns the event's number in its stream, of several lines that of the last; `None` for events that have none.
    pub fn seq(&self) -> Option<u64> {
        match self {
            Self::Output(line) | Self::Error(line) => Some(line.seq),
            Self::Lines(lines) => lines.parts.last().map(LinesPart::last_seq),
            Self::Agent(line) => Some(line.seq),
            Self::Step(step) => Some(step.seq),
            Self::Complete(complete) => Some(complete.seq),
            Self::Status(_)
            | Self::Gap(_)
            | Self::ProjectGap(_)
            | Self::Heartbeat(_)
            | Self::Ticket(_)
            | Self::Unknown => None,
        }
    }

    /// Returns the name of the stream that it belongs to; `None` for events of no stream.
    pub fn stream_id(&self) -> Option<&str> {
        match self {
            Self::Output(line) | Self::Error(line) => Some(&line.stream_id),
            Self::Lines(lines) => Some(&lines.stream_id),
            Self::Agent(line) => Some(&line.stream_id),
            Self::Status(status) => Some(&status.stream_id),
            Self::Step(step) => Some(&step.stream_id),
            Self::Complete(complete) => Some(&complete.stream_id),
            Self::Gap(gap) => Some(&gap.stream_id),
            Self::ProjectGap(_) | Self::Heartbeat(_) | Self::Ticket(_) | Self::Unknown => None,
        }
    }

    /// Returns the time at which it happened, of several lines that of the last; `None` for gaps, which have none.
    pub fn timestamp(&self) -> Option<&Timestamp> {
        match self {
            Self::Output(line) | Self::Error(line) => Some(&line.timestamp),
            Self::Lines(lines) => lines.parts.last().map(|part| &part.timestamp),
            Self::Agent(line) => Some(&line.timestamp),
            Self::Status(status) => Some(&status.timestamp),
            Self::Step(step) => Some(&step.timestamp),
            Self::Complete(complete) => Some(&complete.timestamp),
            Self::Heartbeat(heartbeat) => Some(&heartbeat.timestamp),
            Self::Gap(_) | Self::ProjectGap(_) | Self::Ticket(_) | Self::Unknown => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(name: EventName, data: &str) -> serde_json::Result<Event> {
        Event::read(name, &mut serde_json::Deserializer::from_str(data))
    }

    #[test]
    fn both_gaps_are_told_apart() {
        let gap =
            read(EventName::Gap, r#"{"stream_id":"s","from":5,"to":null,"reason":"retention"}"#).unwrap();
        assert_eq!(
            gap,
            Event::Gap(GapEvent { stream_id: "s".into(), from: 5, to: None, reason: GapReason::Retention })
        );
        let gap = read(EventName::Gap, r#"{"from":null,"to":"9-0","reason":"unknown_id"}"#).unwrap();
        let reason = GapReason::UnknownId;
        assert_eq!(gap, Event::ProjectGap(ProjectGapEvent { from: None, to: "9-0".into(), reason }));
    }

    #[test]
    fn absent_fields_stay_absent() {
        let status = StatusEvent {
            stream_id: "s".into(),
            status: Status::Running,
            attempt: None,
            reason: None,
            message: None,
            job: EventJob {
                command_id: Some("cmd-1".into()),
                task_id: None,
                operation_id: None,
                kind: JobType::Shell,
                project: Some("demo".into()),
            },
            timestamp: "2026-01-24T20:00:00Z".into(),
        };
        let text = r#"{"stream_id":"s","status":"running","command_id":"cmd-1","type":"shell","project":"demo","timestamp":"2026-01-24T20:00:00Z"}"#;
        assert_eq!(serde_json::to_string(&status).unwrap(), text);
        assert_eq!(read(EventName::Status, text).unwrap(), Event::Status(status));
        assert!(read(EventName::Complete, text).is_err());
    }
}
