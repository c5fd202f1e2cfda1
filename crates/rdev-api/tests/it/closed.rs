//! The embedded default is closed: to other users, and as far as one user can be to itself.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use rdev_client::types::Status;
use serde_json::json;

use crate::support::{Client, Fixture, Runtime, on_every_runtime};

on_every_runtime! {
    a_task_finds_nothing_in_its_home_and_leaves_nothing,
}

/// A user that is not the one of the tests.
const NOBODY: u32 = 65534;

/// Every file and folder below, but for what lies in those of commands.
fn below(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let of_commands = ["workspaces", "pool"].iter().any(|name| path.ends_with(name));
        if path.is_dir() && !of_commands {
            found.extend(below(&path));
        }
        found.push(path);
    }
    found
}

#[tokio::test]
async fn nothing_in_the_data_folder_is_open_to_other_users_whatever_was_there_before() {
    let fixture = Fixture::new().started_by("umask 022; exec \"$0\"");
    let data = fixture.data_dir();
    fs::create_dir_all(data.join("runs")).unwrap();
    fs::write(data.join("rdev.db"), "").unwrap();
    for (path, mode) in [("rdev.db", 0o644), ("runs", 0o755), ("", 0o755)] {
        fs::set_permissions(data.join(path), fs::Permissions::from_mode(mode)).unwrap();
    }
    let server = fixture.start().await;
    server.client().run("echo hello").await;
    for path in below(&data).into_iter().chain([data.clone()]) {
        let Ok(about) = fs::symlink_metadata(&path) else { continue };
        // Sockets are in folders of their runs, which are closed.
        let counts = about.is_file() || about.is_dir();
        assert!(!counts || about.mode() & 0o077 == 0, "{:o} {}", about.mode(), path.display());
    }
    assert!(["rdev.db", "rdev.db-wal", "admin.key"].iter().all(|name| data.join(name).exists()));
}

/// Whose a file is, and what may be done with it.
fn owner_and_mode(path: &Path) -> (u32, u32) {
    let about = fs::metadata(path).unwrap();
    (about.uid(), about.mode() & 0o7777)
}

#[tokio::test]
async fn a_data_folder_of_another_user_stays_as_it_is_and_what_is_ours_in_it_is_closed() {
    let fixture = Fixture::new();
    let data = fixture.data_dir();
    fs::create_dir(&data).unwrap();
    fs::write(data.join("rdev.db"), "").unwrap();
    fs::set_permissions(data.join("rdev.db"), fs::Permissions::from_mode(0o644)).unwrap();
    fs::set_permissions(&data, fs::Permissions::from_mode(0o775)).unwrap();
    chown(&data, Some(NOBODY), None).unwrap();
    let server = fixture.start().await;
    server.client().run("echo hello").await;
    assert_eq!(owner_and_mode(&data), (NOBODY, 0o775));
    assert_eq!(owner_and_mode(&data.join("rdev.db")), (0, 0o600));
    server.logged(&["belongs to another user and stays as it is"]).await;
}

#[tokio::test]
async fn a_database_elsewhere_is_closed_with_a_word_and_another_users_is_left_with_one() {
    for (owner, mode, word) in [(0, 0o600, "is closed to them now"), (NOBODY, 0o664, "stays open to others")]
    {
        let fixture = Fixture::new();
        let file = fixture.data_dir().with_file_name("elsewhere.db");
        fs::write(&file, "").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o664)).unwrap();
        chown(&file, Some(owner), None).unwrap();
        let server = fixture.with("RDEV_DATABASE_URL", format!("sqlite://{}", file.display())).start().await;
        server.client().run("echo hello").await;
        assert_eq!(owner_and_mode(&file), (owner, mode));
        server.logged(&["elsewhere.db", word]).await;
    }
}

#[tokio::test]
async fn a_folder_that_all_users_share_is_refused() {
    let fixture = Fixture::new();
    fs::create_dir(fixture.data_dir()).unwrap();
    fs::set_permissions(fixture.data_dir(), fs::Permissions::from_mode(0o1777)).unwrap();
    let refusal = fixture.refused().await;
    assert!(
        refusal.stderr.contains("RDEV_DATA_DIR") && refusal.stderr.contains("share"),
        "{}",
        refusal.stderr
    );
    assert_eq!(fs::metadata(fixture.data_dir()).unwrap().mode() & 0o7777, 0o1777);
}

#[tokio::test]
async fn commands_have_the_limits_with_which_the_server_was_started() {
    let line = "ulimit -Sn 500; umask 027; exec \"$0\"";
    let server = Fixture::new().started_by(line).with_workers(1).start().await;
    let client = server.client();
    let (lines, _) = client.run("ulimit -Sn; umask").await;
    assert_eq!(lines, ["500", "0027"]);
    let (lines, _) = client.run("cat /proc/$PPID/limits | grep 'open files'").await;
    assert_eq!(lines[0].split_whitespace().nth(3), Some("500"), "{lines:?}");
    let limits = fs::read_to_string(format!("/proc/{}/limits", server.pid())).unwrap();
    let own = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    assert_ne!(own.split_whitespace().nth(3), Some("500"), "the server needs more itself");
    assert_eq!(output(&client, &["ulimit -Sn; umask"]).await, "500\n0027\n");
}

