//! The log of this process.

use clap::{Args, ValueEnum};

/// Log of this process.
#[derive(Debug, Clone, Args)]
pub struct LogConfig {
    /// Level of the log, or a filter as tracing writes it: `info`, `rdev_engine=debug,warn`. SQL is logged when it is
    /// named: `sqlx=debug`
    #[arg(long = "log", env = "RDEV_LOG", default_value = "info", value_parser = log_filter, value_name = "LOG")]
    pub filter: String,

    /// Form of the log: text, or one JSON object a line; json inside a pod
    #[arg(long, env = "RDEV_LOG_FORMAT")]
    pub(super) log_format: Option<LogFormat>,
}

/// Form of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// For collectors.
    Json,
}

impl LogFormat {
    /// Returns the form of the log as far as the environment alone tells, for an error about the rest of the configuration.
    pub(super) fn of_environment() -> Self {
        #[expect(clippy::disallowed_methods, reason = "the configuration could not be read")]
        let variable = std::env::var;
        match variable("RDEV_LOG_FORMAT").map(|format| Self::from_str(&format, true)) {
            Ok(Ok(format)) => format,
            Ok(Err(_)) | Err(_) if variable("KUBERNETES_SERVICE_HOST").is_ok() => Self::Json,
            Ok(Err(_)) | Err(_) => Self::Text,
        }
    }
}

/// Names of the levels, in the order of the lines that they add.
const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// Accepts a filter. A part without `=` must be a level: tracing takes any other word for the name of a target, of which
/// nothing is logged, errors neither.
fn log_filter(text: &str) -> Result<String, String> {
    let accepted =
        || format!("accepted are {}, or a filter such as rdev_engine=debug,warn", LEVELS.join(", "));
    let is_level = |part: &str| LEVELS.iter().any(|level| level.eq_ignore_ascii_case(part));
    let is_sound = |part: &str| part.contains('=') || is_level(part);
    if !text.split(',').map(str::trim).all(is_sound) {
        return Err(accepted());
    }
    tracing_subscriber::EnvFilter::try_new(text).map(|_| text.to_owned()).map_err(|_| accepted())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_the_filter_is_a_level_or_names_one() {
        for sound in ["info", "WARN", "off", "rdev_engine=debug,warn", "sqlx=info, error", "[request]=debug"]
        {
            log_filter(sound).unwrap();
        }
        for wrong in
            ["verbose", "warning", "rdev_engine", "info,verbose", "", "info,", "rdev_engine=loud", "3"]
        {
            let error = log_filter(wrong).unwrap_err();
            assert!(error.contains("off, error, warn, info, debug, trace"), "{wrong:?}: {error}");
        }
    }
}
