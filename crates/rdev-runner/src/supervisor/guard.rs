//! Memory guard of the container. Where the kernel kills every process of a container at once for lack of
//! memory, supervisors included, the guard ends the largest command before that.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::cgroup::Group;
use crate::folder::{Run, Runs};
use crate::memory::{self, PeakMemory};

/// Variable that switches the guard `on` or `off`; by default it is on where the kernel kills all at
/// once.
const VARIABLE: &str = "RDEV_MEMORY_GUARD";
/// Memory to keep free: a twentieth of the limit, within these bounds.
const RESERVE_PART: u64 = 20;
const RESERVE_MIN: u64 = 16 << 20;
const RESERVE_MAX: u64 = 128 << 20;
/// Fill rate in bytes per second, faster than commands touch new memory: it determines the time of the
/// next check.
const FILLED_PER_SECOND: f64 = (4_u64 << 30) as f64;
const CHECK_AFTER_MIN: Duration = Duration::from_millis(10);
const CHECK_AFTER_MAX: Duration = Duration::from_secs(1);
/// Interval for storing the command's memory while more than half of the limit is used; shorter near the
/// limit.
const STORE_AFTER: Duration = Duration::from_secs(1);
/// Time after which the memory of killed processes is free.
const SETTLE_TIME: Duration = Duration::from_millis(500);
/// Lock held by the supervisor that ends its command, until none of its processes is left. It writes a byte at the end,
/// and the next one waits for [`SETTLE_TIME`] after that: one at a time, since the memory of the first may be enough.
const LOCK: &str = ".memory.lock";

/// The guard of one supervisor.
#[derive(Debug)]
pub(super) struct Guard {
    group: Group,
    folder: Runs,
    run: Run,
    next_check: Instant,
    /// Free memory when the command's memory was last stored.
    stored_room: u64,
    /// Latest time of the next record.
    store_at: Instant,
    peak: PeakMemory,
    /// Held once the guard has ended the command.
    lock: Option<File>,
}

/// Takes the lock; `None` while another supervisor holds it, and until the memory that it has freed counts.
fn take_lock(path: &Path) -> std::io::Result<Option<File>> {
    let lock = File::options().write(true).create(true).truncate(false).open(path)?;
    if lock.try_lock().is_err() {
        return Ok(None);
    }
    let last = lock.metadata()?;
    // A file without a byte has never ended a command. A time in the future is that of a clock that was set back.
    let is_settled = last.len() == 0 || last.modified()?.elapsed().map_or(true, |since| since >= SETTLE_TIME);
    Ok(is_settled.then_some(lock))
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(lock) = &self.lock {
            // On a full disk another command may be ended before the memory of this one counts.
            lock.write_all_at(b"-", 0).ok();
        }
    }
}

impl Guard {
    /// Creates a guard where one is wanted.
    pub(super) fn new(folder: &Runs, run: &Run, now: Instant) -> Option<Self> {
        let group = Group::own()?;
        group.max()?;
        let is_on = match wanted().as_deref() {
            Some("on") => true,
            Some("off") => false,
            _ => group.kills_all(),
        };
        is_on.then(|| Self {
            group,
            folder: folder.clone(),
            run: run.clone(),
            next_check: now,
            stored_room: u64::MAX,
            store_at: now,
            peak: PeakMemory::begin(run),
            lock: None,
        })
    }

    /// Returns the time of the next check; `None` once the guard has ended the command.
    pub(super) fn next_check(&self) -> Option<Instant> {
        self.lock.is_none().then_some(self.next_check)
    }

    /// Tells whether the guard has ended the command.
    pub(super) fn has_ended_command(&self) -> bool {
        self.lock.is_some()
    }

    /// Checks the memory if a check is due. Returns true when this command has to be ended now.
    pub(super) fn check(&mut self, now: Instant) -> bool {
        if self.next_check().is_none_or(|at| now < at) {
            return false;
        }
        let Some((room, max)) = self.room() else {
            self.next_check = now + CHECK_AFTER_MAX;
            return false;
        };
        let filled_after = Duration::from_secs_f64(room as f64 / FILLED_PER_SECOND);
        self.next_check = now + filled_after.clamp(CHECK_AFTER_MIN, CHECK_AFTER_MAX);
        // A later query for the culprit reads the record of the run. Records become more frequent near
        // the limit.
        if room < max / 2 && (room < self.stored_room / 2 || now >= self.store_at) {
            (self.stored_room, self.store_at) = (room, now + STORE_AFTER);
            self.peak.raise(&self.run, memory::below_this());
        }
        room == 0 && memory::is_largest(&self.folder) && self.acquire_lock(now)
    }

    /// Returns the bytes left before a command is ended, and the limit.
    fn room(&self) -> Option<(u64, u64)> {
        let (held, max) = (self.group.held()?, self.group.max()?);
        let reserve = (max / RESERVE_PART).clamp(RESERVE_MIN, RESERVE_MAX).min(max / 4);
        Some((max.saturating_sub(reserve).saturating_sub(held), max))
    }

    /// Takes the lock; returns whether this command still has to be ended.
    fn acquire_lock(&mut self, now: Instant) -> bool {
        // Without a lock the kernel decides: two supervisors that end their commands at once would be
        // worse.
        let Ok(lock) = take_lock(&self.folder.0.join(LOCK)) else { return false };
        let Some(lock) = lock else {
            self.next_check = now + SETTLE_TIME;
            return false;
        };
        if self.room().is_none_or(|(room, _)| room > 0) {
            return false;
        }
        self.lock = Some(lock);
        true
    }
}

#[expect(clippy::disallowed_methods, reason = "this program has no other configuration, and no rdev-api")]
fn wanted() -> Option<String> {
    std::env::var(VARIABLE).ok()
}
