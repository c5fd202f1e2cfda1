//! CORS: pages of configured origins may call from a browser.

use crate::support::{Answer, Client, Fixture, Server};

const ALLOWED: &str = "https://app.example.org";
const OTHER: &str = "https://elsewhere.example.org";

/// Asks as a browser does before it lets a page send a command.
async fn preflight(client: &Client, origin: &str) -> Answer {
    let asked = client.with_key(None).call("OPTIONS", "/projects/demo/shell");
    asked
        .header("origin", origin)
        .header("access-control-request-method", "POST")
        .header("access-control-request-headers", "x-api-key,content-type,idempotency-key,last-event-id")
        .send()
        .await
}

#[tokio::test]
async fn without_origins_no_page_may_call() {
    let server = Server::start().await;
    let client = server.client();
    let refused = preflight(&client, ALLOWED).await;
    refused.failure(405, "METHOD_NOT_ALLOWED");
    assert!(!refused.headers.contains_key("access-control-allow-origin"));
    let answer = client.get("/projects").header("origin", ALLOWED).send().await;
    assert_eq!(answer.status, 200);
    assert!(!answer.headers.contains_key("access-control-allow-origin"));
}

#[tokio::test]
async fn pages_of_the_configured_origins_may_call_and_others_may_not() {
    let origins = format!("http://localhost:3000,{ALLOWED}");
    let server = Fixture::new().with("RDEV_CORS_ORIGINS", origins).start().await;
    let client = server.client();

    let allowed = preflight(&client, ALLOWED).await;
    assert_eq!(allowed.status, 200);
    assert_eq!(allowed.header("access-control-allow-origin"), ALLOWED);
    assert!(allowed.header("access-control-allow-methods").contains("POST"));
    for header in ["authorization", "content-type", "x-api-key", "idempotency-key", "last-event-id"] {
        assert!(allowed.header("access-control-allow-headers").contains(header), "{header}");
    }
    assert!(!allowed.headers.contains_key("access-control-allow-credentials"));
    assert!(!allowed.header("x-request-id").is_empty());
    let refused = preflight(&client, OTHER).await;
    assert!(!refused.headers.contains_key("access-control-allow-origin"));

    // A page may read the answer, its failures and its request id; every form of answer says so.
    for path in ["/projects", "/projects/none", "/nothing", "/projects/demo/commands/none"] {
        let answer = client.get(path).header("origin", ALLOWED).send().await;
        assert_eq!(answer.header("access-control-allow-origin"), ALLOWED, "{path}");
        let exposed = answer.header("access-control-expose-headers");
        for header in ["x-request-id", "retry-after", "location", "idempotent-replayed", "ratelimit"] {
            assert!(exposed.split(',').any(|name| name.trim() == header), "{path}: {header}");
        }
        assert!(answer.header("vary").contains("origin"), "{path}");
        let answer = client.get(path).header("origin", OTHER).send().await;
        assert!(!answer.headers.contains_key("access-control-allow-origin"), "{path}");
    }
    let keyless = client.with_key(None).get("/projects").header("origin", ALLOWED).send().await;
    keyless.failure(401, "UNAUTHORIZED");
    assert_eq!(keyless.header("access-control-allow-origin"), ALLOWED);
    let stream = client.get("/projects/demo/events").header("origin", ALLOWED).events().await;
    assert_eq!(stream.headers["access-control-allow-origin"], ALLOWED);
}
