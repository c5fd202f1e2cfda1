//! Examples of requests, answers and failures, as a story has recorded them of a server (`tests/it/examples`).

use std::collections::BTreeMap;

use serde::Deserialize;
use utoipa::openapi::example::Example;
use utoipa::openapi::path::Operation;
use utoipa::openapi::{Content, OpenApi, Ref, RefOr, Response};

/// Media type of every body but streams, outputs and files.
pub(super) const JSON: &str = "application/json";

/// Recorded examples; none of them by default.
#[derive(Default, Deserialize)]
pub(crate) struct Examples {
    /// Bodies of failures. A name begins with the code.
    failures: BTreeMap<String, Example>,
    /// Exchanges by the id of their operation.
    operations: BTreeMap<String, Exchanges>,
}

/// Exchanges of one operation, by the status of their answer.
#[derive(Deserialize)]
struct Exchanges {
    request: Option<Example>,
    answers: BTreeMap<String, Example>,
    /// Names of the failures.
    failures: BTreeMap<String, Vec<String>>,
}

impl Examples {
    /// Returns what was recorded.
    ///
    /// # Errors
    /// When the file is none of examples.
    pub(crate) fn recorded() -> serde_json::Result<Self> {
        serde_json::from_str(include_str!("examples.json"))
    }

    /// Shows the examples of an operation. A failure is shown by its name, since many operations have the same one.
    pub(super) fn show_in(&self, operation: &mut Operation) {
        let id = operation.operation_id.as_deref();
        let Some(exchanges) = id.and_then(|id| self.operations.get(id)) else { return };
        if let Some(RefOr::T(body)) = &mut operation.request_body
            && let Some(RefOr::T(content)) = body.content.get_mut(JSON)
        {
            content.example = exchanges.request.as_ref().and_then(|request| request.value.clone());
        }
        for (status, response) in &mut operation.responses.responses {
            let Some(content) = json_of(response) else { continue };
            if let Some(answer) = exchanges.answers.get(status) {
                content.example = answer.value.clone();
            }
            if let Some(names) = exchanges.failures.get(status) {
                content.examples = names.iter().map(|name| by_name(name)).collect();
            }
        }
    }

    /// Adds the failures, to which the operations refer.
    pub(crate) fn define_in(self, document: &mut OpenApi) {
        let failures = self.failures.into_iter().map(|(name, failure)| (name, RefOr::T(failure)));
        document.components.get_or_insert_default().examples.extend(failures);
    }
}

fn json_of(response: &mut RefOr<Response>) -> Option<&mut Content> {
    let RefOr::T(response) = response else { return None };
    match response.content.get_mut(JSON) {
        Some(RefOr::T(content)) => Some(content),
        Some(RefOr::Ref(_)) | None => None,
    }
}

/// Returns an example that the document has elsewhere, under its name.
pub(super) fn by_name(name: &str) -> (String, RefOr<Example>) {
    (name.to_owned(), RefOr::Ref(Ref::new(format!("#/components/examples/{name}"))))
}
