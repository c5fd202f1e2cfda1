//! Clients that widely used generators make of `openapi.json`: they are type-checked, and run commands.

use std::fs;
use std::path::{Path, PathBuf};

use tokio::process::Command;

use crate::support::{Server, variable, within};

/// Folder of the generators, which scripts/test.sh installs: `node_modules` and `python`.
fn tools() -> PathBuf {
    let folder = variable("RDEV_TEST_GENERATORS");
    PathBuf::from(
        folder.expect("RDEV_TEST_GENERATORS is set by scripts/test.sh, which installs what the tests need"),
    )
}

/// Runs a program in a folder; it must succeed. Returns what it prints.
async fn run(folder: &Path, program: &Path, args: &[&str]) -> String {
    let own = variable("PATH").unwrap();
    let path = format!(
        "{}:{}:{own}",
        tools().join("node_modules/.bin").display(),
        tools().join("python/bin").display()
    );
    let mut command = Command::new(program);
    command.args(args).current_dir(folder).env("PATH", path).kill_on_drop(true);
    let output = within("a generator or a client", command.output()).await.unwrap();
    let said = [&output.stdout[..], &output.stderr[..]].map(String::from_utf8_lossy).concat();
    assert!(output.status.success(), "{} {args:?}: {said}", program.display());
    String::from_utf8(output.stdout).unwrap()
}

/// Writes the server's document into a folder.
async fn with_document(server: &Server) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let document = server.client().get("/openapi.json").send().await;
    fs::write(folder.path().join("openapi.json"), document.text()).unwrap();
    folder
}

/// Runs a program in Python with what scripts/test.sh installs. Tells whether it has succeeded, and what it has printed.
pub(crate) async fn python(program: &str, argument: &Path) -> (bool, String) {
    let mut command = Command::new(tools().join("python/bin/python"));
    let output =
        within(program, command.arg(program).arg(argument).kill_on_drop(true).output()).await.unwrap();
    (output.status.success(), [&output.stdout[..], &output.stderr[..]].map(String::from_utf8_lossy).concat())
}

#[tokio::test]
async fn a_client_in_typescript_runs_commands() {
    let server = Server::start().await;
    let folder = with_document(&server).await;
    let (folder, bin) = (folder.path(), tools().join("node_modules/.bin"));
    std::os::unix::fs::symlink(tools().join("node_modules"), folder.join("node_modules")).unwrap();
    fs::write(folder.join("use.ts"), include_str!("use.ts")).unwrap();
    run(folder, &bin.join("openapi-ts"), &["-i", "openapi.json", "-o", "sdk"]).await;
    let checked = "--strict --target es2022 --module commonjs --moduleResolution node10 --types node --outDir out use.ts";
    run(folder, &bin.join("tsc"), &checked.split(' ').collect::<Vec<_>>()).await;
    let (url, key) = (format!("http://{}", server.client().address), server.client().key.unwrap());
    let said = run(folder, &bin.join("node"), &["out/use.js", &url, &key]).await;
    let said: Vec<&str> = said.lines().collect();
    let mut lines = said[..2].to_vec();
    lines.sort_unstable();
    assert_eq!(lines, ["stderr err", "stdout out"]);
    assert_eq!(
        said[2..],
        ["ended completed", "git completed", "cancelled completed", "pages git shell", "COMMAND_NOT_FOUND"]
    );
}

#[tokio::test]
async fn a_client_in_python_runs_commands() {
    let server = Server::start().await;
    let folder = with_document(&server).await;
    let (folder, bin) = (folder.path(), tools().join("python/bin"));
    let generate = ["generate", "--path", "openapi.json", "--output-path", "sdk"];
    run(folder, &bin.join("openapi-python-client"), &generate).await;
    fs::write(folder.join("sdk/use.py"), include_str!("use.py")).unwrap();
    run(&folder.join("sdk"), &bin.join("mypy"), &["use.py"]).await;
    let (url, key) = (format!("http://{}", server.client().address), server.client().key.unwrap());
    let said = run(&folder.join("sdk"), &bin.join("python"), &["use.py", &url, &key]).await;
    let said: Vec<&str> = said.lines().collect();
    assert_eq!(
        said,
        ["shell completed", "out", "cancelled completed", "pages git shell", "COMMAND_NOT_FOUND"]
    );
}
