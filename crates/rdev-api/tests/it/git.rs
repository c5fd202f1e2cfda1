//! git: what works, and what is refused before it runs.

use rdev_client::types::{Command, CommandType, Status};

use crate::support::{Client, Repository, Runtime, Server, on_every_runtime};

on_every_runtime! {
    everyday_work_runs,
    push_and_fetch_reach_a_repository,
    no_program_of_the_repository_runs,
    links_of_the_work_tree_are_not_followed,
    arguments_that_run_a_program_or_leave_the_workspace_are_refused,
    git_never_asks_and_never_opens_an_editor,
}

/// Runs git to its end, which must be a good one; what it wrote to both outputs.
async fn git(client: &Client, args: &[&str]) -> String {
    let (command, text) = git_to_its_end(client, args).await;
    assert_eq!(
        (command.accepted.status, command.progress.exit_code),
        (Status::Completed, Some(0)),
        "{args:?}: {text}"
    );
    text
}

async fn git_to_its_end(client: &Client, args: &[&str]) -> (Command, String) {
    let accepted = client.git_accepted(args).await;
    assert_eq!(accepted.kind, CommandType::Git);
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
    for args in [
        &["grep", "-n", "one", "--", "./file"] as &[&str],
        &["grep", "-e", "one"],
        &["log", "-L", "/one/,+1:file"],
        &["blame", "-L", "/one/,+1", "file"],
        &["log", "--format=/%h", "--", "src/../file"],
        &["rev-list", "--count", "HEAD"],
        &["merge-base", "HEAD", "main"],
        &["cat-file", "-p", "HEAD:file"],
        &["reflog"],
    ] {
        git(&client, args).await;
    }
    git(&client, &["stash", "push", "-m", "/tmp/x"]).await;
    git(&client, &["stash", "pop"]).await;
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

async fn push_and_fetch_reach_a_repository(on: Runtime) {
    let (server, repository) = (on.server().await, Repository::serve(&on.host()).await);
    let client = server.client();
    git(&client, &["clone", &repository.url(), "."]).await;
    client.run("echo two > file").await;
    git(&client, &["commit", "-am", "two"]).await;
    git(&client, &["tag", "-a", "v1", "-m", "/a release"]).await;
    git(&client, &["push", "--follow-tags", "origin", "main"]).await;
    let somebody = format!(
        "git clone -q {} elsewhere && cd elsewhere && echo three > file && git commit -qam three && \
         git push -q && cd .. && rm -rf elsewhere",
        repository.url()
    );
    let (lines, complete) = client.run(&somebody).await;
    assert_eq!(complete.exit_code, Some(0), "{lines:?}");
    git(&client, &["fetch", "origin"]).await;
    let log = git(&client, &["log", "--format=%s", "origin/main"]).await;
    assert_eq!(log, "three\ntwo\nfirst\n");
    git(&client, &["merge", "--ff-only", "origin/main"]).await;
    assert_eq!(server.file("file").await.as_deref(), Some("three\n"));
    let remote = git(&client, &["ls-remote", "origin"]).await;
    assert!(remote.contains("refs/heads/main") && remote.contains("refs/tags/v1"), "{remote}");
}

async fn no_program_of_the_repository_runs(on: Runtime) {
    let server = on.server().await;
    let client = server.client();
    git(&client, &["init"]).await;
    let traps = r#"
        printf '#!/bin/sh\ntouch "$(git rev-parse --show-toplevel)"/ran\nexit 1\n' > trap && chmod +x trap
        for hook in pre-commit post-commit commit-msg post-checkout pre-push; do cp trap .git/hooks/$hook; done
        for key in core.fsmonitor core.editor core.pager core.sshCommand core.gitProxy diff.external \
            diff.trap.command diff.trap.textconv gpg.program sequence.editor; do
            git config $key "$PWD/trap"
        done
        git config commit.gpgSign true
        echo '* diff=trap' > .gitattributes; echo one > file"#;
    client.run(traps).await;
    git(&client, &["add", "--all"]).await;
    git(&client, &["commit", "-m", "one"]).await;
    client.run("echo two > file").await;
    git(&client, &["status"]).await;
    assert!(git(&client, &["diff"]).await.contains("+two"));
    git(&client, &["switch", "-c", "topic"]).await;
    git(&client, &["commit", "-am", "two"]).await;
    assert!(git(&client, &["log", "-p"]).await.contains("+two"));
    for address in ["ssh://127.0.0.1:9/x", "git://127.0.0.1:9/x"] {
        let (command, text) = git_to_its_end(&client, &["fetch", address]).await;
        assert_eq!(command.accepted.status, Status::Failed, "{text}");
    }
    assert_eq!(server.file("ran").await, None);
}

async fn links_of_the_work_tree_are_not_followed(on: Runtime) {
    let server = on.server().await;
    let client = server.client();
    git(&client, &["init"]).await;
    // One branch has a folder where the other has a link, and the index is that of the first one.
    let (lines, complete) = client
        .run(
            "mkdir -p ~/outside && echo private > ~/outside/file && \
             mkdir folder && echo mine > folder/file && echo x > hook && git add . && git commit -qm folder && \
             git switch -qc linked && git rm -rq folder && ln -s ~/outside folder && ln -s .git config && \
             git add . && git commit -qm links",
        )
        .await;
    assert_eq!(complete.exit_code, Some(0), "{lines:?}");
    git(&client, &["mv", "hook", "moved"]).await;
    for destination in ["config/hooks/post-commit", "folder/stolen", "folder"] {
        let (command, text) = git_to_its_end(&client, &["mv", "moved", destination]).await;
        assert_eq!((command.progress.exit_code, text.contains("symbolic link")), (Some(128), true), "{text}");
    }
    git(&client, &["reset", "main"]).await;
    for args in [
        &["blame", "folder/file"] as &[&str],
        &["commit", "-m", "x", "--", "folder"],
        &["grep", "private"],
        &["rm", "-rf", "folder"],
        &["mv", "folder/file", "mine"],
    ] {
        let (command, text) = git_to_its_end(&client, args).await;
        assert_eq!(
            (command.progress.exit_code, text.contains("symbolic link")),
            (Some(128), true),
            "{args:?}: {text}"
        );
        assert!(!text.contains("private"), "{args:?}: {text}");
    }
    let (lines, _) = client.run("cat ~/outside/*; rm -r ~/outside").await;
    assert_eq!(lines, ["private"]);
    git(&client, &["reset", "--hard", "main"]).await;
    assert!(git(&client, &["blame", "folder/file"]).await.contains("mine"));
}

#[tokio::test]
async fn on_this_machine_paths_lead_to_the_remotes_folder_only() {
    let server = Server::start().await;
    let client = server.client();
    let (lines, _) = client.run("cd ../.. && pwd").await;
    let [data] = &lines[..] else { panic!("{lines:?}") };
    let (bare, foreign) = (format!("{data}/remotes/shop.git"), format!("{data}/workspaces/other"));
    // A folder named as a remote could be, with a hook that would run.
    let made = format!(
        "git init -q --bare -b main {bare}; git init -q -b main {foreign}; git init -q --bare evil; \
         printf '#!/bin/sh\ntouch ../ran\n' > evil/hooks/pre-receive; chmod +x evil/hooks/pre-receive"
    );
    client.run(&made).await;
    git(&client, &["init"]).await;
    git(&client, &["commit", "--allow-empty", "-m", "one"]).await;
    git(&client, &["remote", "add", "origin", &bare]).await;
    git(&client, &["push", "-u", "origin", "main"]).await;
    git(&client, &["fetch", &format!("file://{bare}"), "main"]).await;
    for address in [&foreign, &format!("file://{foreign}"), &format!("{bare}/../../workspaces/other")] {
        for args in [["fetch", address], ["push", address], ["ls-remote", address]] {
            let failure = client.git(&args).await.failure(422, "VALIDATION_FAILED");
            assert_eq!(failure.fields(), ["args[1]"], "{args:?}");
        }
    }
    client.run(&format!("git remote add foreign {foreign}")).await;
    for name in ["evil", "foreign"] {
        for args in [["push", name, "main"], ["fetch", name, "main"]] {
            let (command, text) = git_to_its_end(&client, &args).await;
            assert_eq!(
                (command.accepted.status, text.contains("not allowed")),
                (Status::Failed, true),
                "{text}"
            );
        }
    }
    assert_eq!((server.file("ran").await, server.file("evil/ran").await), (None, None));
}

async fn arguments_that_run_a_program_or_leave_the_workspace_are_refused(on: Runtime) {
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
        (&["clone", ".", "."], "args[1]"),
        (&["submodule", "foreach", "touch ran"], "args[0]"),
        (&["bisect", "run", "touch", "ran"], "args[0]"),
        (&["init", "--template=/tmp"], "args[1]"),
        (&["init", "link/x"], "args[1]"),
        (&["mv", "hook", ".git/hooks/post-commit"], "args[2]"),
        (&["mv", "-f", "cfg", ".GIT/config"], "args[3]"),
        (&["log", "-1", "--format=x", "--src-prefix", "-S", "--output=/tmp/x"], "args[4]"),
        (&["commit", "--allow-empty", "-t", "-m", "-F/etc/passwd"], "args[2]"),
        (&["stash", "list", "-m", "--output=/tmp/x"], "args[3]"),
        (&["log", "-p", "--src-prefix", "-S", "--ext-diff"], "args[3]"),
        (&["fetch", "-o", "--", "--upload-pack=touch ran", "."], "args[2]"),
        (&["push", "--repo", "--", "--receive-pack=touch ran", "."], "args[2]"),
        (&["rebase", "-X", "--", "--exec=touch ran", "HEAD~1"], "args[2]"),
        (&["merge", "-s", "x", "topic"], "args[2]"),
        (&["log", "--format=%GG"], "args[1]"),
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
    assert_eq!((command.accepted.status, command.progress.exit_code), (Status::Failed, Some(128)));
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
    for args in [&["commit"] as &[&str], &["rebase", "-i", "HEAD"], &["tag", "-a", "v1"], &["add", "-i"]] {
        client.git(args).await.failure(422, "VALIDATION_FAILED");
    }
    let (command, _) = git_to_its_end(&client, &["commit", "--no-edit"]).await;
    assert_eq!(
        command.accepted.status,
        Status::Failed,
        "an empty message is none, and nobody is asked for one"
    );
    let (command, text) = git_to_its_end(&client, &["fetch", "http://127.0.0.1:9/x.git"]).await;
    assert_eq!(command.accepted.status, Status::Failed, "{text}");
}
