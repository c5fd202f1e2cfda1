//! The oracle of chaos and of power cuts: what is asked for, how often it may happen, and what must be told
//! of it afterwards, whatever was done to servers meanwhile.
//!
//! Every accepted task has ended, has run exactly as often as it says, and every server tells the same whole stream of it.

mod addresses;
mod clients;
mod keeper;
mod tasks;
mod verdict;

pub(crate) use addresses::Addresses;
pub(crate) use clients::{Accepted, Clients, Manners, Tried};
pub(crate) use keeper::Keeper;
pub(crate) use tasks::{Kind, PROJECTS, Task};
pub(crate) use verdict::Severity;

use crate::support::variable;

/// Checks that a server's log says nothing of what should not be possible.
const STRANGE: [&str; 3] = ["panicked", "internal error", "Internal("];

/// Holds the log of a server to be without anything that it did not expect.
pub(crate) fn nothing_strange(log: &str) {
    let strange: Vec<&str> =
        log.lines().filter(|line| STRANGE.iter().any(|word| line.contains(word))).collect();
    assert!(strange.is_empty(), "{strange:?}");
}

/// The number in this variable, or one by chance. It is printed, so that the same can be had again.
pub(crate) fn seed(name: &str) -> u64 {
    let given = variable(name).map(|seed| seed.parse().unwrap_or_else(|_| panic!("{name} is a number")));
    let seed = given.unwrap_or_else(|| fastrand::u64(..));
    println!("{name}={seed}");
    seed
}
