//! Access: keys, scopes and tickets, on every route.

use std::collections::BTreeMap;

use rdev_client::types::{ErrorBody, Event, List, Project, Ticket};
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::support::{Answer, Client, Server, moment};

const WRONG: &str = "rdev_admin_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// The parts of an OpenAPI document that tell who may call what.
#[derive(Debug, Deserialize)]
struct OpenApi {
    openapi: String,
    paths: BTreeMap<String, BTreeMap<String, Operation>>,
}

#[derive(Debug, Deserialize)]
struct Operation {
    #[serde(rename = "operationId")]
    id: String,
    security: Option<Vec<BTreeMap<String, IgnoredAny>>>,
    responses: BTreeMap<String, IgnoredAny>,
}

const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];
/// Operations without a key; every other one needs one.
const PUBLIC: [&str; 4] = ["health", "metrics", "openapi", "ready"];

async fn ticket(client: &Client, project: &str) -> Ticket {
    client.api().issue_ticket(project).await.expect("the project is there")
}

fn unauthorized(answer: &Answer) -> ErrorBody {
    assert!(answer.header("www-authenticate").starts_with("Bearer"), "{:?}", answer.headers);
    answer.failure(401, "UNAUTHORIZED")
}

impl OpenApi {
    /// Each method and path, with its parameters replaced.
    fn calls(&self, replace: impl Fn(&str) -> String) -> Vec<(String, String, &Operation)> {
        let mut calls = Vec::new();
        for (path, operations) in &self.paths {
            let url = replace(path);
            assert!(!url.contains('{'), "a parameter that this test does not know: {path}");
            for (method, operation) in operations.iter().filter(|(name, _)| METHODS.contains(&name.as_str()))
            {
                calls.push((method.to_uppercase(), url.clone(), operation));
            }
        }
        calls
    }
}

/// A path with parameters that are sound.
fn sound(path: &str) -> String {
    path.replace("{project}", "demo")
        .replace("{command_id}", &format!("cmd-{}", "0".repeat(32)))
        .replace("{stream_id}", "none")
        .replace("{task_id}", &format!("task-{}", "0".repeat(32)))
        .replace("{operation_id}", &format!("op-{}", "0".repeat(32)))
        .replace("{path}", "dist/file")
        .replace("{worker_id}", "slot-1")
}

/// A path with parameters that are no text.
fn unreadable(path: &str) -> String {
    let between = path.split('/').map(|part| if part.starts_with('{') { "%ff" } else { part });
    between.collect::<Vec<_>>().join("/")
}

#[tokio::test]
async fn a_key_is_asked_for_before_the_path_is_read() {
    let server = Server::start().await;
    let client = server.client();
    let document: OpenApi = client.get("/openapi.json").send().await.part(200);
    let calls = document.calls(unreadable);
    for (method, url, operation) in calls.iter().filter(|(_, url, _)| url.contains('%')) {
        assert!(operation.responses.contains_key("400"), "{method} {url} documents 400");
        unauthorized(&client.with_key(None).call(method, url).send().await);
        unauthorized(&client.with_key(None).call(method, &format!("{url}?ticket=x")).send().await);
        client.call(method, url).send().await.failure(400, "INVALID_PATH");
    }
    assert!(calls.len() > 20);
}

#[tokio::test]
async fn every_route_refuses_query_parameters_that_it_does_not_know() {
    let server = Server::start().await;
    let client = server.client();
    let document: OpenApi = client.get("/openapi.json").send().await.part(200);
    for (method, url, operation) in document.calls(sound) {
        assert!(operation.responses.contains_key("400"), "{method} {url} documents 400");
        let unknown = format!("{url}?nonsense=1");
        let failure = client.call(&method, &unknown).send().await.failure(400, "INVALID_QUERY");
        assert!(failure.error.message.contains("nonsense"), "{method} {url}: {}", failure.error.message);
        if operation.security.is_some() {
            unauthorized(&client.with_key(None).call(&method, &unknown).send().await);
        }
    }
    let failure = client.get("/projects?limit=1&Limit=2").send().await.failure(400, "INVALID_QUERY");
    assert_eq!(failure.fields(), ["Limit"]);
    assert!(failure.error.message.contains("\"Limit\"") && failure.error.message.contains("limit, cursor"));
    client.get("/projects/demo/commands?state=failed").send().await.failure(400, "INVALID_QUERY");
    assert_eq!(client.call("HEAD", "/projects?limit=1").send().await.status, 200);
    assert_eq!(client.call("HEAD", "/projects?nonsense=1").send().await.status, 400);
    client.get("/queue/tasks?ticket=x").send().await.failure(400, "INVALID_QUERY");
}

