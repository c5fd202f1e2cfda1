//! Validation of requests: collects every invalid field before it reports.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::artefact::check_pattern;
use crate::checkout::{check_ref, check_repository};
use crate::text::shown;
use crate::{
    AgentRequest, CommandRequest, FieldError, GitRequest, Schedule, ShellRequest, TaskKind, TaskRequest,
    check_git_args,
};

/// Limits of requests.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Longest prompt, in bytes; it reaches the agent on standard input.
    pub prompt_bytes_max: usize,
    /// Most variables or arguments.
    pub items_max: usize,
    /// Longest shell line, argument or value, in bytes: the kernel accepts no argument of 128 KiB.
    pub item_bytes_max: usize,
    /// Most steps of a task.
    pub steps_max: usize,
    /// Most bytes of all steps and variables of a task: the kernel limits the size of arguments and
    /// environment.
    pub work_bytes_max: usize,
    /// Most artefact patterns of a task.
    pub artefacts_max: usize,
    /// Longest concurrency key, in bytes.
    pub key_bytes_max: usize,
    /// Largest absolute value of a priority.
    pub priority_max: i32,
    /// Most attempts of a task.
    pub attempts_max: u32,
    /// Longest timeout of a job.
    pub timeout_max: Duration,
    /// Absolute path of the folder whose bare repositories git may access by path; `None`: by address
    /// only.
    pub git_remotes: Option<String>,
}

impl Limits {
    /// The limits of this build.
    pub const DEFAULT: Self = Self {
        prompt_bytes_max: 1024 * 1024,
        items_max: 256,
        item_bytes_max: 128 * 1024 - 1,
        steps_max: 64,
        work_bytes_max: 1024 * 1024,
        artefacts_max: 32,
        key_bytes_max: 255,
        priority_max: 100,
        attempts_max: 20,
        timeout_max: Duration::from_secs(7 * 24 * 3600),
        git_remotes: None,
    };
}

/// Collects everything that is wrong with a request, so its author receives all of it at once.
#[derive(Debug, Default)]
pub struct Validate {
    errors: Vec<FieldError>,
}

impl Validate {
    /// Records one more invalid field.
    pub fn fail(&mut self, field: impl Into<String>, message: impl Into<String>) {
        self.errors.push(FieldError { field: field.into(), message: message.into() });
    }

    /// Parses an id, or records why it is invalid.
    pub fn parse<T: std::str::FromStr<Err = crate::IdError>>(
        &mut self,
        field: &str,
        text: &str,
    ) -> Option<T> {
        text.parse().map_err(|error: crate::IdError| self.fail(field, error.to_string())).ok()
    }

    /// Returns the timeout of a job, or records why the requested one is invalid.
    pub fn timeout(&mut self, limits: &Limits, seconds: Option<u64>, default: Duration) -> Duration {
        let max = limits.timeout_max.as_secs();
        match seconds {
            None => default,
            Some(seconds) if (1..=max).contains(&seconds) => Duration::from_secs(seconds),
            Some(seconds) => {
                self.fail("timeout_seconds", format!("{seconds} is not valid: 1 to {max} seconds"));
                default
            }
        }
    }

    /// Checks all fields of a command.
    pub fn request(&mut self, limits: &Limits, request: &CommandRequest) {
        match request {
            CommandRequest::Claude(agent) => self.agent(limits, agent),
            CommandRequest::Shell(shell) => self.shell(limits, shell),
            CommandRequest::Git(git) => self.git(limits, git),
        }
    }

    /// Returns `Ok` when no invalid field was recorded.
    pub fn finish(self) -> crate::Result<()> {
        if self.errors.is_empty() { Ok(()) } else { Err(crate::Error::Invalid(self.errors)) }
    }

