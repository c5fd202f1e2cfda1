//! Schemas of event streams: the data of an event, and the event as a whole.

use utoipa::openapi::schema::{AnyOfBuilder, Discriminator, Schema, Type};
use utoipa::openapi::{ObjectBuilder, OneOfBuilder, Ref, RefOr};
use utoipa::{PartialSchema, ToSchema};

use crate::{EventName, StreamItem};

/// Schema of an event stream: the data of each event, a JSON text. `event` names the shape.
///
/// A stream is server-sent events: `id: …`, `event: …`, `data: …`, and an empty line; `retry: …` are milliseconds to wait before
/// connecting again. `id` is for `Last-Event-ID`: the event's number in its stream, on a stream of several jobs an opaque text.
/// [`StreamItem`] is the form of the same events as lines of JSON.
#[derive(Debug, Clone, Copy)]
pub struct StreamEvent;

/// Returns the shapes of the data of an event.
const fn shapes(name: EventName) -> &'static [&'static str] {
    match name {
        EventName::Output | EventName::Error => &["OutputEvent"],
        EventName::Lines => &["LinesEvent"],
        EventName::Agent => &["AgentEvent"],
        EventName::Status => &["StatusEvent"],
        EventName::Step => &["StepEvent"],
        EventName::Complete => &["CompleteEvent"],
        EventName::Gap => &["GapEvent", "ProjectGapEvent"],
        EventName::Heartbeat => &["HeartbeatEvent"],
        EventName::Ticket => &["Ticket"],
        EventName::Unknown => &[],
    }
}

fn one_of<'a>(shapes: impl IntoIterator<Item = &'a str>) -> OneOfBuilder {
    shapes.into_iter().fold(OneOfBuilder::new(), |all, shape| all.item(Ref::from_schema_name(shape)))
}

impl PartialSchema for StreamEvent {
    fn schema() -> RefOr<Schema> {
        let mut about = "Data of one server-sent event, a JSON text. The event's name tells which, as `StreamItem` says:\n".to_owned();
        let mut all: Vec<&str> = Vec::new();
        for name in EventName::ALL {
            about.push_str(&format!("\n- `{name}`: {}", shapes(*name).join(", ")));
            all.extend(shapes(*name));
        }
        all.dedup();
        about.push_str(
            "\n\n`id` of the event is for `Last-Event-ID`: its number in its stream, on a stream of several jobs an opaque text. \
             A `heartbeat` and a `ticket` have none, on the stream of one job a `status` has none, and on one of several a \
             `gap` between ids has none.",
        );
        // Not `oneOf`: what is whole as the data of one event, such as a heartbeat's time, is a part of another's.
        let any_of = all.into_iter().map(Ref::from_schema_name).fold(AnyOfBuilder::new(), AnyOfBuilder::item);
        any_of.description(Some(about)).into()
    }
}

impl ToSchema for StreamEvent {
    fn name() -> std::borrow::Cow<'static, str> {
        std::borrow::Cow::Borrowed("StreamEvent")
    }
}

impl StreamItem {
    /// Returns the name of the schema of an event of this name.
    fn name_of(event: EventName) -> String {
        let name = event.as_str();
        let (first, rest) = name.split_at(1);
        format!("{}{rest}Item", first.to_uppercase())
    }

    fn of(event: EventName) -> RefOr<Schema> {
        let name = ObjectBuilder::new().schema_type(Type::String).enum_values(Some([event.as_str()]));
        let data: RefOr<Schema> = match shapes(event) {
            [shape] => Ref::from_schema_name(*shape).into(),
            several => one_of(several.iter().copied()).into(),
        };
        let id = ObjectBuilder::new().schema_type(Type::String).description(Some("For `Last-Event-ID`"));
        ObjectBuilder::new()
            .schema_type(Type::Object)
            .property("event", name)
            .required("event")
            .property("id", id)
            .property("data", data)
            .required("data")
            .into()
    }
}

impl PartialSchema for StreamItem {
    fn schema() -> RefOr<Schema> {
        let about = "One event as a whole: `event` tells the shape of `data`. With `Accept: application/x-ndjson` each line of a stream \
                     is one; of server-sent events it is the type into which a program reads them.";
        let names = EventName::ALL.iter().map(|event| (event.as_str(), Self::name_of(*event)));
        let mapping = names.clone().map(|(event, name)| (event, format!("#/components/schemas/{name}")));
        let discriminator = Discriminator::with_mapping("event", mapping);
        let names: Vec<String> = names.map(|(_, name)| name).collect();
        one_of(names.iter().map(String::as_str))
            .description(Some(about))
            .discriminator(Some(discriminator))
            .into()
    }
}

impl ToSchema for StreamItem {
    fn name() -> std::borrow::Cow<'static, str> {
        std::borrow::Cow::Borrowed("StreamItem")
    }

    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        let item = |event: &EventName| (Self::name_of(*event), Self::of(*event));
        schemas.extend(EventName::ALL.iter().map(item));
    }
}
