//! Command line of Claude Code.

use rdev_domain::AgentRequest;
use rdev_ports::AgentInvocation;

/// Claude Code in print mode. The prompt goes in on standard input: an argument has a length limit, and
/// one that begins with a dash would be read as an option.
pub(crate) fn invocation(request: &AgentRequest) -> AgentInvocation {
    let mut argv =
        ["claude", "-p", "--output-format", "stream-json", "--verbose"].map(str::to_owned).to_vec();
    // The pod itself is the sandbox, and nobody is there to be asked.
    argv.push("--dangerously-skip-permissions".to_owned());
    let mut option = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            argv.extend([name.to_owned(), value]);
        }
    };
    option("--model", request.model.clone());
    option("--max-turns", request.max_turns.map(|turns| turns.to_string()));
    option("--resume", request.session_id.clone());
    AgentInvocation {
        argv,
        // Without it the agent refuses to skip permissions as root.
        env: vec![("IS_SANDBOX".to_owned(), "1".to_owned())],
        stdin: request.prompt.clone().into_bytes(),
        interrupt_first: true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_becomes_a_command_line() {
        let request = AgentRequest { prompt: "-x".to_owned(), ..AgentRequest::default() };
        let plain = "claude -p --output-format stream-json --verbose --dangerously-skip-permissions";
        let run = invocation(&request);
        assert_eq!(run.argv.join(" "), plain);
        assert_eq!(run.stdin, b"-x");
        assert_eq!(run.env, [("IS_SANDBOX".to_owned(), "1".to_owned())]);
        assert!(run.interrupt_first);
        let request = AgentRequest {
            session_id: Some("s".to_owned()),
            model: Some("haiku".to_owned()),
            max_turns: Some(3),
            ..request
        };
        let wished = invocation(&request).argv.join(" ");
        assert_eq!(wished, format!("{plain} --model haiku --max-turns 3 --resume s"));
    }
}
