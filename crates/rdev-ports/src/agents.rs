//! Coding agents: how one is started, and what its output says.

use rdev_domain::{AgentEvent, AgentProvider, AgentRequest, AgentVerdict};

/// Program that runs an agent in a project's pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentInvocation {
    /// Program and its arguments; at least one.
    pub argv: Vec<String>,
    /// Variables set for the program.
    pub env: Vec<(String, String)>,
    /// Standard input; the end of it is the end of the request.
    pub stdin: Vec<u8>,
    /// True: the agent is stopped by SIGINT first, as it ends its own children, and tells its result, only then.
    pub interrupt_first: bool,
}

/// Wishes of a request that an agent heeds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AgentCapabilities {
    /// The agent goes on with an earlier session.
    pub resume: bool,
    /// The agent runs with the model that is asked for.
    pub model: bool,
    /// The agent stops after as many turns as are asked for.
    pub max_turns: bool,
}

/// Coding agent. It knows the program's command line and output, and runs nothing.
pub trait CodeAgent: Send + Sync {
    /// Provider whose requests the agent runs; every event names it.
    fn provider(&self) -> AgentProvider;

    /// Wishes that [`CodeAgent::invocation`] passes on.
    fn capabilities(&self) -> AgentCapabilities;

    /// Program of a request. The prompt travels on standard input alone: an argument has a longest length, and may be
    /// read as an option.
    fn invocation(&self, request: &AgentRequest) -> AgentInvocation;

    /// Reads one line of standard output, without its newline, of any bytes. `None`: the line is no event, and is shown
    /// as it is. The same line is the same event always, whatever came before it, so a stream that is resumed renders
    /// the same. Fields and types that are not known never make a line unreadable.
    fn read_line(&self, line: &[u8]) -> Option<AgentEvent>;

    /// Judge of one run.
    fn judge(&self) -> Box<dyn AgentJudge>;
}

/// Judge of an agent's run: it reads standard output from its start to its end. Its memory is bounded, however long a
/// line is.
pub trait AgentJudge: Send + Sync {
    /// Reads the next bytes of standard output, cut anywhere. Returns the number of lines that have ended with them.
    fn read(&mut self, bytes: &[u8]) -> usize;

    /// Reads the end of standard output: a line without a newline ends there.
    fn end(&mut self);

    /// Verdict by what was read so far; `None` until the agent has told its result.
    fn verdict(&self) -> Option<&AgentVerdict>;
}
