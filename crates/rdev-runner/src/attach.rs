//! Follows a run: everything in its journal after a sequence number, then new frames, to the exit entry.

use std::io::{self, Read};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use crate::fault::Fault;
use crate::folder::{Run, RunId, Runs};
use crate::frame::{Body, End, Frame, Loss};
use crate::journal::Reader;
use crate::memory::another_had_more;
use crate::orphans;
use crate::sink::Sink;

/// Silence after which a keep-alive frame is sent.
const KEEP_ALIVE_EVERY: Duration = Duration::from_secs(10);

/// Result of following a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Followed {
    /// The exit entry was delivered, or had been delivered before.
    ToTheEnd,
    /// The supervisor is gone without an exit entry, or that entry is damaged.
    Lost(Loss),
    /// The listener is gone.
    Disconnected,
}

/// Event while the journal has nothing new.
enum Event {
    Wake,
    SupervisorGone,
    Silence,
    Disconnected,
}

/// Delivers the run's events after `after` to `sink`.
pub(crate) fn follow(
    runs: &Runs,
    id: &RunId,
    after: u64,
    started: bool,
    sink: &mut Sink,
) -> Result<Followed, Fault> {
    let run = runs.find(id)?.ok_or_else(|| Fault::unknown_id(id))?;
    let mut follower = Follower {
        runs: runs.clone(),
        reader: Reader::new(run.open_journal()?),
        run,
        after,
        supervisor: None,
        last_sent: Instant::now(),
        sink,
    };
    let unless_unheard = |followed: io::Result<Followed>| match followed {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Followed::Disconnected),
        other => other.map_err(|e| Fault::io(format!("cannot follow \"{id}\""), e)),
    };
    match unless_unheard(follower.follow(started))? {
        Followed::Lost(_) => {
            // A listener that hears of the loss may start a job that must not run beside this one.
            orphans::end(runs, id)?;
            unless_unheard(follower.report_loss())
        }
        followed => Ok(followed),
    }
}

struct Follower<'a> {
    runs: Runs,
    run: Run,
    reader: Reader,
    after: u64,
    supervisor: Option<UnixStream>,
    /// Time of the last write to the sink.
    last_sent: Instant,
    sink: &'a mut Sink,
}

