//! Parses arguments to a request. Every refusal names the option, the value and the accepted ones.

use std::ffi::OsString;
use std::io::Read;
use std::path::PathBuf;
use std::time::Duration;

use lexopt::prelude::*;

use crate::fault::Fault;
use crate::folder::{ID_RULE, RunId, Runs};
use crate::identity;
use crate::spec::{RunRequest, SPEC_BYTES_MAX, Spec, read_arguments};

const RUNS_DEFAULT: &str = "/run/rdev";
/// Default limit of `drain` after the last end.
const DRAIN_WAIT: Duration = Duration::from_secs(120);
/// Last argument, after which the rest arrive on standard input: arguments that are secret, or too many
/// for a command line.
const MORE_ON_STDIN: &str = "--arguments-stdin";
const RUNS_VARIABLE: &str = "RDEV_RUNS_DIR";
/// Longest time that an option accepts: a hundred years, in seconds.
const SECONDS_MAX: f64 = 3_155_760_000.0;

/// One call of the program.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) runs: Runs,
    /// Identity that the folder of runs must have.
    pub(super) identity: Option<String>,
    pub(super) action: Action,
}

/// Action of a call.
#[derive(Debug)]
pub(super) enum Action {
    Help,
    Version,
    Run(RunId, Follow, Command),
    Attach(RunId, Follow),
    Cancel(RunId),
    List,
    /// Lists the ids of ended runs that are not collected, up to this number.
    ListUncollected(usize),
    /// Waits until all runs have ended and are collected, for this time at most after the last end.
    Drain(Duration),
    /// Sends the files of a folder that match these patterns.
    Collect(PathBuf, Vec<String>),
    /// Prints the folder of runs and its identity.
    Identity(identity::Claim),
    Gc(Vec<RunId>, Option<Duration>),
    /// Runs the request on standard input.
    RunRequest {
        text: bool,
    },
    /// Executes this program, with a umask and a soft limit of open files.
    Exec(Limits, Vec<String>),
    Supervise,
}

/// Settings of a program; `None`: those of this process.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Limits {
    pub(super) umask: Option<u32>,
    pub(super) open_files: Option<u64>,
}

/// Options of following a run.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Follow {
    pub(super) after: u64,
    pub(super) text: bool,
}

/// The command, and the source of its input.
#[derive(Debug)]
pub(super) struct Command {
    spec: Spec,
    /// Standard input of this process is the command's input.
    stdin: bool,
}

impl Command {
    /// Reads the command's input from standard input, if requested.
    pub(super) fn into_spec(self) -> Result<Spec, Fault> {
        let Self { mut spec, stdin } = self;
        if !stdin {
            return Ok(spec);
        }
        let mut bytes = Vec::new();
        let room = SPEC_BYTES_MAX.saturating_sub(spec.encode().len());
        std::io::stdin()
            .lock()
            .take(room as u64 + 1)
            .read_to_end(&mut bytes)
            .map_err(|e| Fault::io("cannot read standard input", e))?;
        if bytes.len() > room {
            return Err(Fault::usage(format!("--stdin: at most {room} bytes of input are accepted")));
        }
        spec.stdin = Some(bytes);
        Ok(spec)
    }
}

/// Waits for a run request on standard input; `None` when the input ends without one.
pub(super) fn request() -> Result<Option<RunRequest>, Fault> {
    RunRequest::read(&mut std::io::stdin().lock()).map_err(|e| Fault::usage(format!("--request-stdin: {e}")))
}

/// Returns the id in a run request.
pub(super) fn request_id(request: &RunRequest) -> Result<RunId, Fault> {
    RunId::parse(&request.id).ok_or_else(|| refused("request-stdin", &request.id, ID_RULE))
}

/// Options in the order of the arguments; each is checked against its command.
#[derive(Debug)]
struct Given {
    verb: Option<String>,
    runs: Option<PathBuf>,
    identity: Option<String>,
    ids: Vec<RunId>,
    follow: Follow,
    age: Option<Duration>,
    wait: Option<Duration>,
    uncollected: bool,
    limit: Option<usize>,
    claim: identity::Claim,
    limits: Limits,
    spec: Spec,
    request_stdin: bool,
    stdin: bool,
}

