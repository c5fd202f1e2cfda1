//! Writes the journal: whole frames or nothing, within a size limit, with an announcement of all output
//! that is left out.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

use crate::clock::now_us;
use crate::folder::Run;
use crate::frame::Header;
use crate::frame::{Body, CutReason, End, Exit, Frame, HEADER_BYTES, KIND_CUT, Stream, encode_output};

/// Interval of announcements of missing output, and of retries on a full disk.
const ANNOUNCE_EVERY: Duration = Duration::from_secs(1);
/// Time for which the exit entry is retried when even the reserve did not make enough space.
const EXIT_PATIENCE: Duration = Duration::from_secs(60);
const EXIT_RETRY: Duration = Duration::from_millis(100);

/// The journal of a live run.
#[derive(Debug)]
pub(crate) struct Journal {
    file: File,
    /// Length of the whole frames in the file; the next write starts there.
    good: u64,
    next_seq: u64,
    /// Frames that are not in the file yet.
    pending: Vec<u8>,
    /// Output bytes that the limit still allows.
    room: u64,
    missing: Option<Missing>,
}

/// Missing output that is not announced yet: the events just before `next_seq`.
#[derive(Debug)]
struct Missing {
    reason: CutReason,
    count: u64,
    bytes: u64,
    announce_at: Instant,
}

impl Journal {
    /// Creates a writer. `bytes_max` limits the stored output, 0: no limit. Events are numbered from
    /// `first_seq` on.
    pub(crate) fn new(file: File, bytes_max: u64, first_seq: u64) -> Self {
        Self {
            file,
            good: 0,
            next_seq: first_seq,
            pending: Vec::new(),
            room: if bytes_max == 0 { u64::MAX } else { bytes_max },
            missing: None,
        }
    }

    /// Takes the next output; readers see it after [`Journal::flush`].
    pub(crate) fn output(&mut self, stream: Stream, end: End, count: u32, payload: &[u8]) {
        if self.missing.is_none() {
            if payload.len() as u64 <= self.room {
                return self.keep(stream, end, count, payload);
            }
            let fits = whole_lines(payload, end, self.room as usize);
            // The first line over the limit ends the storage for good: shorter lines after it would look
            // like its successors.
            self.room = 0;
            let kept = memchr::memchr_iter(b'\n', &payload[..fits]).count() as u32;
            if kept > 0 {
                self.append(stream, end, kept, &payload[..fits]);
            }
            return self.miss(CutReason::SizeLimit, u64::from(count - kept), (payload.len() - fits) as u64);
        }
        self.miss(CutReason::SizeLimit, u64::from(count), payload.len() as u64);
    }

    fn keep(&mut self, stream: Stream, end: End, count: u32, payload: &[u8]) {
        if self.room != u64::MAX {
            self.room -= payload.len() as u64;
        }
        self.append(stream, end, count, payload);
    }

    fn append(&mut self, stream: Stream, end: End, count: u32, payload: &[u8]) {
        encode_output(&mut self.pending, self.next_seq, count, now_us(), stream, end, payload);
        self.next_seq += u64::from(count);
    }

    fn miss(&mut self, reason: CutReason, count: u64, bytes: u64) {
        self.next_seq += count;
        self.count_missing(reason, count, bytes);
    }

    fn count_missing(&mut self, reason: CutReason, count: u64, bytes: u64) {
        let missing = self.missing.get_or_insert_with(|| Missing {
            reason,
            count: 0,
            bytes: 0,
            announce_at: Instant::now() + ANNOUNCE_EVERY,
        });
        missing.count += count;
        missing.bytes = missing.bytes.saturating_add(bytes);
    }

    /// Returns when [`Journal::flush`] is due even without new output.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.missing.as_ref().map(|missing| missing.announce_at)
    }

    /// Writes pending frames, and the announcement of missing output when it is due. Returns true when
    /// readers have something new.
    pub(crate) fn flush(&mut self, now: Instant) -> bool {
        if self.missing.as_ref().is_some_and(|missing| missing.announce_at <= now) {
            self.announce();
        }
        let before = self.good;
        self.write_pending();
        self.good > before
    }

    /// Writes the exit entry and makes it durable; the journal must not be used afterwards.
    pub(crate) fn finish(&mut self, exit: Exit, run: &Run) -> io::Result<()> {
        let give_up = Instant::now() + EXIT_PATIENCE;
        loop {
            self.announce();
            let entry =
                Frame { first_seq: self.next_seq, count: 1, time_us: now_us(), body: Body::Exit(exit) };
            entry.encode(&mut self.pending);
            if self.write_pending() {
                break;
            }
            if Instant::now() > give_up {
                return Err(io::ErrorKind::StorageFull.into());
            }
            run.release_reserve();
            std::thread::sleep(EXIT_RETRY);
        }
        run.release_reserve();
        self.file.sync_data()?;
        run.sync_names()
    }

    fn announce(&mut self) {
        let Some(missing) = self.missing.take() else {
            return;
        };
        let mut left = missing.count;
        while left > 0 {
            let count = u32::try_from(left).unwrap_or(u32::MAX);
            let cut = Frame {
                first_seq: self.next_seq - left,
                count,
                time_us: now_us(),
                body: Body::Cut {
                    reason: missing.reason,
                    bytes: if left == missing.count { missing.bytes } else { 0 },
                },
            };
            cut.encode(&mut self.pending);
            left -= u64::from(count);
        }
    }

    /// Returns true when all pending bytes are in the file.
    fn write_pending(&mut self) -> bool {
        let mut done = 0;
        while done < self.pending.len() {
            match self.file.write_at(&self.pending[done..], self.good + done as u64) {
                Ok(0) => break,
                Ok(n) => done += n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
        let complete = done == self.pending.len();
        if complete {
            self.good += done as u64;
        } else {
            self.lose_after(done);
        }
        self.pending.clear();
        complete
    }

    /// Handles a write of only `done` bytes of the pending frames. The complete frames among them stay,
    /// since a reader may have read them; the torn one and the rest become missing output.
    fn lose_after(&mut self, done: usize) {
        let mut at = 0;
        let mut bytes = 0;
        let mut first_lost = None;
        while let Ok(Some(header)) = Header::read(&self.pending[at..]) {
            let end = at + header.total;
            if end <= done {
                self.good += header.total as u64;
            } else {
                first_lost.get_or_insert(header.first_seq);
                bytes += output_bytes(&header, &self.pending[at..end]);
            }
            at = end;
        }
        // When this fails too, the next frame overwrites the torn one.
        self.file.set_len(self.good).ok();
        let lost = self.next_seq - first_lost.unwrap_or(self.next_seq);
        // Later output must not precede the announcement, so output that was already missing joins it.
        if lost > 0 {
            self.count_missing(CutReason::DiskFull, lost, bytes);
        }
    }
}

/// Returns how many of the first `room` bytes are whole lines.
fn whole_lines(payload: &[u8], end: End, room: usize) -> usize {
    match end {
        End::Newline => memchr::memrchr(b'\n', &payload[..room]).map_or(0, |at| at + 1),
        End::Partial | End::Eof => 0,
    }
}

/// Returns the number of output bytes that a frame stands for.
fn output_bytes(header: &Header, frame: &[u8]) -> u64 {
    let payload = &frame[HEADER_BYTES..];
    match (header.kind, payload.first_chunk()) {
        (KIND_CUT, Some(bytes)) => u64::from_le_bytes(*bytes),
        _ if header.is_exit() => 0,
        _ => payload.len() as u64,
    }
}
