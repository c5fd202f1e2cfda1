//! A client that records what it is answered, by the operations of the server's own document.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::recording::Examples;
use crate::support::{Answer, Call, Client};

/// Parts of the document that tell what is to be recorded.
#[derive(Debug, Deserialize)]
pub(super) struct Document {
    pub(super) paths: BTreeMap<String, BTreeMap<String, Operation>>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Operation {
    #[serde(rename = "operationId")]
    pub(super) id: String,
    pub(super) security: Option<Value>,
    #[serde(default)]
    pub(super) parameters: Vec<Parameter>,
    #[serde(rename = "requestBody")]
    pub(super) request_body: Option<Value>,
    pub(super) responses: BTreeMap<String, Documented>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Parameter {
    pub(super) name: String,
    #[serde(rename = "in")]
    pub(super) place: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct Documented {
    #[serde(default)]
    pub(super) content: BTreeMap<String, MediaType>,
}

#[derive(Debug, Deserialize)]
pub(super) struct MediaType {
    pub(super) schema: Option<Value>,
}

/// One operation of the document, with its method and its path.
#[derive(Debug, Clone, Copy)]
pub(super) struct Route<'a> {
    pub(super) method: &'a str,
    pub(super) path: &'a str,
    pub(super) operation: &'a Operation,
}

impl Document {
    pub(super) async fn of(client: &Client) -> Self {
        client.get("/openapi.json").send().await.part(200)
    }

    pub(super) fn routes(&self) -> impl Iterator<Item = Route<'_>> {
        self.paths.iter().flat_map(|(path, methods)| {
            methods.iter().map(move |(method, operation)| Route { method, path, operation })
        })
    }

    /// The operation at an address: of two paths that fit, the one with fewer parameters.
    fn at(&self, method: &str, url: &str) -> Route<'_> {
        let url = url.split('?').next().unwrap();
        let fits = |route: &Route<'_>| {
            let (mut parts, mut given) = (route.path.split('/'), url.split('/'));
            loop {
                match (parts.next(), given.next()) {
                    (None, None) | (Some("{path}"), Some(_)) => return true,
                    (Some(part), Some(value)) if part == value || part.starts_with('{') => {}
                    _ => return false,
                }
            }
        };
        let of_method = self.routes().filter(|route| route.method.eq_ignore_ascii_case(method));
        let fitting = of_method.filter(fits).min_by_key(|route| route.path.matches('{').count());
        fitting.unwrap_or_else(|| panic!("no operation at {method} {url}"))
    }
}

impl Route<'_> {
    /// An address with parameters that are sound, of things that are not there.
    pub(super) fn nowhere(&self) -> String {
        let project = if self.path.contains("{command_id}") || self.path.contains("{stream_id}") {
            "demo"
        } else {
            "nosuch"
        };
        let id = "0199d7e8c0de7000a0b1c2d3e4f50617";
        self.path
            .replace("{project}", project)
            .replace("{command_id}", &format!("cmd-{id}"))
            .replace("{stream_id}", "nosuch")
            .replace("{task_id}", &format!("task-{id}"))
            .replace("{operation_id}", &format!("op-{id}"))
            .replace("{path}", "report.xml")
            .replace("{worker_id}", "nosuch")
    }

    pub(super) fn takes(&self, query: &str) -> bool {
        let mut parameters = self.operation.parameters.iter();
        parameters.any(|parameter| parameter.place == "query" && parameter.name == query)
    }

    pub(super) fn documents(&self, status: &str) -> bool {
        self.operation.responses.contains_key(status)
    }

    pub(super) fn is_stream(&self) -> bool {
        let success = self.operation.responses.get("200");
        success.is_some_and(|success| success.content.contains_key("text/event-stream"))
    }
}

/// Records what a server answers.
pub(super) struct Recorder<'a> {
    pub(super) document: &'a Document,
    pub(super) client: Client,
    pub(super) examples: &'a mut Examples,
}

impl Recorder<'_> {
    /// Records the answer to a call, which must have this status.
    pub(super) async fn expect(&mut self, status: u16, method: &str, url: &str, call: Call) -> Answer {
        let answer = call.send().await;
        assert_eq!(answer.status, status, "{method} {url}: {}", answer.text());
        let id = &self.document.at(method, url).operation.id;
        self.examples.record(id, None, &answer);
        answer
    }

    pub(super) async fn get(&mut self, status: u16, url: &str) -> Answer {
        self.expect(status, "GET", url, self.client.get(url)).await
    }

    pub(super) async fn delete(&mut self, status: u16, url: &str) -> Answer {
        self.expect(status, "DELETE", url, self.client.call("DELETE", url)).await
    }

    /// As [`Self::expect`], of a POST with this body; null is none.
    pub(super) async fn post(&mut self, status: u16, url: &str, body: &Value) -> Answer {
        let call = if body.is_null() { self.client.call("POST", url) } else { self.client.post(url, body) };
        self.submit(status, url, body, call).await
    }

    /// As [`Self::post`], of a call with that body and more.
    pub(super) async fn submit(&mut self, status: u16, url: &str, body: &Value, call: Call) -> Answer {
        let answer = call.send().await;
        assert_eq!(answer.status, status, "POST {url}: {}", answer.text());
        let id = &self.document.at("POST", url).operation.id;
        self.examples.record(id, (!body.is_null()).then_some(body), &answer);
        answer
    }

    /// The body that was recorded as the request of an operation; null where it takes none.
    pub(super) fn request(&self, operation: &Operation) -> Value {
        let exchanges = self.examples.operations.get(&operation.id);
        exchanges.and_then(|exchanges| exchanges.request.clone()).map_or(Value::Null, |request| request.value)
    }
}
