//! Ends of commands whose runner did not tell them.

use rdev_domain::{Ending, Outcome, Reason, Trouble};
use rdev_ports::Fate;

/// The end of a command that was cancelled before anything of it ran.
pub(crate) fn never_started() -> Outcome {
    Outcome::without_process(Ending::Cancelled, "cancelled before it started")
}

/// Why what ran in a place that was left is no more.
pub(crate) fn trouble_of(fate: Fate) -> Trouble {
    match fate {
        Fate::Gone(trouble) | Fate::Interrupted(trouble) => trouble,
        Fate::Unknown | Fate::Undisturbed => {
            Trouble::new(Reason::PodLost, "the place it ran in was replaced, its end is unknown")
        }
    }
}

/// The end of a command of whose process nothing is known.
pub(crate) fn failed(reason: Reason, message: impl Into<String>) -> Outcome {
    Outcome::without_process(Ending::Failed(reason), message)
}
