use std::collections::BTreeMap;
use std::fmt::Debug;
use std::str::FromStr;
use std::time::Duration;

use bytes::Bytes;
use rdev_domain::{
    Chunk, Command, CommandId, Home, IdempotencyKey, Request, Schedule, Seq, ShellRequest, State, WorkKind,
    WorkRequest,
};

use super::START;
use crate::{NewCommand, Slots};

/// An id, of whatever kind is wanted.
pub fn id<T: FromStr<Err: Debug>>(text: &str) -> T {
    text.parse().expect("a test names a valid id")
}

/// The `n`th command's id; a higher number sorts after a lower one.
pub(crate) fn command_id(n: u64) -> CommandId {
    id(&format!("cmd-{n:032x}"))
}

/// The `n`th command, as a project's caller asks for it at [`START`].
pub fn command(project: &str, n: u64) -> Command {
    let command = command_id(n);
    Command {
        stream: (&command).into(),
        id: command,
        home: id(project),
        request: Request::Shell(ShellRequest { command: format!("echo {n}"), ..ShellRequest::default() }),
        timeout: Duration::from_secs(60),
        created_by: id("key-1"),
        created_at: START,
        cancel_requested: false,
        schedule: Schedule::default(),
        state: State::Pending,
    }
}

/// The `n`th command, as a task of the pool that may be tried three times.
pub fn task(kind: WorkKind, n: u64) -> Command {
    let work = WorkRequest {
        kind,
        repository: None,
        git_ref: None,
        steps: vec![format!("echo {n}")],
        env: BTreeMap::new(),
        artefacts: Vec::new(),
        project: None,
        concurrency_key: None,
    };
    let schedule = Schedule { max_attempts: 3, ..Schedule::default() };
    Command { home: Home::Pool, request: Request::Work(work), schedule, ..command("demo", n) }
}

/// A command to be stored, without any key.
pub fn new_command(command: Command) -> NewCommand {
    NewCommand { command, concurrency_key: None, idempotency: None }
}

/// The idempotency key `value` of an API key, for the request that `request` stands for.
pub fn idempotency_key(key: &str, value: &str, request: u8) -> IdempotencyKey {
    IdempotencyKey { key: id(key), value: value.to_owned(), fingerprint: [request; 32] }
}

/// Output with the events `first` to `last`; the stores do not look into it.
pub fn chunk(first: u64, last: u64) -> Chunk {
    Chunk {
        first_seq: Seq(first),
        last_seq: Seq(last),
        frames: Bytes::from(format!("events {first} to {last}\n")),
    }
}

/// Room for so many commands of projects, and as many tasks of the pool.
pub fn slots(n: u32) -> Slots {
    Slots { commands: n, pool: n }
}
