//! Coding agents: typed events of their output, whichever agent wrote it, and the verdict on a run.

use std::time::Duration;

use crate::{Ending, Failure, Json, Outcome, Reason};

/// Coding agent that rdev can run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AgentProvider {
    /// Claude Code.
    Claude,
}

impl AgentProvider {
    /// Name of the agent in requests and answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Claude => "claude",
        }
    }
}

/// One line of an agent's output, typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentEvent {
    /// Agent that wrote the line.
    pub provider: AgentProvider,
    /// The agent's own session.
    pub session_id: Option<String>,
    /// Tokens used in the turn, as far as the line tells them.
    pub usage: Option<AgentUsage>,
    /// Cost of the run so far in millionths of a US dollar, as far as the line tells it.
    pub cost_micro_usd: Option<u64>,
    /// First block of the line.
    pub first: AgentBlock,
    /// Blocks that follow the first one; mostly none.
    pub rest: Vec<AgentBlock>,
}

/// Tokens that an agent has used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
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

/// Part of an agent's line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AgentBlock {
    /// Start of a turn.
    Init,
    /// Text of the agent.
    Message {
        /// The text.
        text: String,
        /// True: the text tells of an error, not of the work.
        is_error: bool,
    },
    /// Reasoning of the model; without text where the model keeps it to itself.
    Thinking {
        /// The text.
        text: Option<String>,
    },
    /// Call of a tool.
    ToolUse {
        /// Name of the tool.
        tool: String,
        /// Id of the call, which its result names.
        tool_use_id: Option<String>,
        /// Arguments of the call.
        input: Option<Json>,
    },
    /// Result of a tool's call.
    ToolResult {
        /// Id of the call.
        tool_use_id: Option<String>,
        /// Text of the result.
        text: Option<String>,
        /// Result as the agent wrote it, where it is more than a text.
        content: Option<Json>,
        /// True: the tool failed, or was not allowed to run.
        is_error: bool,
    },
    /// Question whether a tool may be used.
    PermissionRequest {
        /// Name of the tool.
        tool: String,
        /// Id of the call that waits for the answer.
        tool_use_id: Option<String>,
        /// Arguments of the call.
        input: Option<Json>,
    },
    /// Tokens or cost alone.
    Usage,
    /// End of a turn, with what came of it.
    Result {
        /// Last words of the agent, or its errors.
        text: Option<String>,
        /// True: the turn failed.
        is_error: bool,
    },
    /// Anything else, also what this version does not know.
    Other {
        /// Name of it, in the agent's own words.
        name: String,
        /// Text for people, where there is one.
        text: Option<String>,
        /// The line or block as the agent wrote it.
        content: Json,
    },
}

impl AgentBlock {
    /// Type of the block in events.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Init => "init",
            Self::Message { .. } => "message",
            Self::Thinking { .. } => "thinking",
            Self::ToolUse { .. } => "tool_use",
            Self::ToolResult { .. } => "tool_result",
            Self::PermissionRequest { .. } => "permission_request",
            Self::Usage => "usage",
            Self::Result { .. } => "result",
            Self::Other { .. } => "other",
        }
    }
}

impl AgentEvent {
    /// Returns all blocks of the line, in order.
    pub fn blocks(&self) -> impl Iterator<Item = &AgentBlock> {
        std::iter::once(&self.first).chain(&self.rest)
    }

    /// Returns the line as text for people: the agent's words as they are, everything else with its name in brackets.
    /// Blocks are separated by newlines.
    pub fn to_text(&self) -> String {
        let texts: Vec<String> = self.blocks().map(|block| self.block_text(block)).collect();
        texts.join("\n")
    }

    fn block_text(&self, block: &AgentBlock) -> String {
        let named = |name: &str, rest: &str| {
            if rest.is_empty() { format!("[{name}]") } else { format!("[{name}] {rest}") }
        };
        let arguments = |input: &Option<Json>| input.as_ref().map_or("", Json::as_str).to_owned();
        match block {
            AgentBlock::Init => named("init", self.session_id.as_deref().unwrap_or_default()),
            AgentBlock::Message { text, .. } => text.clone(),
            AgentBlock::Thinking { text } => named("thinking", text.as_deref().unwrap_or_default()),
            AgentBlock::ToolUse { tool, input, .. } => named(tool, &arguments(input)),
            AgentBlock::ToolResult { text, content, is_error, .. } => {
                let content = content.as_ref().map(Json::as_str);
                let text = text.as_deref().or(content).unwrap_or_default();
                named(if *is_error { "tool_error" } else { "tool_result" }, text)
            }
            AgentBlock::PermissionRequest { tool, input, .. } => {
                named("permission_request", &format!("{tool} {}", arguments(input)))
            }
            AgentBlock::Usage => named("usage", ""),
            AgentBlock::Result { text, is_error } => {
                named(if *is_error { "error" } else { "result" }, text.as_deref().unwrap_or_default())
            }
            AgentBlock::Other { name, text, .. } => named(name, text.as_deref().unwrap_or_default()),
        }
    }
}

/// Verdict of an agent on its own run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AgentVerdict {
    /// The agent came to its result.
    Success,
    /// The agent ended its work with an error.
    Failed(Failure),
}

impl Outcome {
    /// Corrects the end of an agent's process by what the agent said: exit code 0 alone is no success. An end that
    /// somebody asked for, or that has another cause, stays.
    #[must_use]
    pub fn judged(self, verdict: Option<&AgentVerdict>) -> Self {
        let by_itself = matches!(self.ending, Ending::Completed | Ending::Failed(Reason::ExitCode));
        let failure = match (verdict, self.ending) {
            (Some(AgentVerdict::Failed(failure)), _) if by_itself => failure.clone(),
            (None, Ending::Completed) => Failure::new(Reason::NoResult, "the agent ended without a result"),
            _ => return self,
        };
        Self { ending: Ending::Failed(failure.reason), message: Some(failure.message), ..self }
    }

