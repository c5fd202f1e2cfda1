//! git: what works, and what is refused before it runs.

use crate::support::{Accepted, Client, Command, Data, Runtime, Server, told_on_every_runtime};

told_on_every_runtime! {
    everyday_work_runs,
    push_and_fetch_reach_a_bare_repository,
    what_could_run_a_program_or_leave_the_workspace_is_refused,
    git_never_asks_and_never_opens_an_editor,
}

/// Runs git to its end, which must be a good one; what it wrote to both outputs.
async fn git(client: &Client, args: &[&str]) -> String {
    let (command, text) = git_to_its_end(client, args).await;
    assert_eq!((command.status.as_str(), command.exit_code), ("completed", Some(0)), "{args:?}: {text}");
    text
}

async fn git_to_its_end(client: &Client, args: &[&str]) -> (Command, String) {
    let accepted = client.git(args).await.json::<Data<Accepted>>(202).data;
    assert_eq!(accepted.kind, "git");
    let command = client.ended(&accepted.id).await;
    let output = client.output(&accepted.id).await;
    (command, String::from_utf8_lossy(&output).into_owned())
}

async fn everyday_work_runs(on: Runtime) {
    let server = on.server().await;
    let client = server.client();
    git(&client, &["init"]).await;
    client.run("echo one > file; echo two > 'a file with spaces'").await;
    assert!(git(&client, &["status", "--porcelain"]).await.contains("?? file"));
    git(&client, &["add", "-A"]).await;
    git(&client, &["commit", "-m", "/a first commit; with $(no) `shell`"]).await;
    let log = git(&client, &["log", "--format=%an %s"]).await;
    assert_eq!(log, "rdev-bot /a first commit; with $(no) `shell`\n");
    client.run("echo three >> file").await;
    let diff = git(&client, &["diff", "--stat"]).await;
    assert!(diff.contains("1 file changed"), "{diff}");
    git(&client, &["commit", "-am", "second"]).await;
    git(&client, &["branch", "topic"]).await;
    git(&client, &["switch", "-c", "other"]).await;
    let branches = git(&client, &["branch", "--list", "--format=%(refname:short)"]).await;
    assert_eq!(branches, "main\nother\ntopic\n");
    let range = git(&client, &["log", "--oneline", "main~1..main"]).await;
    assert_eq!(range.lines().count(), 1);
    git(&client, &["config", "user.name", "somebody"]).await;
    assert_eq!(git(&client, &["config", "--get", "user.name"]).await, "somebody\n");
}

async fn push_and_fetch_reach_a_bare_repository(on: Runtime) {
    let server = on.server().await;
    let client = server.client();
    let (lines, _) = client.run("git init -q --bare -b main ~/bare.git && cd ~/bare.git && pwd").await;
    let [bare] = &lines[..] else { panic!("{lines:?}") };
    git(&client, &["init"]).await;
    client.run("echo one > file").await;
    git(&client, &["add", "file"]).await;
    git(&client, &["commit", "-m", "one"]).await;
    git(&client, &["remote", "add", "origin", bare]).await;
    git(&client, &["push", "-u", "origin", "main"]).await;
    let somebody = format!(
        "git clone -q {bare} elsewhere && cd elsewhere && echo two > file && git commit -qam two && \
         git push -q && cd .. && rm -r elsewhere"
    );
    let (lines, complete) = client.run(&somebody).await;
    assert_eq!(complete.exit_code, Some(0), "{lines:?}");
    git(&client, &["fetch", "origin"]).await;
    let log = git(&client, &["log", "--format=%s", "origin/main"]).await;
    assert_eq!(log, "two\none\n");
    git(&client, &["merge", "--ff-only", "origin/main"]).await;
    assert_eq!(server.file("file").await.as_deref(), Some("two\n"));
    assert!(git(&client, &["ls-remote", "origin"]).await.contains("refs/heads/main"));
}

async fn what_could_run_a_program_or_leave_the_workspace_is_refused(on: Runtime) {
    let server = on.server().await;
    let client = server.client();
    client.git(&["init"]).await;
    for (args, field) in [
        (&["-c", "core.sshCommand=touch ran", "fetch", "ssh://localhost/x"] as &[&str], "args[0]"),
        (&["fetch", "--upload-pack=touch ran", "."], "args[1]"),
        (&["fetch", "--upload-pack", "touch ran", "."], "args[1]"),
        (&["fetch", "--upload-pa=touch ran", "."], "args[1]"),
        (&["push", "--receive-pack=touch ran", "."], "args[1]"),
        (&["push", "--exec=touch ran", "."], "args[1]"),
        (&["--exec-path=.", "status"], "args[0]"),
        (&["-C", "..", "status"], "args[0]"),
        (&["--git-dir", "../x", "status"], "args[0]"),
        (&["--git-dir=../x", "status"], "args[0]"),
        (&["--work-tree=/", "status"], "args[0]"),
        (&["--namespace=x", "status"], "args[0]"),
        (&["config", "alias.st", "!touch ran"], "args[1]"),
        (&["config", "core.sshCommand", "touch ran"], "args[1]"),
        (&["config", "core.hooksPath", "hooks"], "args[1]"),
        (&["config", "--global", "user.name", "x"], "args[1]"),
        (&["st"], "args[0]"),
        (&["!touch ran"], "args[0]"),
        (&["fetch", "ext::sh -c touch% ran"], "args[1]"),
        (&["remote", "add", "x", "ext::touch ran"], "args[3]"),
        (&["rebase", "-x", "touch ran", "HEAD"], "args[1]"),
        (&["grep", "-Otouch", "x"], "args[1]"),
        (&["diff", "--no-index", "/etc/passwd", "/dev/null"], "args[1]"),
        (&["diff", "--output=/tmp/x"], "args[1]"),
        (&["add", "../x"], "args[1]"),
        (&["clone", "."], "args[0]"),
        (&["submodule", "foreach", "touch ran"], "args[0]"),
        (&["bisect", "run", "touch", "ran"], "args[0]"),
        (&["init", "--template=/tmp"], "args[1]"),
        (&[], "args"),
        (&["add", "a\0b"], "args[1]"),
    ] {
        let failure = client.git(args).await.failure(422, "VALIDATION_FAILED");
        assert_eq!(failure.fields(), [field], "{args:?}");
    }
    assert_eq!(server.file("ran").await, None);
}

// In pods the workspace is a volume of its own, which git does not look beyond.
#[tokio::test]
async fn a_workspace_without_a_repository_does_not_fall_into_another() {
    let server = Server::start().await;
    let client = server.client();
    // Repositories over all workspaces, and over the data folder.
    client.run("git init -q ..; git init -q ../..").await;
    let (command, text) = git_to_its_end(&client, &["status"]).await;
    assert_eq!((command.status.as_str(), command.exit_code), ("failed", Some(128)));
    assert!(text.contains("not a git repository"), "{text}");
    git(&client, &["init"]).await;
    git(&client, &["status"]).await;
}

async fn git_never_asks_and_never_opens_an_editor(on: Runtime) {
    let server = on.server().await;
    let client = server.client();
    git(&client, &["init"]).await;
    client.run("echo one > file").await;
    git(&client, &["add", "file"]).await;
    let (command, _) = git_to_its_end(&client, &["commit"]).await;
    assert_eq!(command.status, "failed", "an empty message is none, and nobody is asked for one");
    let (command, text) = git_to_its_end(&client, &["fetch", "http://127.0.0.1:9/x.git"]).await;
    assert_eq!(command.status, "failed", "{text}");
}
