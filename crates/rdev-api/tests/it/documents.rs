//! The examples of README and of docs/api.md, run as they stand.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use rdev_client::types::{Command as Ran, List};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::Command;

use crate::support::{Fixture, Model, Runtime, Server, eventually, free_address, within};

/// Blocks that start a server or test rdev itself: the story has a server, and is a test.
const OF_RDEV_ITSELF: [&str; 2] = ["cargo run", "./scripts/"];

pub(crate) fn document(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(name)
}

/// The blocks of a document in this language, in their order.
pub(crate) fn blocks(name: &str, language: &str) -> Vec<String> {
    let text = fs::read_to_string(document(name)).unwrap();
    let fence = format!("```{language}\n");
    let blocks = text.split(fence.as_str()).skip(1).map(|rest| rest.split("```").next().unwrap().to_owned());
    blocks.collect()
}

/// The blocks of the shell in a document that use a server, as one script for this server.
fn script(name: &str, server: &Server) -> String {
    let blocks = blocks(name, "sh")
        .into_iter()
        .filter(|block| !OF_RDEV_ITSELF.iter().any(|own| block.starts_with(own)));
    let script: String = blocks.collect();
    assert!(script.contains("127.0.0.1:8080") && script.contains(".rdev/"), "{name}: {script}");
    let (address, data) = (server.client().address.to_string(), server.fixture().data_dir());
    script.replace("127.0.0.1:8080", &address).replace(".rdev/", &format!("{}/", data.display()))
}

/// Runs a script as somebody who pastes it. Returns what it prints.
async fn pasted(script: &str) -> String {
    let mut shell = Command::new("sh");
    shell.args(["-euc", script]).stdin(Stdio::null()).kill_on_drop(true);
    let output = within("the end of the script", shell.output()).await.unwrap();
    let (stdout, stderr) =
        (String::from_utf8(output.stdout).unwrap(), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{script}\n{stdout}\n{stderr}");
    stdout
}

#[tokio::test]
async fn the_blocks_of_the_readme_run_in_their_order_and_again() {
    let model = Model::start(Runtime::Local).await;
    let server = model.fixture().without_projects().start().await;
    for round in ["first", "second"] {
        let said = pasted(&script("README.md", &server)).await;
        let count = |text: &str| said.matches(text).count();
        // Two commands, of which one is read by two readers.
        for line in
            ["compiling parser", "compiling queue", "compiling server", "testing unit", "testing stories"]
        {
            assert_eq!(count(&format!(r#""line":"{line}""#)), 2, "{round}: {line}: {said}");
        }
        assert_eq!((count("event: complete\n"), count(r#""status":"completed""#)), (4, 4), "{round}: {said}");
        assert!(said.contains("A project to try rdev with"), "{round}: {said}");
    }
}

#[tokio::test]
async fn the_calls_of_the_api_page_run_in_their_order() {
    let server = Fixture::new().without_projects().start().await;
    let blocks = blocks("docs/api.md", "sh");
    assert!(blocks[0].contains("make test"), "it begins with a complete call: {blocks:?}");
    let (address, data) = (server.client().address.to_string(), server.fixture().data_dir());
    let call =
        blocks[0].replace("127.0.0.1:8080", &address).replace(".rdev/", &format!("{}/", data.display()));
    let said = pasted(&call).await;
    assert!(said.contains("testing stories") && said.contains("event: complete"), "{said}");
}

#[test]
fn the_api_page_shows_the_clients_as_they_are() {
    for (language, client) in [("python", "run.py"), ("js", "run.mjs")] {
        let shown = blocks("docs/api.md", language).remove(0);
        assert_eq!(shown, fs::read_to_string(document("docs/clients").join(client)).unwrap(), "{client}");
    }
}

/// Has a client of docs/clients run a command through the death of its server.
async fn survives(program: &str, client: &str) {
    // An address that nobody else takes while the server is down.
    let fixture = Fixture::new().with("RDEV_BIND", free_address().to_string());
    let mut server = fixture.start().await;
    let (url, key) = (format!("http://{}", server.client().address), server.client().key.unwrap());
    let line = "echo one; until [ -e go ]; do sleep 0.02; done; echo two >&2; echo three; exit 3";
    server.kill9().await;
    // Nobody answers when it begins.
    let mut process = Command::new(program)
        .arg(document("docs/clients").join(client))
        .args([url.as_str(), "demo", line])
        .env("RDEV_API_KEY", key)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
    let mut next = async || within("a line", lines.next_line()).await.unwrap();
    server.restart().await;
    assert_eq!(next().await.as_deref(), Some("one"), "{client}");
    server.kill9().await;
    server.touch("go").await;
    eventually("the end of the command", async || (!server.busy().await).then_some(())).await;
    server.restart().await;
    assert_eq!(next().await.as_deref(), Some("three"), "{client}");
    assert_eq!(next().await, None, "{client}");
    let mut stderr = String::new();
    within("its errors", process.stderr.take().unwrap().read_to_string(&mut stderr)).await.unwrap();
    assert_eq!(stderr, "two\n", "{client}");
    assert_eq!(within("its end", process.wait()).await.unwrap().code(), Some(3), "{client}");
    let ran = server.client().get("/projects/demo/commands").send().await.json::<List<Ran>>(200);
    assert_eq!(ran.data.len(), 1, "{client} ran it once");
}

#[tokio::test]
async fn the_client_in_python_loses_no_line_when_the_server_dies() {
    survives("python3", "run.py").await;
}

#[tokio::test]
async fn the_client_in_javascript_loses_no_line_when_the_server_dies() {
    survives("node", "run.mjs").await;
}
