//! The surface of the API: shapes and codes that every route shares.

use rdev_client::types::{
    Accepted, Artefact, Command, ComponentStatus, Components, Data, ErrorBody, Health, List, Pool, Project,
    ProjectStatus, QueueStats, ReadinessAnswer, Status, Task, Ticket, Worker,
};
use serde_json::json;

use crate::support::{Fixture, Server};

#[tokio::test]
async fn health_and_readiness_are_bare() {
    let server = Server::start().await;
    let client = server.client().with_key(None);
    let health = client.get("/health").send().await;
    assert!(health.text().starts_with(r#"{"status":"ok","version":"0."#), "{}", health.text());
    let health = health.json::<Health>(200);
    assert_eq!(health.status, ComponentStatus::Ok);
    let version = server.fixture().program().arg("--version").output().await.unwrap();
    let named = format!("rdev-api {} ({})\n", health.version, health.commit);
    assert_eq!(String::from_utf8_lossy(&version.stdout), named);
    let ready: ReadinessAnswer = client.get("/ready").send().await.json(200);
    let Components { database, runtime, worker } = ready.components;
    assert_eq!([ready.status, database, runtime, worker], [ComponentStatus::Ok; 4]);
    assert_eq!(ready.message, None);
    assert_eq!(client.api().health().await.unwrap(), health);
    assert_eq!(client.api().ready(None).await.unwrap(), ready);
}

/// rdev-client passes over fields and values that it does not know, as programs should. Here none may be.
#[tokio::test]
async fn every_answer_has_its_documented_status_and_fields_and_no_others() {
    let server = Fixture::new().with_workers(1).start().await;
    let client = server.client();
    let post = async |path: &str, body: &serde_json::Value| client.post(path, body).send().await;
    let shell = post("/projects/demo/shell", &json!({"command": "echo out; false"})).await;
    let shell = shell.json::<Data<Accepted>>(202).data.id;
    post("/projects/demo/git", &json!({"args": ["status"]})).await.json::<Data<Accepted>>(202);
    post("/projects/demo/claude", &json!({"prompt": "hello"})).await.json::<Data<Accepted>>(202);
    let task = json!({"type": "shell", "steps": ["echo x >report; false"], "artefacts": ["report", "none"],
                      "max_attempts": 1, "project": "demo"});
    let task = post("/queue/tasks", &task).await.json::<Data<Task>>(202).data.id;
    client.ended(&shell).await;
    client.task_in(&task, Status::Failed).await;

    let (command, task) = (format!("/projects/demo/commands/{shell}"), format!("/queue/tasks/{task}"));
    let get = async |path: &str| client.get(path).send().await;
    get("/projects").await.json::<List<Project>>(200);
    get("/projects/demo").await.json::<Data<Project>>(200);
    get("/projects/demo/commands").await.json::<List<Command>>(200);
    get(&command).await.json::<Data<Command>>(200);
    get("/queue/tasks").await.json::<List<Task>>(200);
    get(&task).await.json::<Data<Task>>(200);
    assert_eq!(get(&format!("{task}/artefacts")).await.json::<List<Artefact>>(200).data.len(), 2);
    get("/queue/stats").await.json::<Data<QueueStats>>(200);
    get("/workers").await.json::<List<Worker>>(200);
    get("/workers/slot-1").await.json::<Data<Worker>>(200);
    get("/workers/pool").await.json::<Data<Pool>>(200);

    let act = async |path: &str| client.call("POST", path).send().await;
    act(&format!("{command}/cancel")).await.json::<Data<Command>>(200);
    act(&format!("{task}/cancel")).await.json::<Data<Task>>(200);
    act(&format!("{task}/retry")).await.json::<Data<Task>>(200);
    act("/projects/demo/events/ticket").await.json::<Data<Ticket>>(200);
    post("/workers/slot-1/drain", &json!({"drain": true})).await.json::<Data<Worker>>(200);
    client.connection(&shell, None).await.rest().await;
}

#[tokio::test]
async fn projects_are_the_directories_of_the_workspace_folder() {
    let server = Server::start().await;
    let client = server.client();
    for folder in ["zeta", "alpha", "NO_PROJECT"] {
        std::fs::create_dir(server.workspace().with_file_name(folder)).unwrap();
    }
    let list: List<Project> = client.get("/projects").send().await.json(200);
    let ids: Vec<&str> = list.data.iter().map(|project| project.id.as_str()).collect();
    assert_eq!(ids, ["alpha", "demo", "zeta"]);
    assert!(list.data.iter().all(|project| project.status == ProjectStatus::Ready));
    let first: List<Project> = client.get("/projects?limit=2").send().await.json(200);
    let cursor = first.meta.next_cursor.unwrap();
    let second: List<Project> =
        client.get(&format!("/projects?limit=2&cursor={cursor}")).send().await.json(200);
    assert_eq!((first.data.len(), second.data.len(), second.meta.next_cursor), (2, 1, None));
    let demo = client.get("/projects/demo").send().await.json::<Data<Project>>(200).data;
    assert_eq!(demo.workspace, server.workspace().to_str().unwrap());
    client.get("/projects/none").send().await.failure(404, "PROJECT_NOT_FOUND");
    client.get("/projects/NO_PROJECT").send().await.failure(404, "PROJECT_NOT_FOUND");
}

#[tokio::test]
async fn pages_take_sound_limits_and_cursors() {
    let server = Server::start().await;
    let client = server.client();
    for path in ["/projects", "/projects/demo/commands"] {
        for (query, field) in [("limit=0", "limit"), ("limit=201", "limit"), ("cursor=%20", "cursor")] {
            let answer = client.get(&format!("{path}?{query}")).send().await;
            assert_eq!(answer.failure(422, "VALIDATION_FAILED").fields(), [field], "{path}?{query}");
        }
        for query in ["limit=x", "limit=-1", "limit=1&limit=2"] {
            client.get(&format!("{path}?{query}")).send().await.failure(400, "INVALID_QUERY");
        }
    }
}

#[tokio::test]
async fn unknown_paths_and_methods_have_their_codes() {
    let server = Server::start().await;
    let client = server.client();
    for path in ["/nothing", "/projects/", "/projects/demo/", "/projects/demo/shell/x", "/projects//x"] {
        client.get(path).send().await.failure(404, "ROUTE_NOT_FOUND");
    }
    for (method, path, allowed) in [
        ("DELETE", "/health", "GET"),
        ("PUT", "/projects", "GET"),
        ("GET", "/projects/demo/shell", "POST"),
        ("PATCH", "/projects/demo/commands", "GET"),
        ("OPTIONS", "/projects/demo/shell", "POST"),
    ] {
        let answer = client.call(method, path).send().await;
        answer.failure(405, "METHOD_NOT_ALLOWED");
        let allow: Vec<&str> = answer.header("allow").split(',').map(str::trim).collect();
        assert!(allow.contains(&allowed), "{method} {path}: {allow:?}");
    }
}

#[tokio::test]
async fn head_is_get_without_a_body() {
    let server = Server::start().await;
    let client = server.client();
    for path in ["/health", "/projects", "/projects/demo", "/openapi.json"] {
        let get = client.get(path).send().await;
        let head = client.call("HEAD", path).send().await;
        assert_eq!((head.status, head.body.len()), (get.status, 0), "{path}");
        assert_eq!(head.headers["content-type"], get.headers["content-type"]);
    }
    let head = client.call("HEAD", "/projects/none").send().await;
    assert_eq!((head.status.as_u16(), head.body.len()), (404, 0));
}

#[tokio::test]
async fn every_answer_carries_its_request_id() {
    let server = Server::start().await;
    let client = server.client();
    for path in ["/health", "/projects", "/nothing", "/projects/none", "/docs", "/openapi.json"] {
        let echoed = client.get(path).header("x-request-id", "my-id-1").send().await;
        assert_eq!(echoed.header("x-request-id"), "my-id-1", "{path}");
        let generated = client.get(path).send().await.header("x-request-id").to_owned();
        let another = client.get(path).send().await.header("x-request-id").to_owned();
        assert!(generated.len() >= 16 && generated != another, "{generated} {another}");
    }
    let failure: ErrorBody = client.get("/nothing").header("x-request-id", "my-id-2").send().await.json(404);
    assert_eq!(failure.meta.request_id, "my-id-2");
    for unsound in ["", "with space", "é", &"x".repeat(129)] {
        let answer = client.get("/health").header("x-request-id", unsound).send().await;
        assert_ne!(answer.header("x-request-id"), unsound);
    }
    let stream = client.get("/projects/demo/events").header("x-request-id", "my-id-3").events().await;
    assert_eq!(stream.headers["x-request-id"], "my-id-3");
}

#[tokio::test]
async fn too_many_requests_are_answered_with_429_and_when_to_come_back() {
    let server = Fixture::new().with("RDEV_RATE_LIMIT_PER_MINUTE", "30").start().await;
    let client = server.client();
    let mut refused = None;
    // A tenth may come at once; on a slow machine one more may come with time.
    for _ in 0..10 {
        let answer = client.get("/projects").send().await;
        assert_eq!(answer.header("ratelimit-policy"), "\"key\";q=3;w=6");
        assert!(answer.header("ratelimit").starts_with("\"key\";r="), "{}", answer.header("ratelimit"));
        if answer.status != 200 {
            refused = Some(answer);
            break;
        }
    }
    let refused = refused.expect("a flood is refused");
    refused.failure(429, "RATE_LIMITED");
    assert!(refused.header("ratelimit").starts_with("\"key\";r=0;t="));
    let seconds: u64 = refused.header("retry-after").parse().unwrap();
    assert!((1..=2).contains(&seconds), "30 a minute are one in 2 s: {seconds}");
    // What needs no key has no limit, and strangers do not use up the key's.
    let health = client.get("/health").send().await;
    assert_eq!((health.status.as_u16(), health.headers.contains_key("ratelimit")), (200, false));
    let stranger = client.with_key(Some("rdev_x_0123456789abcdef"));
    stranger.get("/projects").send().await.failure(401, "UNAUTHORIZED");
}
