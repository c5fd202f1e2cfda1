//! Detaches from the process that started us: its session, its signals, its standard streams.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use rustix::process::{getpid, set_child_subreaper, setsid};
use rustix::stdio::{dup2_stderr, dup2_stdin, dup2_stdout};
use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGPIPE, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGXFSZ};
use signal_hook::{flag, low_level::pipe};

/// Sockets that become readable on a signal.
#[derive(Debug)]
pub(crate) struct Signals {
    /// A process below us has ended.
    pub(crate) child: UnixStream,
    /// A request to end us, and so the command.
    pub(crate) terminate: UnixStream,
}

/// Detaches this process, and makes it the subreaper of every process below it.
pub(crate) fn detach() -> io::Result<Signals> {
    // Fails only for the leader of a group, which is detached already.
    setsid().ok();
    set_child_subreaper(Some(getpid()))?;
    // Signals without a meaning here get an empty handler. The command would inherit ignored signals, and
    // could then not be interrupted; handlers are not inherited.
    let nothing = Arc::new(AtomicBool::new(false));
    for signal in [SIGHUP, SIGINT, SIGQUIT, SIGPIPE, SIGUSR1, SIGUSR2, SIGXFSZ] {
        flag::register(signal, Arc::clone(&nothing))?;
    }
    Ok(Signals { child: announced(SIGCHLD)?, terminate: announced(SIGTERM)? })
}

fn announced(signal: i32) -> io::Result<UnixStream> {
    let (ours, handlers) = UnixStream::pair()?;
    pipe::register(signal, handlers)?;
    ours.set_nonblocking(true)?;
    Ok(ours)
}

/// Closes the streams that the starter gave us.
pub(crate) fn close_standard_streams() -> io::Result<()> {
    let null = OpenOptions::new().read(true).write(true).open("/dev/null")?;
    dup2_stdin(&null)?;
    dup2_stdout(&null)?;
    dup2_stderr(&null)?;
    Ok(())
}