    /// Corrects the end of an agent that rdev has stopped, as the agent was silent for `silence` after its result and did
    /// not end. Without a result the end stays.
    #[must_use]
    pub fn hung(self, verdict: Option<&AgentVerdict>, silence: Duration) -> Self {
        if verdict.is_none() {
            return self;
        }
        let message = format!("it came to a result, and did not end in {} s after it", silence.as_secs());
        Self { ending: Ending::Failed(Reason::HungAfterResult), message: Some(message), ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(text: &str) -> Json {
        Json::new(serde_json::from_str(text).unwrap())
    }

    fn event(first: AgentBlock, rest: Vec<AgentBlock>) -> AgentEvent {
        AgentEvent {
            provider: AgentProvider::Claude,
            session_id: Some("s-1".to_owned()),
            usage: None,
            cost_micro_usd: None,
            first,
            rest,
        }
    }

    #[test]
    fn every_block_has_a_type_and_a_text_for_people() {
        let id = || Some("t-1".to_owned());
        let input = || Some(json(r#"{"command":"ls"}"#));
        let text = |text: &str| Some(text.to_owned());
        let cases = [
            (AgentBlock::Init, "init", "[init] s-1"),
            (AgentBlock::Message { text: "Done.".to_owned(), is_error: false }, "message", "Done."),
            (AgentBlock::Thinking { text: text("hm") }, "thinking", "[thinking] hm"),
            (AgentBlock::Thinking { text: None }, "thinking", "[thinking]"),
            (
                AgentBlock::ToolUse { tool: "Bash".to_owned(), tool_use_id: id(), input: input() },
                "tool_use",
                r#"[Bash] {"command":"ls"}"#,
            ),
            (
                AgentBlock::ToolResult { tool_use_id: id(), text: text("a"), content: None, is_error: false },
                "tool_result",
                "[tool_result] a",
            ),
            (
                AgentBlock::ToolResult {
                    tool_use_id: id(),
                    text: None,
                    content: Some(json("[1]")),
                    is_error: true,
                },
                "tool_result",
                "[tool_error] [1]",
            ),
            (
                AgentBlock::PermissionRequest { tool: "Bash".to_owned(), tool_use_id: id(), input: input() },
                "permission_request",
                r#"[permission_request] Bash {"command":"ls"}"#,
            ),
            (AgentBlock::Usage, "usage", "[usage]"),
            (AgentBlock::Result { text: text("Done."), is_error: false }, "result", "[result] Done."),
            (AgentBlock::Result { text: None, is_error: true }, "result", "[error]"),
            (
                AgentBlock::Other { name: "system/status".to_owned(), text: None, content: json("{}") },
                "other",
                "[system/status]",
            ),
        ];
        for (block, kind, text) in cases {
            assert_eq!(block.kind(), kind);
            assert_eq!(event(block, Vec::new()).to_text(), text);
        }
    }

    #[test]
    fn blocks_are_told_in_their_order() {
        let said = |text: &str| AgentBlock::Message { text: text.to_owned(), is_error: false };
        let event = event(said("a"), vec![said("b"), AgentBlock::Init]);
        assert_eq!(event.to_text(), "a\nb\n[init] s-1");
        assert_eq!(event.blocks().count(), 3);
        assert_eq!(event.provider.as_str(), "claude");
    }

    fn ended(ending: Ending) -> Outcome {
        Outcome { ending, exit_code: Some(0), message: None, duration: Duration::ZERO }
    }

    #[test]
    fn exit_code_0_is_a_success_only_with_a_result() {
        let failed = AgentVerdict::Failed(Failure::new(Reason::Quota, "429"));
        let (completed, exit_code) = (Ending::Completed, Ending::Failed(Reason::ExitCode));
        let cases = [
            (completed, Some(&AgentVerdict::Success), completed, None),
            (completed, None, Ending::Failed(Reason::NoResult), Some("the agent ended without a result")),
            (completed, Some(&failed), Ending::Failed(Reason::Quota), Some("429")),
            (exit_code, Some(&failed), Ending::Failed(Reason::Quota), Some("429")),
            (exit_code, Some(&AgentVerdict::Success), exit_code, None),
            (exit_code, None, exit_code, None),
            (Ending::Cancelled, Some(&failed), Ending::Cancelled, None),
            (Ending::TimedOut, None, Ending::TimedOut, None),
            (Ending::Failed(Reason::OomKilled), Some(&failed), Ending::Failed(Reason::OomKilled), None),
        ];
        for (ending, verdict, judged, message) in cases {
            let outcome = ended(ending).judged(verdict);
            assert_eq!((outcome.ending, outcome.message.as_deref()), (judged, message), "{ending:?}");
            assert_eq!(outcome.exit_code, Some(0));
        }
    }

    #[test]
    fn only_an_agent_with_a_result_hangs_after_it() {
        let silence = Duration::from_secs(10);
        assert_eq!(ended(Ending::Cancelled).hung(None, silence), ended(Ending::Cancelled));
        let hung = ended(Ending::Cancelled).hung(Some(&AgentVerdict::Success), silence);
        assert_eq!(hung.ending, Ending::Failed(Reason::HungAfterResult));
        assert_eq!(hung.message.as_deref(), Some("it came to a result, and did not end in 10 s after it"));
    }
}