    fn agent(&mut self, limits: &Limits, agent: &AgentRequest) {
        self.text("prompt", &agent.prompt, limits.prompt_bytes_max);
        if !agent.prompt.is_empty() && agent.prompt.trim().is_empty() {
            self.fail("prompt", "must not be blank");
        }
        if agent.prompt.contains('\0') {
            self.fail("prompt", "contains a NUL byte, which no agent accepts");
        }
        for (field, value) in [("session_id", &agent.session_id), ("model", &agent.model)] {
            let Some(value) = value else { continue };
            let good = |b: u8| b.is_ascii_alphanumeric() || b"._-:/@[]".contains(&b);
            if value.is_empty() || value.len() > 200 || value.starts_with('-') || !value.bytes().all(good) {
                self.fail(
                    field,
                    format!(
                        "{:?} is not valid: 1 to 200 letters, digits and . _ - : / @ [ ], not beginning with '-'",
                        shown(value)
                    ),
                );
            }
        }
        if let Some(turns) = agent.max_turns.filter(|turns| !(1..=1000).contains(turns)) {
            self.fail("max_turns", format!("{turns} is not valid: 1 to 1000"));
        }
    }

    fn shell(&mut self, limits: &Limits, shell: &ShellRequest) {
        self.text("command", &shell.command, limits.item_bytes_max);
        self.no_nul("command", &shell.command);
        self.env(limits, &shell.env);
    }

    /// Checks a task of the pool.
    pub fn task(&mut self, limits: &Limits, work: &TaskRequest) {
        match &work.repository {
            Some(repository) => self.check("repository", check_repository(repository)),
            None if work.kind == TaskKind::Shell => {}
            None => self.fail("repository", format!("a {} needs a repository", work.kind.as_str())),
        }
        if let Some(name) = &work.git_ref {
            self.check("ref", check_ref(name));
            if work.repository.is_none() {
                self.fail("ref", "requires a repository");
            }
        }
        let count = work.steps.len();
        if !(1..=limits.steps_max).contains(&count) {
            self.fail("steps", format!("{count} entries; 1 to {} are accepted", limits.steps_max));
        }
        for (index, step) in work.steps.iter().enumerate() {
            let field = format!("steps[{index}]");
            self.text(&field, step, limits.item_bytes_max);
            self.no_nul(&field, step);
        }
        self.env(limits, &work.env);
        let (count, max) = (work.artefacts.len(), limits.artefacts_max);
        if count > max {
            self.fail("artefacts", format!("{count} entries; at most {max} are accepted"));
        }
        for (index, pattern) in work.artefacts.iter().enumerate() {
            self.check(&format!("artefacts[{index}]"), check_pattern(pattern));
        }
        let bytes = work.steps.iter().map(String::len).sum::<usize>()
            + work.env.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>();
        if bytes > limits.work_bytes_max {
            let max = limits.work_bytes_max;
            self.fail("steps", format!("{bytes} bytes together with env; at most {max} are accepted"));
        }
        if let Some(key) = &work.concurrency_key {
            let good = (1..=limits.key_bytes_max).contains(&key.len())
                && key.chars().all(|letter| !letter.is_control());
            if !good {
                let max = limits.key_bytes_max;
                self.fail(
                    "concurrency_key",
                    format!("1 to {max} bytes without control characters are accepted"),
                );
            }
        }
    }

    /// Checks priority and number of attempts.
    pub fn schedule(&mut self, limits: &Limits, schedule: &Schedule) {
        let (priority, max) = (schedule.priority, limits.priority_max);
        if !(-max..=max).contains(&priority) {
            self.fail("priority", format!("{priority} is not valid: -{max} to {max}"));
        }
        let (attempts, max) = (schedule.max_attempts, limits.attempts_max);
        if !(1..=max).contains(&attempts) {
            self.fail("max_attempts", format!("{attempts} is not valid: 1 to {max}"));
        }
    }

    fn check(&mut self, field: &str, result: Result<(), String>) {
        if let Err(message) = result {
            self.fail(field, message);
        }
    }