impl Follower<'_> {
    /// Delivers frames until the run ends. Does not report a loss.
    fn follow(&mut self, started: bool) -> io::Result<Followed> {
        self.sink.hello(self.after + 1, started)?;
        let mut gone = false;
        loop {
            self.deliver()?;
            if self.reader.ended() {
                return Ok(Followed::ToTheEnd);
            }
            if gone {
                return Ok(Followed::Lost(Loss::Supervisor));
            }
            if self.supervisor.is_none() {
                self.supervisor = self.run.connect()?;
                // Read once more, whether the supervisor lives or not: it may have written since the last
                // read.
                gone = self.supervisor.is_none();
                if gone {
                    self.reader.settle();
                }
                continue;
            }
            match self.wait()? {
                Event::Wake => {}
                Event::SupervisorGone => self.supervisor = None,
                Event::Silence => {
                    self.sink.keep_alive(self.next_seq())?;
                    self.last_sent = Instant::now();
                }
                Event::Disconnected => return Ok(Followed::Disconnected),
            }
        }
    }

    /// Reports the loss of the supervisor. Delivers first what it has written last, perhaps the exit
    /// entry.
    fn report_loss(&mut self) -> io::Result<Followed> {
        self.deliver()?;
        if self.reader.ended() {
            return Ok(Followed::ToTheEnd);
        }
        let loss = self.loss()?;
        self.sink.lost(self.next_seq(), loss)?;
        Ok(Followed::Lost(loss))
    }

    /// Determines the kind of loss. A killed supervisor leaves its socket, and half a frame at most. One
    /// that has ended removes the socket after it has written the exit entry.
    fn loss(&self) -> io::Result<Loss> {
        let has_finished = !self.run.has_socket();
        let is_damaged = self.reader.has_damaged_rest()? || (has_finished && self.reader.has_rest()?);
        Ok(match is_damaged {
            true => Loss::Journal,
            false if another_had_more(&self.runs, &self.run) => Loss::Beside,
            false => Loss::Supervisor,
        })
    }

    /// Delivers everything that is in the journal now.
    fn deliver(&mut self) -> io::Result<()> {
        while !self.reader.ended() {
            if self.reader.next_seq() <= self.after && !self.skip()? {
                return Ok(());
            }
            match self.reader.batch()? {
                Some(frames) => {
                    self.sink.frames(frames)?;
                    self.last_sent = Instant::now();
                }
                None => return Ok(()),
            }
        }
        Ok(())
    }

    /// Skips what the listener already has. Returns true when the listener has everything up to here.
    fn skip(&mut self) -> io::Result<bool> {
        let after = self.after;
        while self.reader.next_seq() <= after {
            let Some(header) = self.reader.seek(|header| header.next_seq() > after + 1)? else {
                return Ok(self.reader.next_seq() > after);
            };
            if header.first_seq > after {
                return Ok(true);
            }
            // A damaged frame may have had fewer events than its header says.
            let Some(frame) = self.reader.frame()? else { return Ok(false) };
            if frame.last_seq() > after {
                let mut raw = Vec::new();
                rest_of(frame, after).encode(&mut raw);
                self.sink.frames(&raw)?;
            }
        }
        Ok(true)
    }

    fn next_seq(&self) -> u64 {
        self.reader.next_seq().max(self.after + 1)
    }

    /// Waits for the supervisor. All that it has sent counts as one wake-up.
    fn wait(&mut self) -> io::Result<Event> {
        let Some(supervisor) = &mut self.supervisor else {
            return Ok(Event::SupervisorGone);
        };
        let left = KEEP_ALIVE_EVERY.saturating_sub(self.last_sent.elapsed());
        let timeout = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() };
        let out = rustix::stdio::stdout();
        // No event of the output is requested: its end is always reported.
        let mut fds = [PollFd::new(&*supervisor, PollFlags::IN), PollFd::new(&out, PollFlags::empty())];
        match poll(&mut fds, Some(&timeout)) {
            Ok(0) => return Ok(Event::Silence),
            Ok(_) => {}
            Err(Errno::INTR) => return Ok(Event::Wake),
            Err(error) => return Err(error.into()),
        }
        if !fds[1].revents().is_empty() {
            return Ok(Event::Disconnected);
        }
        match supervisor.read(&mut [0; 512]) {
            Ok(0) => Ok(Event::SupervisorGone),
            Ok(_) => Ok(Event::Wake),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(Event::Wake),
            Err(_) => Ok(Event::SupervisorGone),
        }
    }
}

/// Returns the events of `frame` after `after`; the frame has at least one.
fn rest_of(mut frame: Frame, after: u64) -> Frame {
    let skipped = after + 1 - frame.first_seq;
    frame.first_seq += skipped;
    frame.count -= skipped as u32;
    // The bytes of a cut cannot be split by line; they stay together.
    if let Body::Output { end: End::Newline, bytes, .. } = &mut frame.body {
        let newline = memchr::memchr_iter(b'\n', bytes).nth(skipped as usize - 1);
        *bytes = bytes.slice(newline.map_or(bytes.len(), |at| at + 1)..);
    }
    frame
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::frame::Stream;

    #[test]
    fn a_frame_is_split_between_its_lines() {
        let frame = Frame {
            first_seq: 5,
            count: 3,
            time_us: 7,
            body: Body::Output {
                stream: Stream::Stdout,
                end: End::Newline,
                bytes: Bytes::from_static(b"five\n\nseven\n"),
            },
        };
        for (after, rest) in [(5, &b"\nseven\n"[..]), (6, b"seven\n")] {
            let split = rest_of(frame.clone(), after);
            assert_eq!((split.first_seq, split.last_seq(), split.time_us), (after + 1, 7, 7));
            assert!(matches!(split.body, Body::Output { bytes, .. } if bytes == rest));
        }
    }
}
