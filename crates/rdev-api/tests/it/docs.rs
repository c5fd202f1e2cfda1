//! The reference page, in a browser that reaches nothing but this server.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Stdio;

use rdev_client::types::{AcceptedOperation, Data, Links};
use serde::de::IgnoredAny;
use serde_json::json;
use tokio::process::Command;

use crate::support::{Server, chromium, target_dir, within};

/// Time that a page has to be rendered, which passes as fast as the page lets it.
const RENDERED: &str = "--virtual-time-budget=20000";

/// A browser without a network: no name is known, and it asks for nothing by itself.
pub(crate) fn browser(profile: &std::path::Path) -> Command {
    let mut command = Command::new(chromium());
    command
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"])
        .args(["--disable-background-networking", "--disable-component-update", "--disable-sync"])
        .args(["--disable-dev-shm-usage", "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1"])
        .arg("--window-size=1400,2000")
        .arg(format!("--user-data-dir={}", profile.display()))
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true);
    command
}

#[tokio::test]
async fn the_reference_is_rendered_without_a_network() {
    let server = Server::start().await;
    let url = format!("http://{}/docs", server.client().address);
    // A link to one operation, which opens it. Chromium's own pictures show where the page begins, so none of it is taken.
    let shell = format!("{url}#tag/commands/POST/projects/{{project}}/shell");
    let profile = tempfile::tempdir().unwrap();

    let dump = browser(profile.path()).args([RENDERED, "--dump-dom", &shell]).output();
    let dump = within("the page", dump).await.unwrap();
    let page = String::from_utf8_lossy(&dump.stdout).into_owned();
    for rendered in [
        "rdev API",
        "Run shell line",
        "Run Claude Code",
        "Run git",
        "commands",
        "/projects/{project}/shell",
        // Its recorded request and answer.
        "\"ci-7\"",
        "/projects/demo/events?stream_id=ci-7",
    ] {
        assert!(page.contains(rendered), "{rendered:?} is not on the page of {} bytes", page.len());
    }

    let picture = target_dir().join("docs.png");
    let screenshot = format!("--screenshot={}", picture.display());
    let profile = tempfile::tempdir().unwrap();
    let taken = browser(profile.path()).args([RENDERED, &screenshot, &url]).stdout(Stdio::null()).status();
    assert!(within("the picture", taken).await.unwrap().success());
    assert!(std::fs::metadata(&picture).unwrap().len() > 20_000, "the picture shows something");
}

#[tokio::test]
async fn the_page_names_no_other_host() {
    let server = Server::start().await;
    let client = server.client().with_key(None);
    let page = client.get("/docs").send().await;
    assert_eq!(page.status, 200);
    assert!(page.header("content-type").starts_with("text/html"));
    assert!(page.header("content-security-policy").contains("default-src 'self'"));
    assert!(!page.text().contains("https://"), "{}", page.text());
    assert!(page.text().contains("<title>rdev API</title>"), "{}", page.text());
}

#[tokio::test]
async fn what_browsers_load_is_compressed_and_kept() {
    let server = Server::start().await;
    let client = server.client().with_key(None);
    let page = client.get("/docs").send().await;
    let path = page.text().split('"').find(|part| part.ends_with(".js")).unwrap().to_owned();
    let plain = client.get(&path).send().await;
    let compressed = client.get(&path).header("accept-encoding", "gzip, br").send().await;
    assert_eq!((plain.status.as_u16(), compressed.status.as_u16()), (200, 200));
    assert_eq!(compressed.header("content-encoding"), "gzip");
    assert!(compressed.body.len() * 3 < plain.body.len(), "{} {}", compressed.body.len(), plain.body.len());
    for (answer, accepted) in [(&plain, "identity"), (&compressed, "gzip")] {
        assert!(
            answer.header("cache-control").contains("immutable")
                && answer.header("vary") == "accept-encoding"
        );
        let again = client.get(&path).header("accept-encoding", accepted);
        let again = again.header("if-none-match", answer.header("etag")).send().await;
        assert_eq!((again.status.as_u16(), again.body.len()), (304, 0), "{accepted}");
    }
    let tag = page.header("etag");
    assert_eq!(client.get("/docs").header("if-none-match", tag).send().await.status, 304);

    let plain = client.get("/openapi.json").send().await;
    let compressed = client.get("/openapi.json").header("accept-encoding", "gzip").send().await;
    let encoding = (plain.headers.get("content-encoding"), compressed.header("content-encoding"));
    assert_eq!(encoding, (None, "gzip"));
    assert!(compressed.body.len() * 3 < plain.body.len(), "{} {}", compressed.body.len(), plain.body.len());
    let again = client.get("/openapi.json").header("if-none-match", plain.header("etag")).send().await;
    assert_eq!((again.status.as_u16(), again.body.len()), (304, 0));
}