pub(super) fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Request, Fault> {
    let mut args: Vec<OsString> = args.into_iter().collect();
    if args.pop_if(|last| last == MORE_ON_STDIN).is_some() {
        let more = read_arguments(&mut std::io::stdin().lock());
        let more = more.map_err(|e| Fault::usage(format!("{MORE_ON_STDIN}: {e}")))?;
        args.extend(more.into_iter().map(OsString::from));
    }
    let mut parser = lexopt::Parser::from_args(args);
    let mut given = Given {
        verb: None,
        runs: None,
        identity: None,
        ids: Vec::new(),
        follow: Follow::default(),
        age: None,
        wait: None,
        uncollected: false,
        limit: None,
        claim: identity::Claim::default(),
        limits: Limits::default(),
        spec: Spec::new(Vec::new()),
        request_stdin: false,
        stdin: false,
    };
    while let Some(arg) = parser.next().map_err(usage)? {
        match arg {
            Long("help") | Short('h') => return Ok(given.request(Action::Help)),
            Long("version") | Short('V') => return Ok(given.request(Action::Version)),
            Value(verb) if given.verb.is_none() => given.verb = Some(known_verb(text("command", verb)?)?),
            Value(first) if matches!(given.verb.as_deref(), Some("run" | "collect" | "exec")) => {
                given.spec.argv.push(text("argument", first)?);
                for rest in parser.raw_args().map_err(usage)? {
                    given.spec.argv.push(text("argument", rest)?);
                }
            }
            Value(other) => return Err(Fault::usage(format!("{other:?} is one argument too many"))),
            Long(name) => {
                let name = name.to_owned();
                given.option(&name, &mut parser)?;
            }
            Short(letter) => return Err(Fault::usage(format!("-{letter} is no option"))),
        }
    }
    given.finish()
}

impl Given {
    fn option(&mut self, name: &str, parser: &mut lexopt::Parser) -> Result<(), Fault> {
        let verb = self.verb.as_deref().unwrap_or_default();
        let fits = match name {
            "runs" => true,
            "identity" => matches!(verb, "attach" | "cancel" | "list" | "gc" | "collect" | "exec"),
            "id" => !matches!(verb, "" | "list" | "drain" | "identity" | "collect" | "exec"),
            "after" | "text" => matches!(verb, "run" | "attach"),
            "older-than" => verb == "gc",
            "wait" => verb == "drain",
            "uncollected" | "limit" => verb == "list",
            "within" | "instead-of" => verb == "identity",
            "umask" | "open-files" => verb == "exec",
            "cwd" => matches!(verb, "run" | "collect"),
            "request-stdin" | "env" | "timeout" | "grace" | "journal-max" | "stdin" | "interrupt" => {
                verb == "run"
            }
            _ => false,
        };
        if !fits {
            let identity = if verb.is_empty() { "before a command" } else { verb };
            return Err(Fault::usage(format!("--{name} is no option of {identity}")));
        }
        match name {
            "text" => self.follow.text = true,
            "request-stdin" => self.request_stdin = true,
            "stdin" => self.stdin = true,
            "interrupt" => self.spec.interrupt_first = true,
            "uncollected" => self.uncollected = true,
            _ => {
                let value = parser.value().map_err(usage)?;
                if name == "runs" {
                    self.runs = Some(value.into());
                } else {
                    self.valued(name, text(&format!("--{name}"), value)?)?;
                }
            }
        }
        Ok(())
    }

