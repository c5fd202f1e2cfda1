//! Forms of events: the bytes around their ids, names and data.

use rdev_api_types::EventName;
use rdev_domain::Position;
use serde::Serialize;

use crate::sse::negotiation::Framing;

/// Form in which events are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Form {
    /// Events of a stream, with their ids.
    Events(Framing, Ids),
    /// Data of events with their names, one JSON object a line.
    Data,
    /// The output alone, as it was written.
    Bytes,
}

/// Ids of the events of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Ids {
    /// Of one job: the event's number, and a status has none.
    Numbers,
    /// Of several jobs: the entry's position and the event's number.
    Positions,
}

/// Bytes between the parts of an event.
pub(super) struct Marks {
    pub(super) before_id: &'static str,
    /// Between id and name.
    pub(super) after_id: &'static str,
    /// Before the name of an event without an id.
    pub(super) without_id: &'static str,
    /// Between the name and the first field of the data.
    pub(super) after_name: &'static str,
    /// After the last field of the data and its brace.
    pub(super) end: &'static str,
}

const SSE: Marks = Marks {
    before_id: "id: ",
    after_id: "\nevent: ",
    without_id: "event: ",
    after_name: "\ndata: {",
    end: "\n\n",
};
const NDJSON: Marks = Marks {
    before_id: "{\"id\":\"",
    after_id: "\",\"event\":\"",
    without_id: "{\"event\":\"",
    after_name: "\",\"data\":{",
    end: "}\n",
};
const DATA: Marks = Marks {
    before_id: "",
    after_id: "{\"event\":\"",
    without_id: "{\"event\":\"",
    after_name: "\",",
    end: "\n",
};

impl Form {
    pub(super) fn marks(self) -> &'static Marks {
        match self {
            Self::Events(Framing::Sse, _) => &SSE,
            Self::Events(Framing::Ndjson, _) => &NDJSON,
            Self::Data | Self::Bytes => &DATA,
        }
    }

    /// Returns the id of an event of an entry up to the event's number; `None` in forms without ids.
    pub(super) fn id_before_number(self, position: Position) -> Option<String> {
        match self {
            Self::Events(_, Ids::Numbers) => Some(String::new()),
            Self::Events(_, Ids::Positions) => Some(format!("{}-", position.0)),
            Self::Data | Self::Bytes => None,
        }
    }

    /// Returns the id of an event of an entry; `None` in forms without ids.
    pub(super) fn id(self, position: Position, number: u64) -> Option<String> {
        self.id_before_number(position).map(|before| before + itoa::Buffer::new().format(number))
    }
}

/// Appends an event.
pub(super) fn event(
    out: &mut Vec<u8>,
    form: Form,
    id: Option<&str>,
    event: EventName,
    data: &impl Serialize,
) {
    if form == Form::Bytes {
        return;
    }
    begin(out, form, id, event);
    let from = out.len();
    json(out, data);
    // `begin` has written the opening brace.
    out.remove(from);
    put(out, [form.marks().end]);
}

/// Writes an event up to the first field of its data.
pub(super) fn begin(out: &mut Vec<u8>, form: Form, id: Option<&str>, event: EventName) {
    let Marks { before_id, after_id, without_id, after_name, .. } = *form.marks();
    match id {
        Some(id) => put(out, [before_id, id, after_id, event.as_str(), after_name]),
        None => put(out, [without_id, event.as_str(), after_name]),
    }
}

pub(super) fn put<const N: usize>(out: &mut Vec<u8>, parts: [&str; N]) {
    parts.iter().for_each(|part| out.extend_from_slice(part.as_bytes()));
}

pub(super) fn json(out: &mut Vec<u8>, value: &(impl Serialize + ?Sized)) {
    serde_json::to_writer(out, value).expect("text and numbers are written to memory");
}
