//! Claude Code behind the port [`CodeAgent`]: its command line, and the JSON lines that it writes in print mode.
//!
//! Versions differ in fields, types and texts, so every line is read leniently: what is not known is passed on as
//! `other`, and nothing but the wrong shape of a field that decides makes a line unreadable.

mod cut;
mod event;
mod invocation;
mod judge;
mod line;

use rdev_domain::{AgentEvent, AgentProvider, AgentRequest};
use rdev_ports::{AgentCapabilities, AgentInvocation, AgentJudge, CodeAgent};

/// Claude Code, in print mode with `--output-format stream-json`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Claude;

impl CodeAgent for Claude {
    fn provider(&self) -> AgentProvider {
        AgentProvider::Claude
    }

    fn capabilities(&self) -> AgentCapabilities {
        AgentCapabilities { resume: true, model: true, max_turns: true }
    }

    fn invocation(&self, request: &AgentRequest) -> AgentInvocation {
        invocation::invocation(request)
    }

    fn read_line(&self, line: &[u8]) -> Option<AgentEvent> {
        event::read_line(line)
    }

    fn judge(&self) -> Box<dyn AgentJudge> {
        Box::<judge::Judge>::default()
    }
}