#[tokio::test]
async fn the_root_leads_people_to_the_reference_and_programs_to_the_api() {
    let server = Server::start().await;
    let client = server.client().with_key(None);
    let browser = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8";
    let led = client.get("/").header("accept", browser).send().await;
    assert_eq!((led.status.as_u16(), led.header("location")), (302, "/docs"));
    for accept in ["*/*", "application/json"] {
        let links = client.get("/").header("accept", accept).send().await.json::<Data<Links>>(200).data;
        for path in [&links.docs, &links.openapi, &links.health, &links.ready] {
            assert_eq!(client.get(path).send().await.status, 200, "{path}");
        }
    }
    let corrected = client.get("/docs/").send().await;
    assert_eq!((corrected.status.as_u16(), corrected.header("location")), (308, "/docs"));
    let icon = client.get("/favicon.ico").send().await;
    assert_eq!((icon.status.as_u16(), icon.header("content-type")), (200, "image/svg+xml"));
}

/// The events of a stream: of each name the fields of its data, and the ids in their order.
fn shape(stream: &str) -> (BTreeMap<String, BTreeSet<String>>, Vec<u32>) {
    let (mut fields, mut ids) = (BTreeMap::new(), Vec::new());
    for event in stream.split("\n\n") {
        let row = |name: &str| event.lines().find_map(|row| row.strip_prefix(name));
        let (Some(name), Some(data)) = (row("event: "), row("data: ")) else { continue };
        let data: BTreeMap<String, IgnoredAny> = serde_json::from_str(data).unwrap();
        fields.insert(name.to_owned(), data.into_keys().collect());
        ids.extend(row("id: ").map(|id| id.parse::<u32>().unwrap()));
    }
    (fields, ids)
}

#[tokio::test]
async fn the_streams_of_the_document_are_as_a_server_sends_them() {
    let server = Server::start().await;
    let client = server.client();
    let command = client.shell("echo out; echo err >&2; exit 3").await;
    client.ended(&command.id).await;
    let made = client.post("/projects", &json!({"name": "shop"})).send().await;
    let operation = made.part::<Data<AcceptedOperation>>(202).data.events_url;
    let document: serde_json::Value = client.get("/openapi.json").send().await.part(200);
    for (path, url) in [
        ("/projects/{project}/events", format!("/projects/demo/events?stream_id={}", command.stream_id)),
        ("/operations/{operation_id}/events", operation),
    ] {
        let sent = client.get(&url).send().await.text().to_owned();
        let response = &document["paths"][path]["get"]["responses"]["200"];
        let shown = response["content"]["text/event-stream"]["example"].as_str().unwrap();
        assert_eq!(shape(shown).0, shape(&sent).0, "{path}: {sent}");
        let (_, ids) = shape(shown);
        assert_eq!(ids, (1..=ids.len() as u32).collect::<Vec<_>>(), "{path}");
        assert_eq!(shown.lines().next(), sent.lines().next(), "{path}");
    }
}

#[tokio::test]
async fn each_operation_has_a_short_title() {
    let server = Server::start().await;
    let document: serde_json::Value = server.client().get("/openapi.json").send().await.part(200);
    for operation in
        document["paths"].as_object().unwrap().values().flat_map(|path| path.as_object().unwrap().values())
    {
        let (title, description) =
            (operation["summary"].as_str().unwrap(), operation["description"].as_str());
        assert!((2..=4).contains(&title.split(' ').count()), "{title:?} has not 2 to 4 words");
        assert!(description.is_some_and(|description| description.contains('.')), "{title}");
        let first = operation["responses"].as_object().unwrap().keys().next().unwrap();
        let accepts = operation["responses"].get("202").is_some();
        assert!(!accepts || first == "202", "{title}: {first} stands before 202");
    }
}