#[tokio::test]
async fn every_route_that_is_not_public_wants_a_key() {
    let server = Server::start().await;
    let client = server.client();
    let document: OpenApi = client.get("/openapi.json").send().await.part(200);
    assert!(document.openapi.starts_with("3.1"), "{}", document.openapi);
    let mut public = Vec::new();
    for (method, url, operation) in document.calls(sound) {
        if operation.security.is_none() {
            public.push(operation.id.as_str());
            let answer = client.with_key(None).call(&method, &url).send().await;
            assert_ne!(answer.status, 401, "{method} {url}");
            continue;
        }
        for key in [None, Some(WRONG), Some("")] {
            unauthorized(&client.with_key(key).call(&method, &url).send().await);
        }
        assert!(operation.responses.contains_key("401"), "{method} {url} documents 401");
    }
    public.sort_unstable();
    assert_eq!(public, PUBLIC);
}

#[tokio::test]
async fn a_key_comes_in_either_of_two_headers() {
    let server = Server::start().await;
    let client = server.client();
    let (key, stranger) = (client.key.clone().unwrap(), client.with_key(None));
    let get = || stranger.get("/projects");
    assert_eq!(get().header("authorization", &format!("bearer {key}")).send().await.status, 200);
    assert_eq!(get().header("x-api-key", &key).send().await.status, 200);
    unauthorized(&get().header("x-api-key", WRONG).send().await);
    for authorization in [key.as_str(), &format!("Basic {key}"), "Bearer", &format!("Bearer {key}x")] {
        unauthorized(&get().header("authorization", authorization).send().await);
    }
    // A wrong key is told before anything about what exists.
    unauthorized(&stranger.get("/projects/none/commands").send().await);
    unauthorized(&stranger.call("POST", "/projects/none/shell").body("{").send().await);
}

#[tokio::test]
async fn a_ticket_opens_the_events_of_its_project_and_nothing_else() {
    let server = Server::start().await;
    let client = server.client();
    std::fs::create_dir(server.workspace().with_file_name("other")).unwrap();
    let accepted = client.shell_on("s", "echo hello").await;
    client.ended(&accepted.id).await;
    let issued = ticket(&client, "demo").await;
    let now = client.get("/projects").send().await.json::<List<Project>>(200);
    assert!(!now.meta.meta.request_id.is_empty());
    let again = client.api().issue_ticket("demo").answer().await.unwrap();
    assert!(moment(&again.data.expires_at) > moment(&again.meta.timestamp));

    let stranger = client.with_key(None);
    let ticket = issued.ticket;
    for path in ["/projects/demo/events/s?", "/projects/demo/events?stream_id=s&"] {
        let items = stranger.get(&format!("{path}ticket={ticket}")).events().await.rest().await;
        assert!(items.len() >= 3, "{items:?}");
    }
    let mut project = stranger.get(&format!("/projects/demo/events?ticket={ticket}")).events().await;
    while !matches!(project.event().await.event, Event::Complete(_)) {}

    for path in [
        format!("/projects/other/events?ticket={ticket}"),
        format!("/projects/none/events?ticket={ticket}"),
        format!("/projects/demo?ticket={ticket}"),
        format!("/projects?ticket={ticket}"),
        format!("/projects/demo/commands?ticket={ticket}"),
        format!("/projects/demo/commands/{}/output?ticket={ticket}", accepted.id),
        "/projects/demo/events?ticket=".to_owned(),
        "/projects/demo/events?ticket=nonsense".to_owned(),
        format!("/projects/demo/events?ticket={ticket}x"),
        format!("/projects/demo/events?ticket=9{ticket}"),
    ] {
        unauthorized(&stranger.get(&path).send().await);
    }
    let body = serde_json::json!({"command": "touch ran"});
    unauthorized(&stranger.post(&format!("/projects/demo/shell?ticket={ticket}"), &body).send().await);
    assert_eq!(server.file("ran").await, None);
}

#[tokio::test]
async fn the_same_idempotency_key_gives_the_same_ticket() {
    let server = Server::start().await;
    let client = server.client();
    let issue = async || client.api().issue_ticket("demo").idempotency_key("k").await.unwrap().ticket;
    assert_eq!(issue().await, issue().await);
    client.call("POST", "/projects/none/events/ticket").send().await.failure(404, "PROJECT_NOT_FOUND");
}

#[tokio::test]
async fn keys_are_made_once_and_for_their_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    let mut server = Server::start().await;
    let key = server.client().key;
    for name in ["admin.key", "master.key"] {
        let file = server.fixture().data_dir().join(name);
        let mode = std::fs::metadata(&file).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{name} has {mode:o}");
    }
    let ticket = ticket(&server.client(), "demo").await.ticket;
    server.terminate();
    server.wait().await;
    server.restart().await;
    let client = server.client();
    assert_eq!(client.key, key);
    // Tickets outlive a restart as well: their key is on disk.
    client.with_key(None).get(&format!("/projects/demo/events?ticket={ticket}")).events().await;
}
