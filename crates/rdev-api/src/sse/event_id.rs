//! Ids of events, and the numbers in them.

use rdev_domain::{Entry, EntryBody, Position, Seq};
use rdev_engine::Begin;

/// Largest number in an id: 18 digits.
const SEQ_MAX: Seq = Seq(999_999_999_999_999_999);

/// Id of an event in a stream of several jobs, opaque to clients: the same in every such stream that has the event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LogEventId {
    pub(crate) position: Position,
    pub(crate) seq: Seq,
}

impl LogEventId {
    /// Returns the id after all events up to this entry.
    pub(crate) fn after(position: Position) -> Self {
        Self { position, seq: SEQ_MAX }
    }

    /// Returns where a reader resumes that has this id: within the entry, of which later events may follow. The id at the
    /// end of a gap has the event number 0.
    pub(crate) fn begin(self) -> Begin {
        match self {
            Self { position: Position::ZERO, .. } => Begin::Start,
            Self { position, seq: Seq::ZERO } => Begin::From(position),
            Self { position, .. } => Begin::Within(position),
        }
    }
}

impl std::fmt::Display for LogEventId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}", self.position.0, self.seq.0)
    }
}

impl std::str::FromStr for LogEventId {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (position, seq) = text.split_once('-').ok_or(())?;
        let parse = |text| number(text).ok_or(());
        Ok(Self { position: Position(parse(position)?), seq: Seq(parse(seq)?) })
    }
}

/// Parses a number of an id by the pattern of the OpenAPI document: 1 to 18 digits.
pub(crate) fn number(text: &str) -> Option<u64> {
    let digits = (1..=18).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

/// Returns the first and the last number of the events that are missing between the event `after` of a stream and its next
/// entry. A status carries the number that the stream had reached when it was stored.
pub(super) fn missing(entry: &Entry, after: Seq) -> Option<(u64, u64)> {
    let before = if is_counted(entry) { entry.first_seq.0 - 1 } else { entry.last_seq.0 };
    (before > after.0).then_some((after.next().0, before))
}

/// Tells whether the entry's events take numbers.
pub(super) fn is_counted(entry: &Entry) -> bool {
    match &entry.body {
        EntryBody::Status(_) | EntryBody::Stalled(_) => false,
        EntryBody::Retry(retrying) => retrying.counted,
        EntryBody::Step(_) | EntryBody::Output(_) | EntryBody::Complete(_) | EntryBody::FormerEnd(_) => true,
    }
}
