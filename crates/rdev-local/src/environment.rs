//! Selects the variables of rdev's own environment that its jobs see.

use std::ffi::{OsStr, OsString};

/// Variables that programs need to run at all, and to reach the network.
const FOR_COMMANDS: [&str; 16] = [
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "SHELL",
    "LANG",
    "LANGUAGE",
    "TZ",
    "TERM",
    "TMPDIR",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "NODE_EXTRA_CA_CERTS",
];
const PREFIXES_FOR_COMMANDS: [&str; 2] = ["LC_", "XDG_"];
/// Prefixes of variables that coding agents need to reach their model, keys included.
const PREFIXES_FOR_AGENTS: [&str; 4] = ["ANTHROPIC_", "CLAUDE_", "OPENCODE_", "DISABLE_"];

/// Audience of a variable of rdev's own environment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Audience {
    /// Every job.
    Commands,
    /// Coding agents, and the programs that they start.
    Agents,
    /// rdev alone: above all its keys.
    Nobody,
}

/// Returns the audience of the variable of this name; `more` names variables that every job sees beside
/// the default ones.
pub fn audience(name: &OsStr, more: &[String]) -> Audience {
    let Some(name) = name.to_str() else { return Audience::Nobody };
    let begins = |prefixes: &[&str]| prefixes.iter().any(|prefix| name.starts_with(prefix));
    // Programs also read the proxy variables in lower case.
    let usual = FOR_COMMANDS.iter().any(|known| known.eq_ignore_ascii_case(name));
    if usual || begins(&PREFIXES_FOR_COMMANDS) || more.iter().any(|other| other == name) {
        Audience::Commands
    } else if begins(&PREFIXES_FOR_AGENTS) {
        Audience::Agents
    } else {
        Audience::Nobody
    }
}

/// Variables of all jobs, and those that agents get in addition.
#[derive(Default)]
pub(crate) struct Variables {
    pub(crate) of_commands: Vec<(OsString, OsString)>,
    pub(crate) of_agents: Vec<(String, String)>,
}

impl Variables {
    pub(crate) fn of(env: Vec<(OsString, OsString)>, more: &[String]) -> Self {
        let mut variables = Self::default();
        for (name, value) in env {
            match audience(&name, more) {
                Audience::Commands => variables.of_commands.push((name, value)),
                Audience::Agents => match (name.into_string(), value.into_string()) {
                    (Ok(name), Ok(value)) => variables.of_agents.push((name, value)),
                    (name, _) => {
                        tracing::warn!(?name, "agents do not get this variable: its value is not UTF-8")
                    }
                },
                Audience::Nobody => {}
            }
        }
        variables
    }
}
