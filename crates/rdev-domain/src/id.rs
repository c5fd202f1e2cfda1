//! Identifiers: projects, jobs, streams, keys and workers. Each type parses its own syntax and holds
//! nothing else.

use std::fmt;
use std::str::FromStr;

/// A text that is not an id of the expected kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind} {value:?} is not valid: {accepted}")]
pub struct IdError {
    /// Kind of id that was expected, in lower case.
    pub kind: &'static str,
    /// The rejected text, cut to 80 characters.
    pub value: String,
    /// Description of the accepted syntax.
    pub accepted: &'static str,
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $kind:literal, $accepted:literal, $check:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(std::sync::Arc<str>);

        impl $name {
            /// Returns the id as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                let check: fn(&str) -> bool = $check;
                if check(text) {
                    Ok(Self(text.into()))
                } else {
                    let value = crate::text::shown(text).to_owned();
                    Err(IdError { kind: $kind, value, accepted: $accepted })
                }
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

fn is_label(text: &str, length_max: usize) -> bool {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    !text.is_empty()
        && text.len() <= length_max
        && text.bytes().all(inner)
        && !text.starts_with('-')
        && !text.ends_with('-')
}

fn is_token(text: &str, length_max: usize) -> bool {
    let inner = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-' | b':');
    !text.is_empty()
        && text.len() <= length_max
        && text.bytes().all(inner)
        && text.as_bytes()[0].is_ascii_alphanumeric()
}

id!(
    /// Id of a project, as in the label of its pod or the name of its directory.
    ProjectId,
    "project id",
    "1 to 63 of a-z, 0-9 and '-', beginning and ending with a letter or digit",
    |text| is_label(text, 63)
);
id!(
    /// Id of a job: its prefix, and 32 hexadecimal digits that sort by time. Ids of tasks that earlier versions accepted
    /// begin with `cmd-`, and sort before those that begin with `task-`.
    JobId,
    "job id",
    "\"cmd-\", \"task-\" or \"op-\", and 32 hexadecimal digits",
    |text| JobIdPrefix::ALL.iter().any(|prefix| text.strip_prefix(prefix.as_str()).is_some_and(|hex| {
        hex.len() == 32 && hex.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    }))
);
id!(
    /// Name of a job's event stream, unique in its target: chosen by the caller, else the job's id.
    StreamId,
    "stream_id",
    "1 to 128 of letters, digits, '.', '_', '-' and ':', beginning with a letter or digit",
    |text| is_token(text, 128)
);
id!(
    /// Name of an operation's step, unique in its operation.
    StepName,
    "step name",
    "1 to 40 of a-z, 0-9 and '_'",
    |text| (1..=40).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
);
id!(
    /// Public part of an API key.
    KeyId,
    "key id",
    "1 to 64 of letters, digits, '.', '_', '-' and ':'",
    |text| is_token(text, 64)
);
id!(
    /// Id of one process that claims jobs.
    WorkerId,
    "worker id",
    "1 to 128 of letters, digits, '.', '_', '-' and ':'",
    |text| is_token(text, 128)
);

id!(
    /// Name of a worker of the pool: the name of its pod, or of its slot on this machine.
    WorkerName,
    "worker",
    "1 to 63 of a-z, 0-9 and '-', beginning and ending with a letter or digit",
    |text| is_label(text, 63)
);

/// Beginning of a job's id, by which callers tell commands, tasks and operations apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobIdPrefix {
    /// `cmd-`, of a command.
    Command,
    /// `task-`, of a task.
    Task,
    /// `op-`, of an operation.
    Operation,
}

impl JobIdPrefix {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Command, Self::Task, Self::Operation];

    /// Returns the prefix as text.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Command => "cmd-",
            Self::Task => "task-",
            Self::Operation => "op-",
        }
    }
}

impl JobId {
    /// Makes an id of its prefix and its digits, as a number.
    pub fn new(prefix: JobIdPrefix, digits: u128) -> Self {
        Self(format!("{}{digits:032x}", prefix.as_str()).into())
    }
}

impl From<&JobId> for StreamId {
    fn from(id: &JobId) -> Self {
        Self(id.0.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn project_ids_are_dns_labels() {
        for good in ["demo", "a", "x1-y", &"a".repeat(63)] {
            assert!(good.parse::<ProjectId>().is_ok(), "{good}");
        }
        for bad in ["", "-a", "a-", "A", "a_b", "../x", "a/b", "ä", &"a".repeat(64)] {
            assert!(bad.parse::<ProjectId>().is_err(), "{bad}");
        }
    }

    #[test]
    fn stream_ids_are_tokens() {
        for good in ["a", "slack:C123.456", "Run_1"] {
            assert!(good.parse::<StreamId>().is_ok(), "{good}");
        }
        for bad in ["", ".a", "a b", "a\n", "a/b", &"a".repeat(129)] {
            assert!(bad.parse::<StreamId>().is_err(), "{bad}");
        }
    }

    #[test]
    fn step_names_are_words() {
        for good in ["a", "workspace", "dns_2", &"a".repeat(40)] {
            assert!(good.parse::<StepName>().is_ok(), "{good}");
        }
        for bad in ["", "A", "a-b", "a b", &"a".repeat(41)] {
            assert!(bad.parse::<StepName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn job_ids_have_one_spelling() {
        let id = format!("cmd-{}", "0a".repeat(16));
        for prefix in JobIdPrefix::ALL {
            let id = id.replace("cmd-", prefix.as_str());
            assert_eq!(id.parse::<JobId>().unwrap().as_str(), id);
            assert_eq!(JobId::new(prefix, 0x0a0a_0a0a_0a0a_0a0a_0a0a_0a0a_0a0a_0a0a).as_str(), id);
        }
        for bad in [
            "cmd-",
            "cmd-1",
            "op-",
            &id.to_uppercase(),
            &id.replace("cmd", "CMD"),
            &format!("op-{id}"),
            &format!("task{id}"),
        ] {
            assert!(bad.parse::<JobId>().is_err(), "{bad}");
        }
    }
}
