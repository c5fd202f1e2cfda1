//! Which variables of rdev's own environment its commands see.

use std::ffi::{OsStr, OsString};

/// Variables that programs need to run at all, and to reach what is outside.
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
/// Variables that coding agents need to reach their model: keys among it.
const PREFIXES_FOR_AGENTS: [&str; 4] = ["ANTHROPIC_", "CLAUDE_", "OPENCODE_", "DISABLE_"];

/// Who sees a variable of rdev's own environment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Audience {
    /// Every command.
    Commands,
    /// The programs of coding agents, and whatever they start.
    Agents,
    /// rdev itself, its keys first of all.
    Nobody,
}

/// Who sees the variable of this name; `more` names what every command sees beside the usual ones.
pub fn audience(name: &OsStr, more: &[String]) -> Audience {
    let Some(name) = name.to_str() else { return Audience::Nobody };
    let begins = |prefixes: &[&str]| prefixes.iter().any(|prefix| name.starts_with(prefix));
    // Programs read the proxies' names in small letters, too.
    let usual = FOR_COMMANDS.iter().any(|known| known.eq_ignore_ascii_case(name));
    if usual || begins(&PREFIXES_FOR_COMMANDS) || more.iter().any(|other| other == name) {
        Audience::Commands
    } else if begins(&PREFIXES_FOR_AGENTS) {
        Audience::Agents
    } else {
        Audience::Nobody
    }
}

/// The variables of commands, and those that agents get beside them.
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
                    (name, _) => tracing::warn!(?name, "agents do not get this variable: it is no UTF-8"),
                },
                Audience::Nobody => {}
            }
        }
        variables
    }
}
