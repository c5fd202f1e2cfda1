//! Ends of commands whose runner did not tell them.

use rdev_domain::{Ending, Failure, Outcome, Reason};

/// The end of a command that was cancelled before anything of it ran.
pub(crate) fn never_started() -> Outcome {
    Outcome::without_process(Ending::Cancelled, "cancelled before it started")
}

/// The end of a command of whose process nothing is known.
pub(crate) fn failed(reason: Reason, message: impl Into<String>) -> Outcome {
    Outcome::without_process(Ending::Failed(reason), message)
}

/// Why a command ended whose container went for want of memory, where another one had more.
pub(crate) fn ended_with_another() -> Failure {
    let message =
        "another command needed more memory than their container may have, and this one was ended with it";
    Failure::new(Reason::PodRestarted, message)
}
