//! Writer of log lines: a bounded buffer, and a thread that writes all that wait at once.
//!
//! Logging never blocks and never fails. A line for which there is no room, or that cannot be written, is lost and
//! counted. (`tracing-appender` counts no line that could not be written, has no bound in bytes, and at its
//! end complains by `println!`, which panics where standard output is closed, and hangs where nobody reads it.)

use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// Bytes of lines that wait; as many may be in the hands of the writer.
const WAITING_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Pause after a write, in which lines gather: to wake the writer costs more than to write the line.
const PAUSE: Duration = Duration::from_millis(5);
/// Bytes of buffer that are kept once it is empty; a larger one is freed.
const KEPT_BYTES_MAX: usize = 64 * 1024;

/// Lines of one log.
pub(super) struct Lines {
    buffer: Mutex<Buffer>,
    came: Condvar,
    gone: Condvar,
    lost: AtomicU64,
}

struct Buffer {
    waiting: Vec<u8>,
    /// The writer holds some.
    writing: bool,
}

impl Lines {
    pub(super) const fn new() -> Self {
        let buffer = Mutex::new(Buffer { waiting: Vec::new(), writing: false });
        Self { buffer, came: Condvar::new(), gone: Condvar::new(), lost: AtomicU64::new(0) }
    }

    /// Returns the number of lines lost since the start.
    pub(super) fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    fn push(&self, line: &[u8]) {
        let mut buffer = self.buffer();
        if buffer.waiting.len() + line.len() > WAITING_BYTES_MAX {
            self.lost.fetch_add(1, Ordering::Relaxed);
            return;
        }
        // A writer that is busy looks for more lines before it waits, and a line that waits has woken the writer: a wake-up
        // a line would cost more than the line.
        let is_asleep = buffer.waiting.is_empty() && !buffer.writing;
        buffer.waiting.extend_from_slice(line);
        drop(buffer);
        if is_asleep {
            self.came.notify_one();
        }
    }

    /// Writes all lines, forever. Once a line can be written after others were lost, calls `report` with their number.
    pub(super) fn write_to(&self, mut out: impl Write, report: impl Fn(u64)) -> ! {
        let (mut text, mut told) = (Vec::new(), 0);
        loop {
            self.next(&mut text);
            let (unwritten, is_last_written) = write_lines(&mut out, &text);
            self.lost.fetch_add(unwritten, Ordering::Relaxed);
            let lost = self.lost();
            if is_last_written && lost > told {
                report(lost - told);
                told = lost;
            }
            thread::sleep(PAUSE);
        }
    }

    /// Waits for lines, and takes all of them.
    fn next(&self, text: &mut Vec<u8>) {
        text.clear();
        text.shrink_to(KEPT_BYTES_MAX);
        let mut buffer = self.buffer();
        buffer.writing = false;
        self.gone.notify_all();
        buffer = self
            .came
            .wait_while(buffer, |buffer| buffer.waiting.is_empty())
            .unwrap_or_else(PoisonError::into_inner);
        buffer.writing = true;
        std::mem::swap(&mut buffer.waiting, text);
    }

    /// Waits until all lines are written, at most for `patience`.
    pub(super) fn flush(&self, patience: Duration) {
        let is_busy = |buffer: &mut Buffer| buffer.writing || !buffer.waiting.is_empty();
        drop(self.gone.wait_timeout_while(self.buffer(), patience, is_busy));
    }

    /// Nothing panics with the buffer in hand.
    fn buffer(&self) -> MutexGuard<'_, Buffer> {
        self.buffer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes lines. Returns the number of those that could not be written, and whether the last one could.
fn write_lines(out: &mut impl Write, mut text: &[u8]) -> (u64, bool) {
    let (mut unwritten, mut is_written) = (0, true);
    while !text.is_empty() {
        let done = match out.write(text) {
            Ok(count) if count > 0 => {
                is_written = true;
                count
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            // This line is lost, and the next is tried.
            Ok(_) | Err(_) => {
                (unwritten, is_written) = (unwritten + 1, false);
                text.iter().position(|byte| *byte == b'\n').map_or(text.len(), |end| end + 1)
            }
        };
        text = &text[done..];
    }
    (unwritten, is_written)
}

/// Takes one line at each call, whole.
impl Write for &Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.push(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(45);

    /// Hands over one line at a time, and writes it when it is told whether it can be written.
    struct Pipe {
        lines: Sender<Vec<u8>>,
        can: Receiver<bool>,
    }

    impl Write for Pipe {
        fn write(&mut self, lines: &[u8]) -> io::Result<usize> {
            let line = lines.split_inclusive(|byte| *byte == b'\n').next().unwrap();
            self.lines.send(line.to_vec()).unwrap();
            match self.can.recv() {
                Ok(true) => Ok(line.len()),
                _ => Err(io::ErrorKind::BrokenPipe.into()),
            }
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn pipe() -> (&'static Lines, Receiver<Vec<u8>>, Sender<bool>, Receiver<u64>) {
        let lines: &Lines = Box::leak(Box::new(Lines::new()));
        let ((written, seen), (allow, can), (tell, told)) = (channel(), channel(), channel());
        thread::spawn(move || {
            lines.write_to(Pipe { lines: written, can }, |count| tell.send(count).unwrap());
        });
        (lines, seen, allow, told)
    }

    #[test]
    fn whoever_logs_never_waits_and_what_has_no_room_is_counted() {
        let (lines, seen, allow, told) = pipe();
        lines.push(b"first\n");
        assert_eq!(seen.recv_timeout(PATIENCE).unwrap(), b"first\n");
        // It is not written yet, nor is anything else while it is not.
        let line = [&[b'x'; 1023][..], b"\n"].concat();
        let room = WAITING_BYTES_MAX / line.len();
        (0..room + 3).for_each(|_| lines.push(&line));
        assert_eq!(lines.lost(), 3);
        allow.send(true).unwrap();
        assert_eq!(told.recv_timeout(PATIENCE).unwrap(), 3);
        for _ in 0..room {
            assert_eq!(seen.recv_timeout(PATIENCE).unwrap(), line);
            allow.send(true).unwrap();
        }
        lines.flush(PATIENCE);
        assert_eq!(lines.lost(), 3);
        assert!(told.try_recv().is_err());
    }

    #[test]
    fn what_cannot_be_written_is_counted_and_told_of_when_it_can() {
        let (lines, seen, allow, told) = pipe();
        for can in [false, false, true] {
            lines.push(b"a line\n");
            seen.recv_timeout(PATIENCE).unwrap();
            assert!(told.try_recv().is_err());
            allow.send(can).unwrap();
            lines.flush(PATIENCE);
        }
        assert_eq!(told.recv_timeout(PATIENCE).unwrap(), 2);
        assert_eq!(lines.lost(), 2);
    }

    #[test]
    fn a_flush_has_an_end() {
        let (lines, seen, _allow, _told) = pipe();
        lines.push(b"a line\n");
        seen.recv_timeout(PATIENCE).unwrap();
        lines.flush(Duration::from_millis(1));
    }
}