#[tokio::test]
async fn no_command_reads_the_servers_memory_or_environment() {
    // root may read everything, so the server is another user's.
    let line = "chmod 711 . && chown -R 65534:65534 . && cp \"$0\" rdev-api && \
                exec setpriv --reuid 65534 --regid 65534 --clear-groups --inh-caps=-all ./rdev-api";
    let fixture = Fixture::new().with("RDEV_ADMIN_KEY", "rdev_ops_0123456789abcdef0123456789");
    let server = fixture.started_by(line).start().await;
    let client = server.client();
    let pid = server.pid();
    let (lines, _) = client.run("id -u").await;
    assert_eq!(lines, ["65534"]);
    for file in ["environ", "mem", "maps"] {
        let (lines, complete) = client.run(&format!("head -c 1 /proc/{pid}/{file}")).await;
        assert_eq!((lines.len(), complete.exit_code), (0, Some(1)), "{file}: {lines:?}");
    }
    assert_eq!(fs::metadata(format!("/proc/{pid}/environ")).unwrap().uid(), 0);
}

#[tokio::test]
async fn the_admin_key_is_in_its_file_and_in_no_other() {
    let server = Fixture::new().start().await;
    let client = server.client();
    client.run("echo hello").await;
    let key = client.key.clone().unwrap();
    let data = server.fixture().data_dir();
    assert_eq!(fs::read_to_string(data.join("admin.key")).unwrap().trim(), key);
    for path in below(&data).into_iter().filter(|path| path.is_file() && !path.ends_with("admin.key")) {
        let bytes = fs::read(&path).unwrap_or_default();
        assert!(!bytes.windows(key.len()).any(|some| some == key.as_bytes()), "{}", path.display());
    }
}

#[tokio::test]
async fn keys_of_agents_are_for_agents_and_named_variables_for_all() {
    let agent = "printf '{\"type\":\"system\",\"subtype\":\"%s\"}\\n' \"$ANTHROPIC_API_KEY $CARGO_HOME\"";
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("claude");
    fs::write(&program, format!("#!/bin/sh\n{agent}\n")).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let server = Fixture::new()
        .with_program(&program)
        .with("ANTHROPIC_API_KEY", "sk-of-the-agent")
        .with("CARGO_HOME", "/cargo")
        .with("RDEV_COMMAND_ENV", "CARGO_HOME")
        .with_workers(1)
        .start()
        .await;
    let client = server.client();
    let (lines, _) = client.run("env; cat /proc/$PPID/environ | tr '\\0' '\\n'").await;
    assert!(!lines.iter().any(|line| line.contains("sk-of-the-agent")), "{lines:?}");
    assert!(lines.iter().any(|line| line == "CARGO_HOME=/cargo"), "{lines:?}");
    assert!(!output(&client, &["env"]).await.contains("sk-of-the-agent"));
    let accepted = client.claude_in("demo", &json!({"prompt": "hi"})).await;
    client.ended(&accepted.id).await;
    let said = String::from_utf8(client.output(&accepted.id).await.to_vec()).unwrap();
    assert!(said.contains("sk-of-the-agent /cargo"), "{said}");
}

/// Lines that the steps of a task wrote, without the lines that name them.
async fn output(client: &Client, steps: &[&str]) -> String {
    let task = client.add_task(&json!({"type": "shell", "steps": steps, "max_attempts": 1})).await;
    client.task_in(&task.id, Status::Completed).await;
    let output = client.task_output(&task.id).await;
    output.lines().filter(|line| !line.starts_with("+ ")).map(|line| format!("{line}\n")).collect()
}

async fn a_task_finds_nothing_in_its_home_and_leaves_nothing(on: Runtime) {
    let server = on.server_with_workers(1).await;
    let client = server.client();
    let look = "ls -A ~ \"$TMPDIR\" \"$HOME\" && [ ! -e \"$XDG_CONFIG_HOME\" ] && git config --get user.name";
    let leave = "printf '[user]\\n\\tname = somebody\\n' >~/.gitconfig; mkdir ~/.config; touch \"$TMPDIR/x\"; \
                 git init -q . && git status --porcelain; git config --get user.name; pwd; echo $HOME";
    let first = output(&client, &[leave]).await;
    let [name, folder, home] = first.lines().collect::<Vec<_>>()[..] else { panic!("{first}") };
    assert_eq!(name, "somebody");
    assert!(!home.starts_with(&format!("{folder}/")), "{home} is in the checkout");
    let second = output(&client, &[look, "ls -A .."]).await;
    assert!(second.contains("rdev-bot") && !second.contains("gitconfig"), "{second}");
    assert!(!second.contains(folder.rsplit('/').next().unwrap()), "{second}");

    // One that is killed cannot clean up; the next at its seat does.
    let body = json!({"type": "shell", "steps": ["echo key >~/.netrc; kill -9 $PPID"], "max_attempts": 1});
    let killed = client.add_task(&body).await;
    client.task_in(&killed.id, Status::Failed).await;
    let after = output(&client, &[look, "ls -A .."]).await;
    assert!(!after.contains("netrc") && !after.contains(&killed.id), "{after}");
}
