//! Time in UTC, exact to the microsecond.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use jiff::SignedDuration;
use jiff::civil::{DateTime, date};
use jiff::fmt::temporal::Pieces;

/// jiff's own timestamps end a day before the year 9999 does, so that every time zone can express them.
const EPOCH: DateTime = date(1970, 1, 1).at(0, 0, 0, 0);
/// Range of RFC 3339, in microseconds: 0000-01-01T00:00:00Z to 9999-12-31T23:59:59.999999Z.
const RFC_3339: std::ops::RangeInclusive<i128> = -62_167_219_200_000_000..=253_402_300_799_999_999;
/// Digits of a fraction of a second that jiff reads; a timestamp keeps six.
const FRACTION_DIGITS_MAX: usize = 9;

/// A point in time in UTC, exact to the microsecond: the precision that every database keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// Converts from microseconds since 1970-01-01.
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// Returns microseconds since 1970-01-01.
    pub const fn as_micros(self) -> i64 {
        self.0
    }

    /// Parses RFC 3339, in any time zone.
    pub fn parse(text: &str) -> Option<Self> {
        let text = cut_fraction(text);
        let pieces = Pieces::parse(&*text).ok()?;
        let local = pieces.date().to_datetime(pieces.time()?).duration_since(EPOCH).as_micros();
        let micros = local - i128::from(pieces.to_numeric_offset()?.seconds()) * 1_000_000;
        RFC_3339.contains(&micros).then(|| i64::try_from(micros).ok().map(Self)).flatten()
    }

    /// Returns the time from `earlier` to this point; zero when the clock has gone backwards in between.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

impl std::ops::Add<Duration> for Timestamp {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)))
    }
}

impl std::ops::Sub<Duration> for Timestamp {
    type Output = Self;

    fn sub(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)))
    }
}

/// RFC 3339 in UTC, always with six digits of a second: texts of years from 0 to 9999 sort as their times do.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match EPOCH.checked_add(SignedDuration::from_micros(self.0)) {
            Ok(time) => write!(f, "{time:.6}Z"),
            Err(_) => write!(f, "{}us", self.0),
        }
    }
}

/// Cuts digits that jiff does not read: RFC 3339 limits no fraction.
fn cut_fraction(text: &str) -> Cow<'_, str> {
    let Some((before, after)) = text.split_once('.') else { return text.into() };
    let digits = after.bytes().take_while(u8::is_ascii_digit).count();
    if digits <= FRACTION_DIGITS_MAX {
        return text.into();
    }
    format!("{before}.{}{}", &after[..FRACTION_DIGITS_MAX], &after[digits..]).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_rfc_3339_in_utc() {
        assert_eq!(Timestamp::from_micros(0).to_string(), "1970-01-01T00:00:00.000000Z");
        assert_eq!(Timestamp::from_micros(1_769_284_800_123_456).to_string(), "2026-01-24T20:00:00.123456Z");
    }

    #[test]
    fn reads_all_that_rfc_3339_can_say() {
        for (text, printed) in [
            ("9999-12-31T23:59:59Z", "9999-12-31T23:59:59.000000Z"),
            ("9999-12-31T23:59:59.9999999999+00:00", "9999-12-31T23:59:59.999999Z"),
            ("2026-01-24T21:30:00.123456789012+01:30", "2026-01-24T20:00:00.123456Z"),
            ("0000-01-01t00:00:00z", "0000-01-01T00:00:00.000000Z"),
            ("1969-12-31T23:59:59.5Z", "1969-12-31T23:59:59.500000Z"),
        ] {
            assert_eq!(
                Timestamp::parse(text).map(|time| time.to_string()).as_deref(),
                Some(printed),
                "{text}"
            );
        }
        for none in [
            "",
            "9999-12-31T23:59:59-01:00",
            "2026-01-24",
            "2026-01-24T20:00:00",
            "2026-02-30T00:00:00Z",
            ".",
        ] {
            assert_eq!(Timestamp::parse(none), None, "{none}");
        }
    }

    #[test]
    fn a_clock_that_went_backwards_gives_no_time() {
        let (a, b) = (Timestamp::from_micros(5), Timestamp::from_micros(9));
        assert_eq!(b.since(a), Duration::from_micros(4));
        assert_eq!(a.since(b), Duration::ZERO);
    }
}
