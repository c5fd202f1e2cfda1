//! Ends of commands whose runner did not tell them.

use rdev_domain::{Ending, Outcome, Reason, Trouble};
use rdev_runner::frame::Loss;

/// The end of a command that was cancelled before anything of it ran.
pub(crate) fn never_started() -> Outcome {
    Outcome::without_process(Ending::Cancelled, "cancelled before it started")
}

/// The end of a command of whose process nothing is known.
pub(crate) fn failed(reason: Reason, message: impl Into<String>) -> Outcome {
    Outcome::without_process(Ending::Failed(reason), message)
}

/// Why a command ended that was lost with its container. Of those that went for want of memory only the one that had most
/// of it ended by that.
pub(crate) fn lost_with_container(loss: Loss, trouble: Trouble) -> Trouble {
    match (loss, trouble.reason) {
        (Loss::Beside, Reason::OomKilled) => Trouble::new(
            Reason::PodRestarted,
            "another command needed more memory than their container may have, and this one was ended with it",
        ),
        _ => trouble,
    }
}
