//! What a request becomes as a program with arguments, environment and input.

use std::time::Duration;

use rdev_domain::{AgentRequest, Command, Request};
use rdev_ports::Place;
use rdev_runner::spec::Spec;

/// Time between the polite signal and SIGKILL.
pub(crate) const GRACE: Duration = Duration::from_secs(5);
/// Output kept of one command; what is beyond it is announced as a gap.
const OUTPUT_BYTES_MAX: u64 = 4 * 1024 * 1024 * 1024;

/// git never asks, never pages, and opens no editor: nobody is there to answer.
const GIT_ENV: [(&str, &str); 6] = [
    ("GIT_ALLOW_PROTOCOL", "file:git:http:https:ssh"),
    ("GIT_ASKPASS", "true"),
    ("GIT_EDITOR", "true"),
    ("GIT_PAGER", "cat"),
    ("GIT_SEQUENCE_EDITOR", "true"),
    ("GIT_TERMINAL_PROMPT", "0"),
];

/// The runner's specification of a command.
pub(crate) fn spec(command: &Command, place: &Place) -> Spec {
    let mut spec = match &command.request {
        Request::Shell(shell) => {
            let mut spec = Spec::new(words(["sh", "-c", &shell.command]));
            spec.env = shell.env.iter().map(|(k, v)| (k.clone(), v.clone())).collect();
            spec
        }
        Request::Git(git) => {
            let mut spec = Spec::new([vec!["git".to_owned()], git.args.clone()].concat());
            spec.env = GIT_ENV.map(|(k, v)| (k.to_owned(), v.to_owned())).to_vec();
            spec
        }
        Request::Claude(agent) => claude(agent),
    };
    spec.cwd.clone_from(&place.workspace);
    spec.timeout_ms = millis(command.timeout);
    spec.grace_ms = millis(GRACE);
    spec.journal_bytes_max = OUTPUT_BYTES_MAX;
    spec
}

/// Claude Code in print mode. The prompt goes in on standard input: an argument has a length limit, and
/// one that begins with a dash would be read as an option.
fn claude(agent: &AgentRequest) -> Spec {
    let mut argv = words(["claude", "-p", "--output-format", "stream-json", "--verbose"]);
    // The place itself is the sandbox, and nobody is there to be asked.
    argv.push("--dangerously-skip-permissions".to_owned());
    let mut option = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            argv.extend([name.to_owned(), value]);
        }
    };
    option("--model", agent.model.clone());
    option("--max-turns", agent.max_turns.map(|turns| turns.to_string()));
    option("--resume", agent.session_id.clone());
    let mut spec = Spec::new(argv);
    // Without it the agent refuses to skip permissions as root.
    spec.env = vec![("IS_SANDBOX".to_owned(), "1".to_owned())];
    spec.stdin = Some(agent.prompt.clone().into_bytes());
    spec.interrupt_first = true;
    spec
}

fn words<const N: usize>(words: [&str; N]) -> Vec<String> {
    words.map(str::to_owned).to_vec()
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
