//! The machine's clock, ids and randomness.

use std::fs::File;
use std::io::Read;
use std::time::UNIX_EPOCH;

use anyhow::Context;
use rdev_domain::{CommandId, Timestamp};
use rdev_ports::{Chance, Clock, Ids};

/// The machine's clock.
pub(crate) struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        #[expect(clippy::disallowed_methods, reason = "this is the Clock port's implementation")]
        let now = std::time::SystemTime::now();
        let micros = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros());
        Timestamp::from_micros(i64::try_from(micros).unwrap_or(i64::MAX))
    }
}

/// Ids that sort by time.
pub(crate) struct UuidIds;

impl Ids for UuidIds {
    fn command_id(&self) -> CommandId {
        let id = format!("cmd-{}", uuid::Uuid::now_v7().simple());
        id.parse().expect("a UUID in simple form is 32 hexadecimal digits")
    }
}

/// Randomness that spreads things in time, and guards nothing.
pub(crate) struct UuidChance;

impl Chance for UuidChance {
    fn fraction(&self) -> f64 {
        // Its last bytes are random.
        let [.., a, b, c, d] = uuid::Uuid::now_v7().into_bytes();
        f64::from(u32::from_be_bytes([a, b, c, d])) / f64::from(u32::MAX)
    }
}

/// Bytes that nobody can guess.
pub(crate) fn random<const N: usize>() -> anyhow::Result<[u8; N]> {
    let mut bytes = [0_u8; N];
    File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut bytes)).context("/dev/urandom")?;
    Ok(bytes)
}
