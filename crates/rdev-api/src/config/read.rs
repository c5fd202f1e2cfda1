//! Reading of the configuration, and the one line about a wrong value.

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use clap::error::ErrorKind::{DisplayHelp, DisplayVersion};

use super::{Config, LogFormat};
use crate::telemetry::JsonLine;

impl Config {
    /// Reads the configuration from the command line and the environment. `--help` and `--version` are printed, and end
    /// the process.
    ///
    /// # Errors
    /// The exit code 2 of the process, once the wrong value is named on standard error.
    pub fn read() -> Result<Self, ExitCode> {
        Self::try_parse().map_err(|error| {
            if matches!(error.kind(), DisplayHelp | DisplayVersion) {
                error.exit();
            }
            complain(&error);
            ExitCode::from(2)
        })
    }
}

/// Variables whose values nobody is shown.
const SECRETS: [&str; 2] = ["RDEV_ADMIN_KEY", "RDEV_MASTER_KEY"];

/// Writes one line about a wrong value to standard error: the variable, the value, and what is accepted. A service's
/// log shows lines, and clap's own text has several.
fn complain(error: &clap::Error) {
    let text = error.to_string();
    let line: Vec<&str> = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with("For more information"))
        .collect();
    let mut line = name_the_variables(&line.join(" "));
    // Of the addresses only those that may hold a password are not shown.
    let holds_password = line.contains("'RDEV_DATABASE_URL'")
        && line.split("' for '").next().is_some_and(|value| value.contains('@'));
    if holds_password || SECRETS.iter().any(|secret| line.contains(&format!("'{secret}'"))) {
        line = hide_value(&line);
    }
    let message = format!("rdev-api: {}", line.trim_start_matches("error: "));
    let line = match LogFormat::of_environment() {
        LogFormat::Text => message,
        LogFormat::Json => JsonLine::error(message).to_string(),
    };
    // Standard error may be closed; the exit code still tells.
    drop(writeln!(std::io::stderr(), "{line}"));
}

/// Replaces options by their variables: clap names options (`--lease-seconds <…>`), and people set variables.
fn name_the_variables(line: &str) -> String {
    let Some((before, option)) = line.split_once("'--") else {
        return line.to_owned();
    };
    let Some((option, after)) = option.split_once('\'') else {
        return line.to_owned();
    };
    let name = option.split([' ', '=']).next().unwrap_or(option);
    let variable = format!("RDEV_{}", name.to_uppercase().replace('-', "_"));
    format!("{before}'{variable}'{}", name_the_variables(after))
}

/// Hides the value: a key with a typing error is nearly a key, and no log may show it.
fn hide_value(line: &str) -> String {
    match (line.find("value '"), line.find("' for '")) {
        (Some(from), Some(to)) if from < to => {
            format!("{}value (not shown){}", &line[..from], &line[to + 1..])
        }
        _ => line.to_owned(),
    }
}
