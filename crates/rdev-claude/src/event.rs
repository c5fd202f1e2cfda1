//! From a line to its typed event.

use rdev_domain::{AgentBlock, AgentEvent, AgentProvider, AgentUsage, Json};

use crate::line::{Block, Line, Message, Raw, Request, list, numbers, object, text, value};

/// Longest line that is read, in bytes.
const LINE_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Most blocks of one line; Claude Code writes one.
const BLOCKS_MAX: usize = 1024;
/// Millionths of a dollar in a dollar.
const MICROS: f64 = 1_000_000.0;

/// Event of a line; `None` where it is no object of JSON with a type, or is too large.
pub(crate) fn read_line(line: &[u8]) -> Option<AgentEvent> {
    if line.len() > LINE_BYTES_MAX {
        return None;
    }
    let whole = String::from_utf8_lossy(line);
    let line = Line::read(&whole)?;
    let kind = line.kind()?;
    let blocks = match kind.as_str() {
        "system" if text(line.subtype).as_deref() == Some("init") => Some(vec![AgentBlock::Init]),
        "assistant" => message(&line, |block| of_agent(block, is_error(&line))),
        "user" => message(&line, of_user),
        "control_request" => {
            line.request.and_then(|request| object(request.get())).and_then(|request| permission(&request))
        }
        "result" => Some(vec![result(&line)]),
        _ => None,
    };
    let blocks = match blocks {
        Some(blocks) if !blocks.is_empty() => blocks,
        _ => vec![other(&line, &kind, &whole)?],
    };
    let is_result = kind == "result";
    let mut blocks = blocks.into_iter();
    Some(AgentEvent {
        provider: AgentProvider::Claude,
        session_id: text(line.session_id),
        // The lines of one message all repeat its usage: only that of the whole turn can be added up.
        usage: is_result.then(|| usage(line.usage)).flatten(),
        cost_micro_usd: is_result.then(|| cost(line.total_cost_usd)).flatten(),
        first: blocks.next()?,
        rest: blocks.collect(),
    })
}

/// An error of the CLI itself comes as a message of the agent, with a field that names it.
fn is_error(line: &Line<'_>) -> bool {
    line.error.is_some()
}

/// Blocks of a message; `None` where it has none, or too many to be real.
fn message(line: &Line<'_>, of: impl Fn(Raw<'_>) -> Option<AgentBlock>) -> Option<Vec<AgentBlock>> {
    let Message { content } = object(line.message?.get())?;
    let blocks = list(content)?;
    if blocks.len() > BLOCKS_MAX {
        return None;
    }
    Some(blocks.into_iter().map(|raw| of(raw).unwrap_or_else(|| unknown(raw))).collect())
}

fn of_agent(raw: Raw<'_>, is_error: bool) -> Option<AgentBlock> {
    let block: Block<'_> = object(raw.get())?;
    match text(block.kind)?.as_str() {
        "text" => Some(AgentBlock::Message { text: text(block.text)?, is_error }),
        "thinking" => Some(AgentBlock::Thinking { text: text(block.thinking) }),
        "redacted_thinking" => Some(AgentBlock::Thinking { text: None }),
        "tool_use" => Some(AgentBlock::ToolUse {
            tool: text(block.name)?,
            tool_use_id: text(block.id),
            input: block.input.map(Json::new),
        }),
        _ => None,
    }
}

/// Reads a message of the user: the results of tools; anything else is no word of the agent.
fn of_user(raw: Raw<'_>) -> Option<AgentBlock> {
    let block: Block<'_> = object(raw.get())?;
    match text(block.kind)?.as_str() {
        "tool_result" => Some(AgentBlock::ToolResult {
            tool_use_id: text(block.tool_use_id),
            text: text(block.content).or_else(|| joined(block.content)),
            content: block.content.filter(|content| !content.get().starts_with('"')).map(Json::new),
            is_error: value(block.is_error).unwrap_or(false),
        }),
        "text" => Some(AgentBlock::Other {
            name: "user".to_owned(),
            text: text(block.text),
            content: Json::new(raw),
        }),
        _ => None,
    }
}

/// Texts of a list of blocks, without those that are none.
fn joined(content: Option<Raw<'_>>) -> Option<String> {
    let text_of = |raw: Raw<'_>| object(raw.get()).and_then(|block: Block<'_>| text(block.text));
    let texts: Vec<String> = list(content)?.into_iter().filter_map(text_of).collect();
    (!texts.is_empty()).then(|| texts.join("\n"))
}

