//! Faults of chaos, in an order that the seed gives.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use fastrand::Rng;
use tokio::time::{Instant, sleep, timeout};

use super::small_disk::SmallDisk;
use crate::oracle::{Addresses, Keeper};
use crate::support::eventually;

/// Pauses between two events, in milliseconds.
const PAUSE_MS: std::ops::Range<u64> = 200..1_200;
/// The disk is full for so many events at the most: what cannot be started for a minute ends.
const FULL_MAX: u32 = 12;
/// A clock is off by so many seconds at the most.
const CLOCK_MAX_SECONDS: i32 = 3_600;
/// A server that runs finds that the disk is full within this.
const NOTICED_WITHIN: Duration = Duration::from_secs(10);
/// Bytes of the log that somebody reads after a start.
const LOG_READ_MAX: u32 = 30_000;

pub(super) struct Weather<'a> {
    pub(super) keeper: &'a Keeper,
    pub(super) servers: &'a Addresses,
    pub(super) disk: &'a SmallDisk,
    pub(super) clock: &'a Clock,
    pub(super) log: &'a LogReader,
}

/// Number of events of each kind.
#[derive(Debug, Default)]
pub(super) struct Blown {
    pub(super) kills: u32,
    pub(super) fills: u32,
    pub(super) clocks: u32,
}

impl Weather<'_> {
    /// Goes on for so long; then the disk has room, and no time is ahead of the clock.
    pub(super) async fn blow(&self, lasts: Duration, random: &mut Rng) -> Blown {
        let (until, mut blown, mut full_for) = (Instant::now() + lasts, Blown::default(), None);
        while Instant::now() < until {
            sleep(Duration::from_millis(random.u64(PAUSE_MS))).await;
            full_for = full_for.map(|events: u32| events + 1);
            match (random.u32(..10), full_for) {
                (_, Some(FULL_MAX..)) => {
                    self.disk.empty();
                    full_for = None;
                }
                // A file that was longer has room for some time.
                (0..3, Some(_)) if self.disk.was_noticed() => {
                    self.disk.empty();
                    full_for = None;
                }
                (0..4, None) => {
                    self.disk.fill();
                    full_for = Some(0);
                    blown.fills += 1;
                }
                (..7, Some(_)) | (4..7, None) => {
                    self.clock.set(random.i32(-CLOCK_MAX_SECONDS..=CLOCK_MAX_SECONDS));
                    blown.clocks += 1;
                }
                _ => {
                    self.log.reads(random);
                    self.keeper.kill().await;
                    blown.kills += 1;
                }
            }
        }
        // Once at least a server that runs finds it full for so long that nothing can be stored. On a full disk none starts.
        let answers = async || self.servers.of(0).get("/health").try_send().await.ok();
        loop {
            if self.disk.is_full() {
                self.disk.empty();
            }
            eventually("a server that answers", answers).await;
            self.disk.fill();
            let noticed = eventually("a refusal", async || self.disk.was_noticed().then_some(()));
            // The one that answered may have been about to be killed.
            if timeout(NOTICED_WITHIN, noticed).await.is_ok() {
                break;
            }
        }
        self.disk.empty();
        // What is to wait for a moment waits by the clock of the time at which that was said, which may have been ahead.
        self.clock.set(CLOCK_MAX_SECONDS);
        blown
    }
}

/// The clock of the server and of what it preloads; its runners have the machine's.
#[derive(Debug)]
pub(super) struct Clock(PathBuf);

impl Clock {
    pub(super) fn new(file: PathBuf) -> Self {
        let clock = Self(file);
        clock.set(0);
        clock
    }

    pub(super) fn file(&self) -> &Path {
        &self.0
    }

    /// Sets it so many seconds off.
    fn set(&self, seconds: i32) {
        // Nobody may read a half of it.
        let new = self.0.with_extension("new");
        fs::write(&new, format!("{seconds:+}\n")).expect("there is room");
        fs::rename(new, &self.0).expect("it can be replaced");
    }
}

/// Reads the server's log after each start for a while.
#[derive(Debug)]
pub(super) struct LogReader(PathBuf);

impl LogReader {
    pub(super) fn new(file: PathBuf) -> Self {
        fs::write(&file, "").expect("there is room");
        Self(file)
    }

    /// The variables of the line that starts the server.
    pub(super) fn variables(&self) -> [(&'static str, String); 2] {
        [("LOG", self.0.display().to_string()), ("LOG_READS", self.bytes().display().to_string())]
    }

    /// From the next start on it reads another number of bytes.
    pub(super) fn reads(&self, random: &mut Rng) {
        fs::write(self.bytes(), format!("{}\n", random.u32(..LOG_READ_MAX))).expect("there is room");
    }

    /// All that was read.
    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.0).expect("it is there")).into_owned()
    }

    fn bytes(&self) -> PathBuf {
        self.0.with_extension("bytes")
    }
}
