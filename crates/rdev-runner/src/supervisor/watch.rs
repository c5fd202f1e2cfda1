//! The one place where the supervisor waits: a single `poll` for every event.

use std::io::Read;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::time::Instant;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::Supervisor;

/// Pending events.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Ready {
    pub(super) child: bool,
    pub(super) terminate: bool,
    pub(super) outputs: [bool; 2],
    pub(super) input: bool,
    pub(super) listener: bool,
    pub(super) clients: bool,
}

impl Supervisor<'_> {
    /// Waits until an event occurs or work is due.
    pub(super) fn wait(&mut self) -> Ready {
        let mut ready = Ready::default();
        let timeout = self.deadline().map(timeout);
        let mut fds = Vec::with_capacity(8);
        let mut marks: Vec<fn(&mut Ready)> = Vec::with_capacity(8);
        let mut watch = |fd, flags, mark| {
            fds.push(PollFd::from_borrowed_fd(fd, flags));
            marks.push(mark);
        };
        watch(self.signals.child.as_fd(), PollFlags::IN, |ready| ready.child = true);
        watch(self.signals.terminate.as_fd(), PollFlags::IN, |ready| ready.terminate = true);
        watch(self.clients.listener().as_fd(), PollFlags::IN, |ready| ready.listener = true);
        if let Some(pipe) = self.outputs[0].pipe() {
            watch(pipe.as_fd(), PollFlags::IN, |ready| ready.outputs[0] = true);
        }
        if let Some(pipe) = self.outputs[1].pipe() {
            watch(pipe.as_fd(), PollFlags::IN, |ready| ready.outputs[1] = true);
        }
        if let Some(pipe) = self.input.pipe() {
            watch(pipe.as_fd(), PollFlags::OUT, |ready| ready.input = true);
        }
        for client in self.clients.connected() {
            watch(client.as_fd(), PollFlags::IN, |ready| ready.clients = true);
        }
        // Only an interruption can fail here, and then nothing is ready.
        if poll(&mut fds, timeout.as_ref()).is_ok() {
            for (_, mark) in fds.iter().zip(marks).filter(|(fd, _)| !fd.revents().is_empty()) {
                mark(&mut ready);
            }
        }
        if ready.child {
            clear(&mut self.signals.child);
        }
        if ready.terminate {
            clear(&mut self.signals.terminate);
        }
        ready
    }
}

/// Returns the time until `at`.
fn timeout(at: Instant) -> Timespec {
    let left = at.saturating_duration_since(Instant::now());
    Timespec { tv_sec: left.as_secs().try_into().unwrap_or(i64::MAX), tv_nsec: left.subsec_nanos().into() }
}

/// Empties a signal's socket before the signal is handled, so a signal that arrives meanwhile is seen.
fn clear(socket: &mut UnixStream) {
    let mut bytes = [0; 64];
    while socket.read(&mut bytes).is_ok_and(|n| n > 0) {}
}
