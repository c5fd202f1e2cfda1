//! Timestamps: arithmetic at the limits, and texts.

use std::time::Duration;

use rdev_domain::Timestamp;

const fn at(micros: i64) -> Timestamp {
    Timestamp::from_micros(micros)
}

#[test]
fn microseconds_are_kept() {
    assert_eq!(at(1_769_284_800_123_456).as_micros(), 1_769_284_800_123_456);
    assert_eq!(at(-7).as_micros(), -7);
}

#[test]
fn durations_are_added_and_taken_off() {
    assert_eq!(at(5) + Duration::from_micros(7), at(12));
    assert_eq!(at(5) - Duration::from_micros(7), at(-2));
    assert_eq!(at(0) + Duration::from_secs(1), at(1_000_000));
    assert_eq!(at(12).since(at(5)), Duration::from_micros(7));
}

#[test]
fn arithmetic_stops_at_the_ends_of_time() {
    assert_eq!(at(i64::MAX) + Duration::from_secs(1), at(i64::MAX));
    assert_eq!(at(i64::MIN) - Duration::from_secs(1), at(i64::MIN));
    assert_eq!(at(0) + Duration::MAX, at(i64::MAX));
    assert_eq!(at(0) - Duration::MAX, at(-i64::MAX));
    assert_eq!(at(i64::MIN).since(at(i64::MAX)), Duration::ZERO);
}

#[test]
fn offsets_are_taken_off() {
    let read = |text| Timestamp::parse(text).map(Timestamp::as_micros);
    assert_eq!(read("1970-01-01T00:00:00Z"), Some(0));
    assert_eq!(read("1970-01-01T01:00:00+01:00"), Some(0));
    assert_eq!(read("1969-12-31T23:30:00-00:30"), Some(0));
    assert_eq!(read("1970-01-01T00:00:01.5Z"), Some(1_500_000));
}

#[test]
fn the_first_and_the_last_moment_of_rfc_3339_are_read_and_no_other() {
    let read = |text| Timestamp::parse(text).map(|time| time.to_string());
    assert_eq!(read("0000-01-01T00:00:00Z").as_deref(), Some("0000-01-01T00:00:00.000000Z"));
    assert_eq!(read("0000-01-01T00:30:00+01:00"), None);
    assert_eq!(read("9999-12-31T23:59:59.999999Z").as_deref(), Some("9999-12-31T23:59:59.999999Z"));
    assert_eq!(read("9999-12-31T23:59:59-00:01"), None);
}

#[test]
fn digits_below_a_microsecond_are_dropped_however_many() {
    for digits in
        ["123456", "1234567", "12345678", "123456789", "1234567890", "123456789012345678901234567890"]
    {
        let text = format!("2026-01-24T20:00:00.{digits}+00:00");
        assert_eq!(Timestamp::parse(&text), Some(at(1_769_284_800_123_456)), "{text}");
    }
}

#[test]
fn a_moment_that_no_calendar_has_is_printed_as_a_number() {
    assert_eq!(at(i64::MAX).to_string(), format!("{}us", i64::MAX));
}
