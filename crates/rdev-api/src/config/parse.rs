//! Value parsers that several groups share.

use std::net::SocketAddr;
use std::path::Path;

pub(super) fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| "accepted is IP:PORT, such as 127.0.0.1:8080".to_owned())
}

/// Accepts whole numbers from `min` to `max`, both included.
pub(super) fn whole<T: TryFrom<u64>>(min: u64, max: u64) -> impl Fn(&str) -> Result<T, String> + Clone {
    move |text| {
        let number = text.parse().ok().filter(|number| (min..=max).contains(number));
        let number = number.and_then(|number| T::try_from(number).ok());
        number.ok_or_else(|| format!("accepted is a whole number from {min} to {max}"))
    }
}

/// Parses the only line of a file, as Secrets are mounted: with or without a newline at its end.
pub(super) fn file_holds<T>(file: &Path, parse: impl Fn(&str) -> Result<T, String>) -> Result<T, String> {
    let text = std::fs::read_to_string(file).map_err(|error| format!("it cannot be read: {error}"))?;
    let line = text.strip_suffix('\n').unwrap_or(&text);
    parse(line.strip_suffix('\r').unwrap_or(line)).map_err(|accepted| format!("in the file {accepted}"))
}
