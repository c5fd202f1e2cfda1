//! A watch over the memory of the container. Where the kernel ends every process of a container at once for want of
//! memory, supervisors included, the command that has most of it is ended before that.

use std::fs::File;
use std::time::{Duration, Instant};

use crate::cgroup::Group;
use crate::folder::{Run, Runs};
use crate::memory::{self, Kept};

/// Says whether there is a watch: `on`, `off`, or else where the kernel ends all at once.
const VARIABLE: &str = "RDEV_MEMORY_GUARD";
/// Memory that is kept free: so much of the limit, within these bounds.
const RESERVE_PART: u64 = 20;
const RESERVE_MIN: u64 = 16 << 20;
const RESERVE_MAX: u64 = 128 << 20;
/// Faster than commands touch new memory, in bytes per second: so often it is looked how much is left.
const FILLED_PER_SECOND: f64 = (4_u64 << 30) as f64;
const LOOK_AFTER_MIN: Duration = Duration::from_millis(10);
const LOOK_AFTER_MAX: Duration = Duration::from_secs(1);
/// The command's share is kept so often while more than half of the memory is used up, and more often near the end.
const KEPT_AFTER: Duration = Duration::from_secs(1);
/// Memory of processes that were ended is free by then.
const SETTLES: Duration = Duration::from_millis(500);
/// Held by the supervisor that ends its command, until nothing of it is left: one after the other, since the memory of the
/// first may be enough.
const LOCK: &str = ".memory.lock";

/// The watch of one supervisor.
#[derive(Debug)]
pub(super) struct Guard {
    group: Group,
    folder: Runs,
    run: Run,
    look_at: Instant,
    /// Room that was left when the command's share was kept last.
    room_then: u64,
    /// When it is kept at the latest.
    keep_at: Instant,
    kept: Kept,
    /// It has ended the command.
    lock: Option<File>,
}

impl Guard {
    /// A watch where there is to be one.
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
            look_at: now,
            room_then: u64::MAX,
            keep_at: now,
            kept: Kept::begin(run),
            lock: None,
        })
    }

    /// When it looks again; never once it has ended the command.
    pub(super) fn look_at(&self) -> Option<Instant> {
        self.lock.is_none().then_some(self.look_at)
    }

    /// The command was ended for its memory.
    pub(super) fn has_ended_it(&self) -> bool {
        self.lock.is_some()
    }

    /// Looks if it is time to. True: this command is the one to be ended, now.
    pub(super) fn looks(&mut self, now: Instant) -> bool {
        if self.look_at().is_none_or(|at| now < at) {
            return false;
        }
        let Some((room, max)) = self.room() else {
            self.look_at = now + LOOK_AFTER_MAX;
            return false;
        };
        let filled_after = Duration::from_secs_f64(room as f64 / FILLED_PER_SECOND);
        self.look_at = now + filled_after.clamp(LOOK_AFTER_MIN, LOOK_AFTER_MAX);
        // Whoever is asked later what has used up the memory finds it with the run. The nearer the end, the more often.
        if room < max / 2 && (room < self.room_then / 2 || now >= self.keep_at) {
            (self.room_then, self.keep_at) = (room, now + KEPT_AFTER);
            self.kept.raise(&self.run, memory::below_this());
        }
        room == 0 && memory::is_largest(&self.folder) && self.takes_the_turn(now)
    }

    /// Bytes that are left before a command is ended, and the limit.
    fn room(&self) -> Option<(u64, u64)> {
        let (held, max) = (self.group.held()?, self.group.max()?);
        let reserve = (max / RESERVE_PART).clamp(RESERVE_MIN, RESERVE_MAX).min(max / 4);
        Some((max.saturating_sub(reserve).saturating_sub(held), max))
    }

    /// Tells whether it is still to be ended once no other supervisor ends its own.
    fn takes_the_turn(&mut self, now: Instant) -> bool {
        // Where none can be made the kernel ends what it will: two that end theirs at once are worse.
        let Ok(lock) = File::create(self.folder.0.join(LOCK)) else { return false };
        if lock.try_lock().is_err() {
            self.look_at = now + SETTLES;
            return false;
        }
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
