//! Faults of this program: one line for people and an exit code for programs.

use std::fmt::Display;
use std::io;

/// The command line is not valid.
pub(crate) const EXIT_USAGE: u8 = 64;
/// No run has this id.
pub(crate) const EXIT_UNKNOWN_ID: u8 = 66;
/// The supervisor is gone without an exit entry.
pub(crate) const EXIT_LOST: u8 = 67;
/// The call names another folder of runs.
pub(crate) const EXIT_OTHER_FOLDER: u8 = 68;
/// Another living pod uses this folder of runs.
pub(crate) const EXIT_SHARED: u8 = 69;
/// The runner itself failed.
pub(crate) const EXIT_FAILED: u8 = 70;
/// The run could not be created: this call has started nothing.
pub(crate) const EXIT_NOT_STARTED: u8 = 73;

/// The folder is still in use: a later attempt may succeed.
pub(crate) const EXIT_IN_USE: u8 = 75;

/// A failure that ends the program.
#[derive(Debug)]
pub(crate) struct Fault {
    pub(crate) code: u8,
    pub(crate) message: String,
}

impl Fault {
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self { code: EXIT_USAGE, message: message.into() }
    }

    pub(crate) fn unknown_id(id: &impl Display) -> Self {
        Self { code: EXIT_UNKNOWN_ID, message: format!("no run has the id \"{id}\"") }
    }

    pub(crate) fn lost(id: &impl Display) -> Self {
        Self {
            code: EXIT_LOST,
            message: format!("the supervisor of \"{id}\" is gone and left no exit entry"),
        }
    }

    pub(crate) fn damaged(id: &impl Display) -> Self {
        Self {
            code: EXIT_LOST,
            message: format!("the journal of \"{id}\" is damaged, and with it the exit entry"),
        }
    }

    pub(crate) fn other_identity(message: String) -> Self {
        Self { code: EXIT_OTHER_FOLDER, message }
    }

    pub(crate) fn shared(message: String) -> Self {
        Self { code: EXIT_SHARED, message }
    }

    pub(crate) fn in_use(message: String) -> Self {
        Self { code: EXIT_IN_USE, message }
    }

    pub(crate) fn failed(message: impl Into<String>) -> Self {
        Self { code: EXIT_FAILED, message: message.into() }
    }

    /// Returns the fault of a call that has started nothing.
    pub(crate) fn before_the_start(self) -> Self {
        let code = if self.code == EXIT_FAILED { EXIT_NOT_STARTED } else { self.code };
        Self { code, ..self }
    }

    /// Returns a fault of I/O; `what` is the failed action, as in "cannot read the journal".
    pub(crate) fn io(what: impl Display, error: impl Into<io::Error>) -> Self {
        Self::failed(format!("{what}: {}", plain(&error.into())))
    }
}

/// Returns the system's words for an error, without the number that the standard library adds.
pub(crate) fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    match text.rfind(" (os error ") {
        Some(at) => text[..at].to_owned(),
        None => text,
    }
}
