//! Lines in the form of the JSON log that are not written through the log: before there is one, and on standard output.

use std::fmt;

use rdev_ports::Clock;
use serde::Serialize;

use crate::system::SystemClock;

/// A line with fields of its own.
#[derive(Serialize)]
pub(crate) struct JsonLine<F> {
    timestamp: String,
    level: &'static str,
    message: String,
    #[serde(flatten)]
    fields: F,
}

impl<F: Serialize> JsonLine<F> {
    /// Makes a line of the level INFO, of this moment.
    pub(crate) fn info(message: String, fields: F) -> Self {
        Self { timestamp: SystemClock.now().to_string(), level: "INFO", message, fields }
    }
}

impl JsonLine<()> {
    /// Makes a line of the level ERROR, of this moment.
    pub(crate) fn error(message: String) -> Self {
        Self { timestamp: SystemClock.now().to_string(), level: "ERROR", message, fields: () }
    }
}

impl<F: Serialize> fmt::Display for JsonLine<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&serde_json::to_string(self).map_err(|_| fmt::Error)?)
    }
}
