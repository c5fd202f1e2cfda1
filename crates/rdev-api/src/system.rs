//! Clock, ids and randomness of this machine.

use std::fs::File;
use std::io::Read;
use std::sync::{Arc, Mutex};
use std::time::UNIX_EPOCH;

use anyhow::Context;
use rdev_domain::{JobId, JobIdPrefix, Timestamp};
use rdev_ports::{Clock, Ids, Random};
use uuid::{ContextV7, Uuid};

/// Clock of this machine.
pub(crate) struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        #[expect(clippy::disallowed_methods, reason = "this is the Clock port's implementation")]
        let now = std::time::SystemTime::now();
        let micros = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros());
        Timestamp::from_micros(i64::try_from(micros).unwrap_or(i64::MAX))
    }
}

/// Ids that sort by time, also across processes that share the clock.
pub(crate) struct UuidIds {
    clock: Arc<dyn Clock>,
    /// Keeps ids of one moment ascending, and those of a clock that was set back.
    sequence: Mutex<ContextV7>,
}

impl UuidIds {
    /// Makes ids by this clock.
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, sequence: Mutex::new(ContextV7::new()) }
    }
}

impl Ids for UuidIds {
    fn least_id(&self, prefix: JobIdPrefix, at: Timestamp) -> JobId {
        // A UUID of version 7 begins with 48 bits of milliseconds.
        let millis = at.as_micros().div_euclid(1000).clamp(0, (1 << 48) - 1);
        JobId::new(prefix, u128::from(millis.unsigned_abs()) << 80)
    }

    fn job_id(&self, prefix: JobIdPrefix) -> JobId {
        let since_1970 = self.clock.now().since(Timestamp::from_micros(0));
        let (seconds, nanos) = (since_1970.as_secs(), since_1970.subsec_nanos());
        let time = uuid::Timestamp::from_unix(&self.sequence, seconds, nanos);
        JobId::new(prefix, Uuid::new_v7(time).as_u128())
    }
}

/// Randomness that spreads work in time; not for secrets.
pub(crate) struct UuidRandom;

impl Random for UuidRandom {
    fn fraction(&self) -> f64 {
        // The last bytes of a UUID are random.
        let [.., a, b, c, d] = Uuid::now_v7().into_bytes();
        f64::from(u32::from_be_bytes([a, b, c, d])) / f64::from(u32::MAX)
    }
}

/// Returns random bytes for secrets.
///
/// # Errors
/// When /dev/urandom cannot be read.
pub(crate) fn random<const N: usize>() -> anyhow::Result<[u8; N]> {
    let mut bytes = [0_u8; N];
    File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut bytes)).context("/dev/urandom")?;
    Ok(bytes)
}
