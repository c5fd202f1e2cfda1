//! Lines of agents, and the events that they become.

use std::sync::Arc;

use rdev_api_types as types;
use rdev_domain::{AgentBlock, AgentEvent, AgentProvider, JobKind, Json, StreamId, Timestamp};
use rdev_ports::CodeAgent;

use crate::convert::time;
use crate::error::ApiError;

/// How the lines of agents are sent: `?agent=`.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum AgentForm {
    /// As `agent` events, where the line is understood.
    #[default]
    Events,
    /// As `output`, with the text for people in `line`.
    Text,
    /// As `output`, as the agent wrote them.
    Raw,
}

impl AgentForm {
    /// Form that `?agent=` asks for; without it, events.
    pub(crate) fn asked(value: Option<&str>) -> Result<Self, ApiError> {
        match value {
            None | Some("events") => Ok(Self::Events),
            Some("text") => Ok(Self::Text),
            Some("raw") => Ok(Self::Raw),
            Some(_) => {
                let message = "it is not valid: accepted are `events`, `text` and `raw`";
                Err(ApiError::invalid_field("agent", message))
            }
        }
    }
}

/// Reader of an agent's lines, and what they become.
#[derive(Clone, Copy)]
pub(crate) struct AgentLines<'a> {
    pub(crate) agent: &'a dyn CodeAgent,
    pub(crate) form: AgentForm,
}

/// Agents.
#[derive(Clone)]
pub(crate) struct Agents {
    agent: Arc<dyn CodeAgent>,
}

impl Agents {
    pub(crate) fn new(agent: Arc<dyn CodeAgent>) -> Self {
        Self { agent }
    }

    /// Returns the reader of the lines of jobs of a kind, for subscribers who want this form; `None`: the lines are sent as
    /// they are.
    pub(crate) fn lines(&self, kind: JobKind, form: AgentForm) -> Option<AgentLines<'_>> {
        let is_read = form != AgentForm::Raw && kind.agent() == Some(self.agent.provider());
        is_read.then(|| AgentLines { agent: &*self.agent, form })
    }
}

/// Event that a line has become, under the number and with the time of its line.
pub(super) fn agent_event(
    event: AgentEvent,
    stream: &StreamId,
    seq: u64,
    at: Timestamp,
) -> types::AgentEvent {
    let AgentEvent { provider, session_id, usage, cost_micro_usd, first, rest } = event;
    let first = block(first);
    let mut blocks = Vec::new();
    if !rest.is_empty() {
        blocks.push(first.clone());
        blocks.extend(rest.into_iter().map(block));
    }
    let types::AgentBlock { kind, text, tool, tool_use_id, input, content, is_error } = first;
    types::AgentEvent {
        stream_id: stream.to_string(),
        seq,
        provider: match provider {
            AgentProvider::Claude => types::AgentProvider::Claude,
        },
        kind,
        text,
        tool,
        tool_use_id,
        input,
        content,
        is_error,
        session_id,
        usage: usage.map(|usage| types::AgentUsage {
            input_tokens: usage.input_tokens,
            output_tokens: usage.output_tokens,
            cache_read_tokens: usage.cache_read_tokens,
            cache_write_tokens: usage.cache_write_tokens,
        }),
        cost_usd: cost_micro_usd.map(|micros| types::Dollars { micros }),
        blocks,
        timestamp: time(at),
    }
}

