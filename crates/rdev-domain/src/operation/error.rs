//! Errors of steps: their kinds, and the messages that are kept of them.

use serde::{Deserialize, Serialize};

use crate::{Error, causes};

/// Error of a step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepError {
    /// Kind of the error.
    pub code: StepErrorCode,
    /// Explanation for people, of some 4 KiB at most; the error of taking a step back may follow.
    pub message: String,
}

/// Kind of a step's error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepErrorCode {
    /// A system does not answer, or is full. The failure may pass.
    Unavailable,
    /// Something that the operation did not make is in the way.
    Conflict,
    /// The operation needs something that does not exist, or is not valid.
    Invalid,
    /// A defect, or a broken system.
    Internal,
}

impl StepErrorCode {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Unavailable, Self::Conflict, Self::Invalid, Self::Internal];

    /// Name in answers, events and stores.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unavailable => "unavailable",
            Self::Conflict => "conflict",
            Self::Invalid => "invalid",
            Self::Internal => "internal",
        }
    }

    /// Returns the code of a name in stores.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|code| code.as_str() == name)
    }
}

/// Most bytes of the message of an attempt's error: 4 KiB; a longer one is cut.
const MESSAGE_MAX: usize = 4096;
/// Beginning of the error of an attempt to take a step back, in the step's error.
const TAKING_BACK: &str = "taking it back: ";

impl StepError {
    /// Describes the error of an attempt.
    pub fn of(error: &Error) -> Self {
        let (code, message) = match error {
            Error::Unavailable { source, .. } => {
                (StepErrorCode::Unavailable, format!("{error}: {}", causes(source)))
            }
            Error::Conflict { message, .. } => (StepErrorCode::Conflict, message.clone()),
            Error::Internal(source) => (StepErrorCode::Internal, causes(source)),
            Error::Invalid(fields) => {
                let fields: Vec<_> =
                    fields.iter().map(|of| format!("{}: {}", of.field, of.message)).collect();
                (StepErrorCode::Invalid, fields.join("; "))
            }
            Error::NotFound { .. } => (StepErrorCode::Invalid, error.to_string()),
            Error::LeaseLost => (StepErrorCode::Internal, error.to_string()),
        };
        // Postgres stores no text with NUL.
        let mut message = message.replace('\0', "\u{fffd}");
        if message.len() > MESSAGE_MAX {
            message.truncate(message.floor_char_boundary(MESSAGE_MAX));
            message.push('…');
        }
        Self { code, message }
    }

    /// Returns the error of an attempt to take a step back, after the cause of the step's failure, which stays first
    /// however many attempts follow.
    pub(super) fn after(self, former: Option<&Self>) -> Self {
        match former.and_then(Self::cause) {
            Some(cause) if cause.message == self.message => cause,
            Some(cause) => {
                Self { message: format!("{}; {TAKING_BACK}{}", cause.message, self.message), ..cause }
            }
            None => Self { message: format!("{TAKING_BACK}{}", self.message), ..self },
        }
    }

    /// Returns the cause of a step's failure, without what was added by attempts to take the step back; `None` when
    /// nothing but these has failed.
    pub(super) fn cause(&self) -> Option<Self> {
        match self.message.split_once(TAKING_BACK) {
            None => Some(self.clone()),
            Some(("", _)) => None,
            Some((cause, _)) => {
                Some(Self { message: cause.trim_end_matches("; ").to_owned(), ..self.clone() })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_read_back() {
        for code in StepErrorCode::ALL {
            assert_eq!(StepErrorCode::parse(code.as_str()), Some(code));
        }
        assert_eq!(StepErrorCode::parse("?"), None);
    }

    #[test]
    fn an_error_is_described_with_its_cause() {
        let unavailable = Error::unavailable("workspaces", anyhow::anyhow!("disk\0 full"));
        let described = StepError::of(&unavailable);
        assert_eq!(described.code, StepErrorCode::Unavailable);
        assert_eq!(described.message, "workspaces is not available: disk\u{fffd} full");
        let internal = Error::Internal(anyhow::anyhow!("a").context("b"));
        let described = StepError::of(&internal);
        assert_eq!((described.code, described.message.as_str()), (StepErrorCode::Internal, "b: a"));
        let invalid = Error::Invalid(vec![crate::FieldError { field: "f".into(), message: "m".into() }]);
        assert_eq!(StepError::of(&invalid).message, "f: m");
        let conflict = Error::conflict(crate::Conflict::NameTaken, "in the way");
        assert_eq!(StepError::of(&conflict).code, StepErrorCode::Conflict);
        let message = |text: String| StepError::of(&Error::Internal(anyhow::anyhow!(text))).message;
        let long = message("ä".repeat(5000));
        assert_eq!((long.len(), long.chars().last()), (4096 + 3, Some('…')));
        assert_eq!(message("a".repeat(4096)), "a".repeat(4096));
    }

    #[test]
    fn an_attempt_to_take_back_keeps_the_cause_first() {
        let error = |message: &str| StepError { code: StepErrorCode::Internal, message: message.to_owned() };
        let after = |message: &str, former: &StepError| error(message).after(Some(former));
        let once = after("stuck", &error("broken"));
        assert_eq!(once.message, format!("broken; {TAKING_BACK}stuck"));
        assert_eq!(after("gone", &once).message, format!("broken; {TAKING_BACK}gone"));
        // The same error is told once.
        assert_eq!(after("broken", &once), error("broken"));
        assert_eq!(after("broken", &error("broken")), error("broken"));
        assert_eq!(error("stuck").after(None).message, format!("{TAKING_BACK}stuck"));
    }
}
