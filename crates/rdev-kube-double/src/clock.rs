//! The one source of time and randomness.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

/// Returns the time in whole seconds, as Kubernetes stores it.
#[expect(clippy::disallowed_methods, reason = "a server of its own, with the real time")]
pub(crate) fn now() -> Time {
    Time(seconds(Timestamp::now()))
}

pub(crate) fn later(seconds_more: i64) -> Time {
    let moment = now().0;
    Time(moment.checked_add(SignedDuration::from_secs(seconds_more)).unwrap_or(moment))
}

fn seconds(moment: Timestamp) -> Timestamp {
    Timestamp::from_second(moment.as_second()).unwrap_or(moment)
}

pub(crate) fn new_uid() -> String {
    uuid::Uuid::new_v4().to_string()
}

/// Returns an id as long as those of container runtimes.
pub(crate) fn new_container_id() -> String {
    format!("{}{}", uuid::Uuid::new_v4().simple(), uuid::Uuid::new_v4().simple())
}
