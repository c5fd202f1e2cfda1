//! Typed events of every transcript, against a digest that is committed: a change of them shows in review.

use std::fmt::Write;
use std::path::Path;

use rdev_claude::Claude;
use rdev_domain::AgentEvent;
use rdev_ports::CodeAgent;
use rdev_ports::testing::agents::{Transcript, reason, verdict};

use crate::transcripts::{all, data};

/// Longest text of an event in the digest, in characters.
const TEXT_CHARS_MAX: usize = 100;

#[test]
fn every_line_of_every_transcript_is_an_event() {
    let mut digest = String::new();
    for recorded in all() {
        let transcript = Transcript { name: &recorded.name, bytes: &recorded.bytes };
        let judged = match reason(verdict(&Claude, &recorded.bytes, usize::MAX).as_ref()) {
            None => "no verdict",
            Some(Ok(())) => "success",
            Some(Err(reason)) => reason.as_str(),
        };
        writeln!(digest, "== {}: {judged}", recorded.name).unwrap();
        for line in transcript.lines() {
            let event = Claude.read_line(line);
            let event =
                event.unwrap_or_else(|| panic!("{}: {}", recorded.name, String::from_utf8_lossy(line)));
            writeln!(digest, "{}", in_words(&event)).unwrap();
        }
    }
    let committed = std::fs::read_to_string(data().join("events.txt")).unwrap_or_default();
    if digest != committed {
        let new = Path::new(env!("CARGO_TARGET_TMPDIR")).join("events.txt");
        std::fs::write(&new, &digest).unwrap();
        let (mut there, mut here) = (committed.lines(), digest.lines());
        let differs = std::iter::from_fn(|| Some((there.next(), here.next()))).find(|(a, b)| a != b);
        panic!("events differ from tests/data/events.txt, see {}: {differs:?}", new.display());
    }
}

fn in_words(event: &AgentEvent) -> String {
    let kinds: Vec<&str> = event.blocks().map(rdev_domain::AgentBlock::kind).collect();
    let text: String = event.to_text().chars().take(TEXT_CHARS_MAX).collect();
    let mut words = format!("{} {:?}", kinds.join("+"), text);
    if let Some(usage) = event.usage {
        write!(words, " {} in, {} out", usage.input_tokens, usage.output_tokens).unwrap();
    }
    if let Some(cost) = event.cost_micro_usd {
        write!(words, ", {cost} µ$").unwrap();
    }
    words
}