    fn valued(&mut self, name: &str, value: String) -> Result<(), Fault> {
        match name {
            "id" => self.ids.push(RunId::parse(&value).ok_or_else(|| refused(name, &value, ID_RULE))?),
            "identity" => self.identity = Some(value),
            "after" => self.follow.after = number(name, &value)?,
            "older-than" => self.age = Some(seconds(name, &value)?),
            "wait" => self.wait = Some(seconds(name, &value)?),
            "limit" => self.limit = Some(usize::try_from(number(name, &value)?).unwrap_or(usize::MAX)),
            "within" => self.claim.within = value,
            "instead-of" => self.claim.instead_of = Some(value),
            "umask" => self.limits.umask = Some(mode(name, &value)?),
            "open-files" => self.limits.open_files = Some(number(name, &value)?),
            "timeout" => self.spec.timeout_ms = milliseconds(seconds(name, &value)?),
            "grace" => self.spec.grace_ms = milliseconds(seconds(name, &value)?),
            "journal-max" => self.spec.journal_bytes_max = number(name, &value)?,
            "cwd" => self.spec.cwd = value,
            _ => match value.split_once('=') {
                Some((key, setting)) if !key.is_empty() => {
                    self.spec.env.push((key.to_owned(), setting.to_owned()));
                }
                _ => return Err(refused(name, &value, "NAME=VALUE is accepted")),
            },
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Request, Fault> {
        let Some(verb) = self.verb.take() else {
            return Err(Fault::usage(format!("a command is needed: {VERBS}")));
        };
        let ids = std::mem::take(&mut self.ids);
        let needed = || match ids.as_slice() {
            [id] => Ok(id.clone()),
            [] => Err(Fault::usage(format!("{verb} needs --id; {ID_RULE}"))),
            _ => Err(Fault::usage(format!("{verb} takes one --id"))),
        };
        let action = match verb.as_str() {
            "run" if self.request_stdin => return self.run_request(&ids),
            "run" => Action::Run(needed()?, self.follow, self.command()?),
            "attach" => Action::Attach(needed()?, self.follow),
            "cancel" => Action::Cancel(needed()?),
            "list" => self.list()?,
            "drain" => Action::Drain(self.wait.unwrap_or(DRAIN_WAIT)),
            "collect" => self.collect()?,
            "identity" => Action::Identity(std::mem::take(&mut self.claim)),
            "gc" => Action::Gc(ids, self.age),
            "exec" => self.exec()?,
            _ => Action::Supervise,
        };
        Ok(self.request(action))
    }

    fn list(&self) -> Result<Action, Fault> {
        match (self.uncollected, self.limit) {
            (true, limit) => Ok(Action::ListUncollected(limit.unwrap_or(usize::MAX))),
            (false, None) => Ok(Action::List),
            (false, Some(_)) => Err(Fault::usage("--limit is for --uncollected")),
        }
    }

    fn collect(&mut self) -> Result<Action, Fault> {
        let Spec { argv, cwd, .. } = std::mem::replace(&mut self.spec, Spec::new(Vec::new()));
        if argv.is_empty() || cwd.is_empty() {
            return Err(Fault::usage("collect needs a folder and patterns: --cwd DIR -- PATTERN..."));
        }
        Ok(Action::Collect(cwd.into(), argv))
    }

    fn exec(&mut self) -> Result<Action, Fault> {
        let Spec { argv, .. } = std::mem::replace(&mut self.spec, Spec::new(Vec::new()));
        if argv.is_empty() {
            return Err(Fault::usage("exec needs a program: -- PROGRAM [ARGUMENT]..."));
        }
        Ok(Action::Exec(self.limits, argv))
    }

    fn run_request(self, ids: &[RunId]) -> Result<Request, Fault> {
        let follow = self.follow;
        if !ids.is_empty() || follow.after > 0 || self.stdin || self.spec != Spec::new(Vec::new()) {
            let message = "--request-stdin brings the whole order; no other option of it is accepted";
            return Err(Fault::usage(message));
        }
        Ok(self.request(Action::RunRequest { text: follow.text }))
    }

    fn command(&mut self) -> Result<Command, Fault> {
        let spec = std::mem::replace(&mut self.spec, Spec::new(Vec::new()));
        if spec.argv.is_empty() {
            return Err(Fault::usage(
                "run needs a command: -- COMMAND [ARGUMENT]... or, with its id, --request-stdin",
            ));
        }
        Ok(Command { spec, stdin: self.stdin })
    }

    #[expect(clippy::disallowed_methods, reason = "this program has no other configuration, and no rdev-api")]
    fn request(self, action: Action) -> Request {
        let from_environment = || std::env::var_os(RUNS_VARIABLE).filter(|dir| !dir.is_empty());
        let runs = self.runs.or_else(|| from_environment().map(PathBuf::from));
        Request { runs: Runs(runs.unwrap_or_else(|| RUNS_DEFAULT.into())), identity: self.identity, action }
    }
}

const VERBS: &str = "run, attach, cancel, list, gc, drain, collect, identity or exec";

fn known_verb(verb: String) -> Result<String, Fault> {
    match verb.as_str() {
        "run" | "attach" | "cancel" | "list" | "gc" | "drain" | "collect" | "identity" | "exec"
        | "supervise" => Ok(verb),
        _ => Err(Fault::usage(format!("{verb:?} is no command; {VERBS} is accepted"))),
    }
}

fn usage(error: lexopt::Error) -> Fault {
    Fault::usage(error.to_string())
}

fn refused(name: &str, value: &str, accepted: &str) -> Fault {
    Fault::usage(format!("--{name} {value:?}: {accepted}"))
}

fn text(name: &str, value: OsString) -> Result<String, Fault> {
    value.into_string().map_err(|value| Fault::usage(format!("{name} {value:?}: only UTF-8 is accepted")))
}

fn number(name: &str, value: &str) -> Result<u64, Fault> {
    let number = value.parse().ok().filter(|&number| number <= i64::MAX as u64);
    number.ok_or_else(|| refused(name, value, "a whole number, 0 or more, is accepted"))
}

fn mode(name: &str, value: &str) -> Result<u32, Fault> {
    let mode = u32::from_str_radix(value, 8).ok().filter(|&mode| mode <= 0o777);
    mode.ok_or_else(|| refused(name, value, "an octal number up to 777 is accepted"))
}

fn seconds(name: &str, value: &str) -> Result<Duration, Fault> {
    let seconds = value.parse().ok().filter(|seconds| (0.0..=SECONDS_MAX).contains(seconds));
    seconds
        .map(Duration::from_secs_f64)
        .ok_or_else(|| refused(name, value, "a number of seconds, 0 or more, is accepted"))
}

/// Rounds up, so a time that is not zero stays so: zero means no limit.
fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_micros().div_ceil(1000)).unwrap_or(u64::MAX)
}