fn block(block: AgentBlock) -> types::AgentBlock {
    use types::AgentEventType as Type;
    let plain = |kind| types::AgentBlock {
        kind,
        text: None,
        tool: None,
        tool_use_id: None,
        input: None,
        content: None,
        is_error: None,
    };
    let raw = |json: Option<Json>| json.map(|json| types::RawJson(json.into_raw()));
    let call = |kind, tool, tool_use_id, input| types::AgentBlock {
        tool: Some(tool),
        tool_use_id,
        input: raw(input),
        ..plain(kind)
    };
    match block {
        AgentBlock::Init => plain(Type::Init),
        AgentBlock::Usage => plain(Type::Usage),
        AgentBlock::Message { text, is_error } => {
            types::AgentBlock { text: Some(text), is_error: Some(is_error), ..plain(Type::Message) }
        }
        AgentBlock::Thinking { text } => types::AgentBlock { text, ..plain(Type::Thinking) },
        AgentBlock::ToolUse { tool, tool_use_id, input } => call(Type::ToolUse, tool, tool_use_id, input),
        AgentBlock::PermissionRequest { tool, tool_use_id, input } => {
            call(Type::PermissionRequest, tool, tool_use_id, input)
        }
        AgentBlock::ToolResult { tool_use_id, text, content, is_error } => types::AgentBlock {
            tool_use_id,
            text,
            content: raw(content),
            is_error: Some(is_error),
            ..plain(Type::ToolResult)
        },
        AgentBlock::Result { text, is_error } => {
            types::AgentBlock { text, is_error: Some(is_error), ..plain(Type::Result) }
        }
        AgentBlock::Other { text, content, .. } => {
            types::AgentBlock { text, content: raw(Some(content)), ..plain(Type::Other) }
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use rdev_domain::{CommandKind, Entry, EntryBody, Position, Seq};
    use rdev_ports::testing::agents::FakeAgent;
    use rdev_runner::frame::{Body, End, Frame, Stream};

    use super::*;
    use crate::sse::negotiation::Framing;
    use crate::sse::render::{Form, Ids, Reading, entries_read_by, entry};

    const SSE: Form = Form::Events(Framing::Sse, Ids::Numbers);
    const LOG_SSE: Form = Form::Events(Framing::Sse, Ids::Positions);

    const AT: Timestamp = Timestamp::from_micros(1_769_284_800_123_456);

    fn output(stream: Stream, end: End, count: u32, bytes: &'static [u8]) -> Frame {
        let body = Body::Output { stream, end, bytes: Bytes::from_static(bytes) };
        Frame { first_seq: 3, count, time_us: AT.as_micros() as u64, body }
    }

    fn entry_of(frame: &Frame) -> Entry {
        let mut bytes = Vec::new();
        frame.encode(&mut bytes);
        Entry {
            position: Position(9),
            kind: JobKind::Command(CommandKind::Claude),
            project: Some("demo".parse().unwrap()),
            job: format!("cmd-{}", "0".repeat(32)).parse().unwrap(),
            stream: "s".parse().unwrap(),
            first_seq: Seq(frame.first_seq),
            last_seq: Seq(frame.last_seq()),
            at: AT,
            body: EntryBody::Output(bytes.into()),
        }
    }

    fn read_by_agent(form: Form, agent_form: AgentForm, frame: Frame, after: u64) -> String {
        let mut out = Vec::new();
        let agent = Some(AgentLines { agent: &FakeAgent, form: agent_form });
        let reading = Reading { agent, ..Reading::default() };
        entries_read_by(&mut out, form, reading, (&entry_of(&frame), &[]), Seq(after)).unwrap();
        String::from_utf8(out).unwrap()
    }

    fn of_stdout(end: End, count: u32, bytes: &'static [u8]) -> Frame {
        output(Stream::Stdout, end, count, bytes)
    }

    #[test]
    fn lines_that_an_agent_understands_are_its_events_under_their_numbers() {
        let frame = || of_stdout(End::Newline, 3, b"say \"a\"\nnoise\nresult\n");
        let message = format!(
            "id: 3\nevent: agent\ndata: {{\"stream_id\":\"s\",\"seq\":3,\"provider\":\"claude\",\"type\":\"message\",\
             \"text\":\"\\\"a\\\"\",\"is_error\":false,\"timestamp\":\"{AT}\"}}\n\n"
        );
        let events = read_by_agent(SSE, AgentForm::Events, frame(), 0);
        assert!(events.starts_with(&message), "{events}");
        assert!(
            events.contains("id: 4\nevent: output\n") && events.contains("\"line\":\"noise\""),
            "{events}"
        );
        assert!(
            events.contains("id: 5\nevent: agent\n") && events.contains("\"type\":\"result\""),
            "{events}"
        );
        let rest = read_by_agent(LOG_SSE, AgentForm::Events, frame(), 4);
        assert!(rest.starts_with("id: 9-5\nevent: agent\n"), "{rest}");
    }

    #[test]
    fn an_agents_line_as_text_is_an_output() {
        let text = read_by_agent(SSE, AgentForm::Text, of_stdout(End::Newline, 2, b"say a\nresult\n"), 0);
        assert_eq!(text.matches("event: output\n").count(), 2);
        assert!(text.contains("\"line\":\"a\"") && text.contains("\"line\":\"[result]\""), "{text}");
    }

    #[test]
    fn pieces_and_standard_error_are_no_lines_of_an_agent() {
        let raw = |frame: &Frame| {
            let mut out = Vec::new();
            entry(&mut out, SSE, &entry_of(frame), Seq::ZERO).unwrap();
            String::from_utf8(out).unwrap()
        };
        for frame in
            [of_stdout(End::Partial, 1, b"result"), output(Stream::Stderr, End::Newline, 1, b"result\n")]
        {
            for form in [AgentForm::Events, AgentForm::Text] {
                assert_eq!(read_by_agent(SSE, form, frame.clone(), 0), raw(&frame));
            }
        }
        let last = read_by_agent(SSE, AgentForm::Events, of_stdout(End::Eof, 1, b"result"), 0);
        assert!(last.contains("event: agent\n"), "{last}");
    }

    #[test]
    fn blocks_and_numbers_are_as_documented() {
        let json = |text: &str| Json::new(serde_json::from_str(text).unwrap());
        let event = AgentEvent {
            provider: AgentProvider::Claude,
            session_id: Some("s-1".to_owned()),
            usage: Some(rdev_domain::AgentUsage { input_tokens: 1, output_tokens: 2, ..Default::default() }),
            cost_micro_usd: Some(49_428),
            first: AgentBlock::ToolUse {
                tool: "Bash".to_owned(),
                tool_use_id: Some("t".to_owned()),
                input: Some(json(r#"{"command": "ls"}"#)),
            },
            rest: vec![AgentBlock::Other { name: "new".to_owned(), text: None, content: json("[1]") }],
        };
        let block = r#""type":"tool_use","tool":"Bash","tool_use_id":"t","input":{"command": "ls"}"#;
        let expected = format!(
            "{{\"stream_id\":\"s\",\"seq\":7,\"provider\":\"claude\",{block},\"session_id\":\"s-1\",\
             \"usage\":{{\"input_tokens\":1,\"output_tokens\":2,\"cache_read_tokens\":0,\"cache_write_tokens\":0}},\
             \"cost_usd\":0.049428,\"blocks\":[{{{block}}},{{\"type\":\"other\",\"content\":[1]}}],\"timestamp\":\"{AT}\"}}"
        );
        let data = agent_event(event, &"s".parse().unwrap(), 7, AT);
        assert_eq!(serde_json::to_string(&data).unwrap(), expected);
    }

    #[test]
    fn only_known_forms_are_accepted() {
        let asked =
            [None, Some("events"), Some("text"), Some("raw")].map(|value| AgentForm::asked(value).ok());
        let forms = [AgentForm::Events, AgentForm::Events, AgentForm::Text, AgentForm::Raw].map(Some);
        assert_eq!(asked, forms);
        assert!(AgentForm::asked(Some("json")).is_err());
    }
}
