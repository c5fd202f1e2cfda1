//! The port's contract.

use rdev_claude::Claude;
use rdev_ports::testing::agents::{Transcript, keeps_its_promises};

use crate::transcripts::all;

#[test]
fn claude_keeps_the_promises_of_the_port() {
    let recorded = all();
    let transcripts: Vec<_> =
        recorded.iter().map(|recorded| Transcript { name: &recorded.name, bytes: &recorded.bytes }).collect();
    keeps_its_promises(&Claude, &transcripts);
}