fn unknown(raw: Raw<'_>) -> AgentBlock {
    let kind = object(raw.get()).and_then(|block: Block<'_>| text(block.kind));
    AgentBlock::Other {
        name: kind.unwrap_or_else(|| "block".to_owned()),
        text: None,
        content: Json::new(raw),
    }
}

fn permission(request: &Request<'_>) -> Option<Vec<AgentBlock>> {
    (text(request.subtype).as_deref() == Some("can_use_tool")).then_some(())?;
    Some(vec![AgentBlock::PermissionRequest {
        tool: text(request.tool_name)?,
        tool_use_id: text(request.tool_use_id),
        input: request.input.map(Json::new),
    }])
}

fn result(line: &Line<'_>) -> AgentBlock {
    let errors = || {
        let errors: Vec<String> = list(line.errors)?.into_iter().filter_map(|raw| text(Some(raw))).collect();
        (!errors.is_empty()).then(|| errors.join("; "))
    };
    AgentBlock::Result {
        text: text(line.result).or_else(errors),
        // Only a result that says so is a good one.
        is_error: value(line.is_error).unwrap_or(line.is_error.is_some()),
    }
}

/// The whole line, under its type and subtype.
fn other(line: &Line<'_>, kind: &str, whole: &str) -> Option<AgentBlock> {
    let name = match text(line.subtype) {
        Some(subtype) => format!("{kind}/{subtype}"),
        None => kind.to_owned(),
    };
    let content: Raw<'_> = serde_json::from_str(whole).ok()?;
    let said = || object(line.message?.get()).and_then(|message: Message<'_>| text(message.content));
    Some(AgentBlock::Other { name, text: text(line.message).or_else(said), content: Json::new(content) })
}

fn usage(field: Option<Raw<'_>>) -> Option<AgentUsage> {
    let numbers = numbers(field)?;
    let number = |name: &str| numbers.get(name).copied().unwrap_or(0);
    Some(AgentUsage {
        input_tokens: number("input_tokens"),
        output_tokens: number("output_tokens"),
        cache_read_tokens: number("cache_read_input_tokens"),
        cache_write_tokens: number("cache_creation_input_tokens"),
    })
}

/// Dollars as the agent writes them, zero or a fraction, rounded to millionths.
fn cost(field: Option<Raw<'_>>) -> Option<u64> {
    let dollars: f64 = value(field)?;
    // A float outside of the range of u64 becomes its nearest end.
    (dollars >= 0.0).then(|| (dollars * MICROS).round() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> AgentEvent {
        read_line(line.as_bytes()).unwrap_or_else(|| panic!("{line} is an event"))
    }

    fn json(text: &str) -> Json {
        Json::new(serde_json::from_str(text).unwrap())
    }

    #[test]
    fn a_line_with_several_blocks_has_all_of_them() {
        let event = read(
            r#"{"type":"assistant","session_id":"s","message":{"content":[{"type":"thinking","thinking":"hm"},
            {"type":"text","text":"ä"},{"type":"tool_use","id":"t","name":"Bash","input":{"a": 1}},{"type":"new","x":1},7]}}"#,
        );
        assert_eq!(event.session_id.as_deref(), Some("s"));
        assert_eq!(event.first, AgentBlock::Thinking { text: Some("hm".to_owned()) });
        let rest = [
            AgentBlock::Message { text: "ä".to_owned(), is_error: false },
            AgentBlock::ToolUse {
                tool: "Bash".to_owned(),
                tool_use_id: Some("t".to_owned()),
                input: Some(json(r#"{"a": 1}"#)),
            },
            AgentBlock::Other {
                name: "new".to_owned(),
                text: None,
                content: json(r#"{"type":"new","x":1}"#),
            },
            AgentBlock::Other { name: "block".to_owned(), text: None, content: json("7") },
        ];
        assert_eq!(event.rest, rest);
    }

    #[test]
    fn a_result_of_a_tool_may_be_a_list() {
        let line = |content: &str| {
            format!(
                r#"{{"type":"user","message":{{"content":[{{"type":"tool_result","tool_use_id":"t",{content}}}]}}}}"#
            )
        };
        let blocks =
            r#"[{"type":"text","text":"a"},{"type":"image","source":{}},{"type":"text","text":"b"}]"#;
        let result = |text: Option<&str>, content: Option<&str>, is_error| AgentBlock::ToolResult {
            tool_use_id: Some("t".to_owned()),
            text: text.map(str::to_owned),
            content: content.map(json),
            is_error,
        };
        let cases = [
            (r#""content":"hi""#.to_owned(), result(Some("hi"), None, false)),
            (format!(r#""content":{blocks}"#), result(Some("a\nb"), Some(blocks), false)),
            (r#""is_error":true,"content":[]"#.to_owned(), result(None, Some("[]"), true)),
            (r#""is_error":"?""#.to_owned(), result(None, None, false)),
        ];
        for (content, expected) in cases {
            assert_eq!(read(&line(&content)).first, expected, "{content}");
        }
    }

    #[test]
    fn tokens_and_cost_are_told_once_a_turn() {
        let usage = r#""usage":{"input_tokens":3,"output_tokens":4,"cache_read_input_tokens":5,"cache_creation_input_tokens":6,"speed":"standard"}"#;
        let turn =
            read(&format!(r#"{{"type":"result","subtype":"success","total_cost_usd":0.22287,{usage}}}"#));
        let expected =
            AgentUsage { input_tokens: 3, output_tokens: 4, cache_read_tokens: 5, cache_write_tokens: 6 };
        assert_eq!((turn.usage, turn.cost_micro_usd), (Some(expected), Some(222_870)));
        assert_eq!(turn.first, AgentBlock::Result { text: None, is_error: false });
        let line = format!(
            r#"{{"type":"assistant","message":{{"content":[{{"type":"text","text":"x"}}],{usage}}}}}"#
        );
        assert_eq!((read(&line).usage, read(&line).cost_micro_usd), (None, None));
        for cost in ["-1", "\"0\"", "null", "{}"] {
            let line = format!(r#"{{"type":"result","subtype":"success","total_cost_usd":{cost}}}"#);
            assert_eq!(read(&line).cost_micro_usd, None, "{cost}");
        }
    }

    #[test]
    fn an_error_is_told_as_one() {
        let line = r#"{"type":"assistant","error":"rate_limit","message":{"content":[{"type":"text","text":"429"}]}}"#;
        assert_eq!(read(line).first, AgentBlock::Message { text: "429".to_owned(), is_error: true });
        let text = |text: &str| Some(text.to_owned());
        let cases = [
            (r#""is_error":true,"errors":["a",1,"b"]"#, text("a; b"), true),
            (r#""is_error":true,"result":"c","errors":["a"]"#, text("c"), true),
            (r#""is_error":"yes""#, None, true),
            (r#""is_error":false,"result":"d""#, text("d"), false),
        ];
        for (fields, text, is_error) in cases {
            let event = read(&format!(r#"{{"type":"result",{fields}}}"#));
            assert_eq!(event.first, AgentBlock::Result { text, is_error }, "{fields}");
        }
    }

    #[test]
    fn what_is_not_known_is_passed_on_whole() {
        for (line, name, text) in [
            (r#"{"type":"system","subtype":"new"}"#, "system/new", None),
            (r#"{"type":"new"}"#, "new", None),
            (r#"{"type":"assistant"}"#, "assistant", None),
            (r#"{"type":"assistant","message":{"content":[]}}"#, "assistant", None),
            (r#"{"type":"assistant","message":7}"#, "assistant", None),
            (r#"{"type":"user","message":{"content":"hello"}}"#, "user", Some("hello")),
            (r#"{"type":"system","subtype":"x","message":"hello"}"#, "system/x", Some("hello")),
            (r#"{"type":"control_request","request":{"subtype":"hook"}}"#, "control_request", None),
            (r#"{"type":"control_request"}"#, "control_request", None),
        ] {
            let other = AgentBlock::Other {
                name: name.to_owned(),
                text: text.map(str::to_owned),
                content: json(line),
            };
            assert_eq!(read(line).first, other);
        }
    }

    #[test]
    fn what_is_no_object_with_a_type_is_no_event() {
        for line in ["", "{}", r#"{"type":7}"#, r#"["type"]"#, "text", r#"{"type":"a","type":"b"}"#] {
            assert_eq!(read_line(line.as_bytes()), None, "{line}");
        }
        let blocks = vec!["{}"; BLOCKS_MAX + 1].join(",");
        let crowd = read(&format!(r#"{{"type":"user","message":{{"content":[{blocks}]}}}}"#));
        assert!(matches!(crowd.first, AgentBlock::Other { .. }) && crowd.rest.is_empty());
        let long = format!(r#"{{"type":"x","y":"{}"}}"#, "y".repeat(LINE_BYTES_MAX));
        assert_eq!(read_line(long.as_bytes()), None);
    }
}
