//! Probes: health, readiness and figures of a server, and the addresses on which they are served.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpListener};

use rdev_client::types::{ComponentStatus, Components, Detail, Details, ReadinessAnswer, Status};

use crate::support::{Client, Fixture, Runtime, Server, eventually, free_address};

/// Readiness at a path, which must be answered with this status; without its message, which must be there when the runtime
/// is down.
async fn ready(client: &Client, path: &str, status: u16) -> ReadinessAnswer {
    let answer: ReadinessAnswer = client.get(path).send().await.json(status);
    let is_explained = answer.message.as_ref().is_some_and(|message| message.starts_with("runtime: "));
    assert_eq!(is_explained, status == 503, "{answer:?}");
    ReadinessAnswer { message: None, ..answer }
}

/// Readiness of a server whose runtime alone may be down.
fn with_runtime(runtime: ComponentStatus) -> ReadinessAnswer {
    let (database, worker) = (ComponentStatus::Ok, ComponentStatus::Ok);
    ReadinessAnswer { status: runtime, components: Components { database, runtime, worker }, message: None }
}

const SERVES: &str = "/ready?only=serve";

#[tokio::test]
async fn a_server_whose_cluster_is_away_serves_what_it_knows() {
    let mut server = Runtime::Double.server().await;
    let client = server.client();
    let before = client.shell("echo before").await;
    client.ended(&before.id).await;
    server.double().cluster().stop().await;
    let ok = with_runtime(ComponentStatus::Ok);
    assert_eq!(ready(&client, SERVES, 200).await, ok);
    assert_eq!(client.output(&before.id).await, "before\n");
    let waits = client.shell("echo waits").await;
    client.cancel(&waits.id).await;
    assert_eq!(client.ended(&waits.id).await.accepted.status, Status::Cancelled);
    assert_eq!(ready(&client, SERVES, 200).await, ok);

    // One that has begun meanwhile knows no projects: requests for them are for the others.
    server.kill9().await;
    assert!(server.try_restart("/health").await, "it has not started: {}", server.log());
    let client = server.client();
    let down = with_runtime(ComponentStatus::Down);
    assert_eq!(ready(&client, "/ready", 503).await, down);
    assert_eq!(ready(&client, SERVES, 503).await, down);
    assert!(client.api().metrics().await.unwrap().contains("\nrdev_runtime_up 0\n"));
    server.double().cluster().start_again(true).await.unwrap();
    for path in [SERVES, "/ready"] {
        eventually(path, async || (client.get(path).send().await.status == 200).then_some(())).await;
    }
    assert_eq!(client.output(&before.id).await, "before\n");
}

#[tokio::test]
async fn readiness_is_asked_for_in_known_words() {
    let server = Server::start().await;
    let client = server.client().with_key(None);
    for (query, told) in [("only=all", "\"all\" is not valid: serve"), ("only=", "\"\" is not valid: serve")]
    {
        let failure = client.get(&format!("/ready?{query}")).send().await.failure(422, "VALIDATION_FAILED");
        let detail = Detail { field: "only".to_owned(), message: told.to_owned() };
        assert_eq!(failure.error.details, Some(Details::Fields(vec![detail])), "{query}");
    }
    for (query, named) in [
        ("only=serve&only=serve", ["only", "given twice", ""]),
        ("but=serve", ["\"but\"", "accepted", "only"]),
    ] {
        let failure = client.get(&format!("/ready?{query}")).send().await.failure(400, "INVALID_QUERY");
        let message = failure.error.message;
        assert!(named.iter().all(|word| message.contains(word)), "{query}: {message}");
    }
}

#[tokio::test]
async fn every_address_is_that_of_both_families() {
    // Free at every address.
    let probes = TcpListener::bind("[::]:0").unwrap().local_addr().unwrap().port();
    let server = Fixture::new()
        .with("RDEV_BIND", "[::]:0")
        .with("RDEV_PROBE_BIND", format!("[::]:{probes}"))
        .with("RDEV_TRUSTED_PROXIES", "127.0.0.0/8")
        .with("RDEV_LOG", "debug")
        .start()
        .await;
    let api = server.client().address.port();
    for ip in [IpAddr::from(Ipv4Addr::LOCALHOST), Ipv6Addr::LOCALHOST.into()] {
        for port in [api, probes] {
            let client = Client::new((ip, port).into(), None);
            assert_eq!(client.get(SERVES).send().await.status, 200, "{}", client.address);
        }
    }
    // A client of the other family is known by the address that people write.
    let client = Client::new((Ipv4Addr::LOCALHOST, api).into(), None);
    client
        .get("/health")
        .header("x-forwarded-for", "192.0.2.7")
        .header("x-request-id", "by-proxy")
        .send()
        .await;
    server.logged(&["by-proxy", "192.0.2.7"]).await;
}

#[tokio::test]
async fn probes_and_figures_have_a_listener_of_their_own() {
    let address = free_address();
    let server = Fixture::new().with("RDEV_PROBE_BIND", address.to_string()).start().await;
    let public = server.client();
    let probes = Client::new(address, None);
    for path in ["/health", "/ready"] {
        assert_eq!(public.get(path).send().await.status, 200);
        assert_eq!(probes.get(path).send().await.status, 200);
    }
    assert!(probes.get("/metrics").send().await.text().contains("rdev_build_info"));
    public.get("/metrics").send().await.failure(404, "ROUTE_NOT_FOUND");
    let document = public.get("/openapi.json").send().await.text();
    assert!(document.contains("\"/health\"") && !document.contains("\"/metrics\""));
    for path in ["/projects", "/docs", "/openapi.json"] {
        let answer = Client::new(address, public.key.as_deref()).get(path).send().await;
        answer.failure(404, "ROUTE_NOT_FOUND");
    }
    let taken = Fixture::new().with("RDEV_PROBE_BIND", public.address.to_string()).refused().await;
    assert!(taken.stderr.contains("RDEV_PROBE_BIND"), "{}", taken.stderr);
}
