//! Shape of a stream: which events a subscriber is sent, and in which form.

use axum::http::HeaderMap;
use rdev_api_types::{EventName, SubscriptionQuery};
use rdev_domain::EntryBody;

use super::agent::AgentForm;
use super::negotiation::Framing;
use crate::error::ApiError;

/// Which events a subscriber is sent, and in which form.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(crate) struct Shape {
    /// Form of the lines of agents.
    pub(crate) agent: AgentForm,
    /// True where standard error is sent as `output`.
    pub(crate) stderr_as_output: bool,
    /// Events that are sent.
    pub(crate) types: EventTypes,
    /// Most lines of one event, where lines that are ready together come in one.
    pub(crate) batch: Option<u32>,
    /// Framing of the events.
    pub(crate) framing: Framing,
}

impl Shape {
    /// Reads the shape that a query and `Accept` ask for; `agent` is the value of `?agent=`.
    ///
    /// # Errors
    /// 422 that names the parameter and what is accepted.
    pub(crate) fn asked(
        query: &SubscriptionQuery,
        agent: Option<&str>,
        headers: &HeaderMap,
    ) -> Result<Self, ApiError> {
        let stderr_as_output = match query.stderr.as_deref() {
            None | Some("error") => false,
            Some("output") => true,
            Some(_) => {
                let message = "it is not valid: accepted are `error` and `output`";
                return Err(ApiError::invalid_field("stderr", message));
            }
        };
        let types = query.types.as_deref().map_or(Ok(EventTypes::default()), EventTypes::parse)?;
        if let Some(batch) = query.batch
            && !(1..=SubscriptionQuery::BATCH_MAX).contains(&batch)
        {
            let message =
                format!("{batch} is not valid: 1 to {} lines an event", SubscriptionQuery::BATCH_MAX);
            return Err(ApiError::invalid_field("batch", message));
        }
        let (batch, framing) = (query.batch, Framing::preferred(headers));
        Ok(Self { agent: AgentForm::asked(agent)?, stderr_as_output, types, batch, framing })
    }
}

/// Events that a subscriber chooses; gaps, heartbeats and tickets are always sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct EventTypes(u8);

const CHOSEN: [EventName; 6] = [
    EventName::Status,
    EventName::Output,
    EventName::Error,
    EventName::Agent,
    EventName::Step,
    EventName::Complete,
];

impl Default for EventTypes {
    /// All.
    fn default() -> Self {
        Self(CHOSEN.iter().fold(0, |all, name| all | bit(*name)))
    }
}

fn bit(name: EventName) -> u8 {
    CHOSEN.iter().position(|chosen| *chosen == name).map_or(0, |nth| 1 << nth)
}

impl EventTypes {
    /// Adds `complete`, with which the stream of one job ends: without its number a reader would connect again for ever.
    pub(super) fn with_complete(self) -> Self {
        Self(self.0 | bit(EventName::Complete))
    }

    fn parse(text: &str) -> Result<Self, ApiError> {
        let mut types = Self(0);
        for name in text.split(',') {
            let known = CHOSEN.iter().find(|chosen| chosen.as_str() == name);
            let Some(known) = known else {
                let accepted = CHOSEN.map(EventName::as_str).join(", ");
                let message = format!("{name:?} is not valid: accepted are {accepted}, with commas between");
                return Err(ApiError::invalid_field("types", message));
            };
            types.0 |= bit(*known);
        }
        Ok(types)
    }

    /// Tells whether events of this name are sent.
    pub(crate) fn has(self, name: EventName) -> bool {
        bit(name) == 0 || self.0 & bit(name) != 0
    }

    /// Tells whether anything of a process's output is sent.
    pub(crate) fn has_output(self) -> bool {
        [EventName::Output, EventName::Error, EventName::Agent].into_iter().any(|name| self.has(name))
    }

    /// Tells whether anything of an entry may be sent.
    pub(super) fn has_any_of(self, body: &EntryBody) -> bool {
        match body {
            EntryBody::Output(_) => self.has_output(),
            EntryBody::Step(_) => self.has(EventName::Step),
            EntryBody::Complete(_) => self.has(EventName::Complete),
            EntryBody::Status(_) | EntryBody::Stalled(_) | EntryBody::Retry(_) | EntryBody::FormerEnd(_) => {
                self.has(EventName::Status)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn types(text: &str) -> Option<EventTypes> {
        let query = SubscriptionQuery { types: Some(text.to_owned()), ..SubscriptionQuery::default() };
        Shape::asked(&query, None, &HeaderMap::new()).ok().map(|shape| shape.types)
    }

    #[test]
    fn chosen_events_are_sent_and_no_others() {
        let ends = types("status,complete").unwrap();
        assert!(ends.has(EventName::Status) && ends.has(EventName::Complete) && ends.has(EventName::Gap));
        assert!(!ends.has(EventName::Output) && !ends.has(EventName::Step) && !ends.has_output());
        assert!(types("error").unwrap().has_output());
        let all = EventTypes::default();
        assert!(EventName::ALL.iter().all(|name| all.has(*name)));
        assert_eq!(types("status,output,error,agent,step,complete"), Some(all));
        for wrong in ["", "statuses", "status,", "status, complete", "gap"] {
            assert_eq!(types(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn standard_error_has_two_names() {
        let asked = |stderr: Option<&str>| {
            let query = SubscriptionQuery { stderr: stderr.map(str::to_owned), ..Default::default() };
            Shape::asked(&query, None, &HeaderMap::new()).ok().map(|shape| shape.stderr_as_output)
        };
        assert_eq!([None, Some("error"), Some("output")].map(asked), [false, false, true].map(Some));
        assert_eq!(asked(Some("both")), None);
    }
}
