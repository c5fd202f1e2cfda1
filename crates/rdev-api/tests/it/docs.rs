//! The reference page, in a browser that reaches nothing but this server.

use std::process::Stdio;

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
    // What is folded away is not on the page: this opens the commands.
    let commands = format!("{url}#tag/commands");
    let profile = tempfile::tempdir().unwrap();

    let dump = browser(profile.path()).args([RENDERED, "--dump-dom", &commands]).output();
    let dump = within("the page", dump).await.unwrap();
    let page = String::from_utf8_lossy(&dump.stdout).into_owned();
    for rendered in
        ["Run a shell line", "Run Claude Code", "Run git", "commands", "/projects/{project}/shell"]
    {
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
    let script = client.get("/docs/scalar.js").send().await;
    assert_eq!(script.status, 200);
    assert!(script.body.len() > 100_000);
}
