use std::fmt::Debug;
use std::str::FromStr;
use std::time::Duration;

use bytes::Bytes;
use rdev_domain::{Chunk, Command, CommandId, IdempotencyKey, Request, Seq, ShellRequest, State};

use super::START;
use crate::NewCommand;

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
        project: id(project),
        request: Request::Shell(ShellRequest { command: format!("echo {n}"), ..ShellRequest::default() }),
        timeout: Duration::from_secs(60),
        created_by: id("key-1"),
        created_at: START,
        cancel_requested: false,
        state: State::Pending,
    }
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