    fn env(&mut self, limits: &Limits, env: &BTreeMap<String, String>) {
        self.count(limits, "env", env.len());
        for (name, value) in env {
            let field = format!("env.{}", shown(name));
            let first = |b: &u8| b.is_ascii_alphabetic() || *b == b'_';
            let good = name.as_bytes().first().is_some_and(first)
                && name.len() <= 200
                && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
            if !good {
                self.fail(
                    &field,
                    "the name is not valid: 1 to 200 letters, digits and '_', not beginning with a digit",
                );
            }
            self.item(limits, &field, value);
        }
    }

    fn git(&mut self, limits: &Limits, git: &GitRequest) {
        self.count(limits, "args", git.args.len());
        for (index, arg) in git.args.iter().enumerate() {
            self.item(limits, &format!("args[{index}]"), arg);
        }
        if let Err(error) = check_git_args(&git.args, limits.git_remotes.as_deref()) {
            self.errors.push(error);
        }
    }

    fn text(&mut self, field: &str, text: &str, bytes_max: usize) {
        if text.is_empty() {
            self.fail(field, "must not be empty");
        }
        self.length(field, text, bytes_max);
    }

    fn item(&mut self, limits: &Limits, field: &str, text: &str) {
        self.length(field, text, limits.item_bytes_max);
        self.no_nul(field, text);
    }

    fn length(&mut self, field: &str, text: &str, bytes_max: usize) {
        if text.len() > bytes_max {
            self.fail(field, format!("{} bytes; at most {bytes_max} are accepted", text.len()));
        }
    }

    fn no_nul(&mut self, field: &str, text: &str) {
        if text.contains('\0') {
            self.fail(field, "contains a NUL byte, which no argument can carry");
        }
    }

    fn count(&mut self, limits: &Limits, field: &str, count: usize) {
        if count > limits.items_max {
            self.fail(field, format!("{count} entries; at most {} are accepted", limits.items_max));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(request: CommandRequest) -> Vec<String> {
        let mut validate = Validate::default();
        validate.request(&Limits::DEFAULT, &request);
        match validate.finish() {
            Ok(()) => Vec::new(),
            Err(crate::Error::Invalid(errors)) => errors.into_iter().map(|e| e.field).collect(),
            Err(other) => panic!("{other}"),
        }
    }

    #[test]
    fn all_invalid_fields_are_reported_at_once() {
        let request = CommandRequest::Claude(AgentRequest {
            prompt: String::new(),
            session_id: Some("--resume".into()),
            model: Some(String::new()),
            max_turns: Some(0),
        });
        assert_eq!(fields(request), ["prompt", "session_id", "model", "max_turns"]);
    }

    #[test]
    fn a_blank_prompt_is_refused() {
        let agent = |prompt: &str| AgentRequest { prompt: prompt.to_owned(), ..AgentRequest::default() };
        for blank in ["", " ", " \n\t", "\u{3000}"] {
            assert_eq!(fields(CommandRequest::Claude(agent(blank))), ["prompt"], "{blank:?}");
        }
        assert!(fields(CommandRequest::Claude(agent(" x "))).is_empty());
    }

    #[test]
    fn shell_takes_sound_names_and_values() {
        let env = [("A_1", "x"), ("1A", "x"), ("B", "a\0b"), ("", "x")];
        let env = env.map(|(k, v)| (k.to_owned(), v.to_owned())).into_iter().collect();
        let request = CommandRequest::Shell(ShellRequest { command: "true".into(), env });
        assert_eq!(fields(request), ["env.", "env.1A", "env.B"]);
    }

    #[test]
    fn a_shell_line_has_a_limit() {
        let max = Limits::DEFAULT.item_bytes_max;
        let shell = |n| CommandRequest::Shell(ShellRequest { command: "x".repeat(n), ..Default::default() });
        assert!(fields(shell(max)).is_empty());
        assert_eq!(fields(shell(max + 1)), ["command"]);
    }
}
