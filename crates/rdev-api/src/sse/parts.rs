//! Parts of entries: a row of the log may hold more lines than are to be rendered in one piece.

use std::sync::Arc;

use rdev_domain::{Entry, EntryBody, Seq};
use rdev_runner::frame::{self, Part};

/// Events from which on an entry is rendered in several parts: a line of one byte becomes more than a hundred.
const PART_EVENTS: u32 = 1024;

/// Returns the entry in parts of bounded size, each an entry at the same position. What cannot be split stays whole: its
/// rendering tells the error.
pub(super) fn parts(entry: Arc<Entry>) -> Vec<Arc<Entry>> {
    let events = entry.last_seq.0.saturating_sub(entry.first_seq.0);
    let EntryBody::Output(frames) = &entry.body else { return vec![entry] };
    if events < PART_EVENTS.into() {
        return vec![entry];
    }
    let part = |Part { first_seq, last_seq, frames }| {
        let body = EntryBody::Output(frames);
        Arc::new(Entry { first_seq: Seq(first_seq), last_seq: Seq(last_seq), body, ..Entry::clone(&entry) })
    };
    match frame::parts(frames.clone(), PART_EVENTS) {
        Ok(parts) => parts.into_iter().map(part).collect(),
        Err(_) => vec![entry],
    }
}
