//! Backup and restore by `rdev-api backup` and `rdev-api restore`, and what they refuse.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use rdev_client::types::Status;
use rdev_sql::testing::PostgresDatabase;

use crate::support::{Fixture, Server, said, within};

/// Runs rdev-api, and returns what it says; it must succeed, or not.
async fn says(fixture: &Fixture, succeeds: bool, args: &[&str]) -> String {
    let done = fixture.run(args).await;
    assert_eq!(done.status.success(), succeeds, "{args:?}: {}", said(&done));
    said(&done)
}

async fn stopped(mut server: Server) -> Server {
    server.terminate();
    server.wait().await;
    server
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path in UTF-8")
}

/// Returns the databases that restores have set aside, without their logs.
fn set_aside(fixture: &Fixture) -> Vec<PathBuf> {
    let entries = fs::read_dir(fixture.data_dir()).unwrap().map(|entry| entry.unwrap().path());
    let is_aside = |path: &PathBuf| {
        let name = path.file_name().unwrap().to_str().unwrap();
        name.starts_with("rdev.db.replaced-") && name.ends_with('Z')
    };
    entries.filter(is_aside).collect()
}

#[tokio::test]
async fn a_backup_of_a_running_server_brings_back_what_was_lost() {
    let server = Server::start().await;
    let (folder, client) = (tempfile::tempdir().unwrap(), server.client());
    let backup = folder.path().join("rdev.backup");
    let kept = client.shell("echo kept").await;
    client.ended(&kept.id).await;
    let done = says(server.fixture(), true, &["backup", text(&backup)]).await;
    assert!(done.contains("backed up") && done.contains("master key"), "{done}");
    assert_eq!(fs::metadata(&backup).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing else is left there");

    // A backup is never replaced, nor a database that is in use.
    let again = says(server.fixture(), false, &["backup", text(&backup)]).await;
    assert!(again.contains(text(&backup)) && again.contains("exists"), "{again}");
    let used = says(server.fixture(), false, &["restore", text(&backup)]).await;
    assert!(used.contains("another rdev-api") && used.contains("uses"), "{used}");
    let late = client.shell("echo late").await;
    client.ended(&late.id).await;

    // The machine is lost with everything, but for the keys.
    let mut server = stopped(server).await;
    for entry in fs::read_dir(server.fixture().data_dir()).unwrap() {
        let path = entry.unwrap().path();
        match path.file_name().unwrap().to_str().unwrap() {
            "admin.key" | "master.key" => {}
            _ if path.is_dir() => fs::remove_dir_all(path).unwrap(),
            _ => fs::remove_file(path).unwrap(),
        }
    }
    let done = says(server.fixture(), true, &["restore", text(&backup)]).await;
    assert!(done.contains("restored") && !done.contains("of before"), "{done}");
    server.restart().await;
    let client = server.client();
    assert_eq!(client.output(&kept.id).await, "kept\n");
    assert!(client.api().command("demo", &late.id).await.is_err());
    assert_eq!(client.run("echo again").await.0, ["again"]);
}

#[tokio::test]
async fn a_database_that_a_restore_replaces_is_set_aside_whole() {
    let mut server = Server::start().await;
    let client = server.client();
    // Through standard output and input, as scripts for a cluster use it.
    let backup = server.fixture().run(&["backup", "-"]).await;
    assert!(backup.status.success(), "{}", said(&backup));
    let late = client.shell("echo late").await;
    client.ended(&late.id).await;
    // Its write-ahead log stays.
    server.kill9().await;
    let mut restore = server.fixture().program();
    let mut child =
        restore.args(["restore", "-"]).stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut stdin, &backup.stdout).await.unwrap();
    drop(stdin);
    let done = within("the restore", child.wait_with_output()).await.unwrap();
    assert!(done.status.success() && said(&done).contains("of before"), "{}", said(&done));
    let asides = set_aside(server.fixture());
    let [aside] = &asides[..] else { panic!("{asides:?}") };

    // It can be restored as well, with the entries of its log.
    says(server.fixture(), true, &["restore", text(aside)]).await;
    server.restart().await;
    assert_eq!(server.client().output(&late.id).await, "late\n");
    assert_eq!(set_aside(server.fixture()).len(), 2);
}

#[tokio::test]
async fn the_log_of_a_lost_database_is_not_applied_to_the_restored_one() {
    let mut server = Server::start().await;
    let client = server.client();
    let folder = tempfile::tempdir().unwrap();
    let backup = folder.path().join("rdev.backup");
    says(server.fixture(), true, &["backup", text(&backup)]).await;
    let late = client.shell("echo late").await;
    client.ended(&late.id).await;
    server.kill9().await;
    let database = server.fixture().data_dir().join("rdev.db");
    assert!(fs::metadata(database.with_extension("db-wal")).unwrap().len() > 0);
    fs::remove_file(&database).unwrap();
    says(server.fixture(), true, &["restore", text(&backup)]).await;
    server.restart().await;
    let client = server.client();
    assert!(client.api().command("demo", &late.id).await.is_err());
    assert_eq!(client.run("echo again").await.0, ["again"]);
}

#[tokio::test]
async fn a_restore_says_how_many_jobs_had_not_ended() {
    let server = Server::start().await;
    let client = server.client();
    let accepted = client.shell("until [ -e go ]; do sleep 0.02; done; echo gone").await;
    client.begun(&accepted.id).await;
    let folder = tempfile::tempdir().unwrap();
    let backup = folder.path().join("rdev.backup");
    says(server.fixture(), true, &["backup", text(&backup)]).await;
    let mut server = stopped(server).await;
    let done = says(server.fixture(), true, &["restore", text(&backup)]).await;
    assert!(done.contains("1 jobs had not ended"), "{done}");
    server.restart().await;
    server.touch("go").await;
    assert_eq!(server.client().ended(&accepted.id).await.accepted.status, Status::Completed);
}

#[tokio::test]
async fn what_is_no_backup_of_this_version_changes_nothing() {
    let server = Server::start().await;
    let kept = server.client().shell("echo kept").await;
    server.client().ended(&kept.id).await;
    let folder = tempfile::tempdir().unwrap();
    let [whole, cut, words, later, missing] =
        ["whole", "cut", "words", "later", "missing"].map(|name| folder.path().join(name));
    says(server.fixture(), true, &["backup", text(&whole)]).await;
    let bytes = fs::read(&whole).unwrap();
    fs::write(&cut, &bytes[..bytes.len() / 2]).unwrap();
    fs::write(&words, "no database at all").unwrap();
    server.sql("UPDATE schema_compatibility SET oldest_program = 9999").await;
    let refused = says(server.fixture(), false, &["backup", text(&later)]).await;
    assert!(refused.contains("9999"), "{refused}");

    let mut server = stopped(server).await;
    fs::copy(server.fixture().data_dir().join("rdev.db"), &later).unwrap();
    server.sql("UPDATE schema_compatibility SET oldest_program = 7").await;
    for (file, why) in [
        (&cut, "malformed"),
        (&words, "not a database"),
        (&later, "9999"),
        (&missing, "there is no such file"),
    ] {
        let refused = says(server.fixture(), false, &["restore", text(file)]).await;
        assert!(refused.contains(why) && refused.contains(text(file)), "{why}: {refused}");
    }
    assert!(set_aside(server.fixture()).is_empty());
    server.restart().await;
    assert_eq!(server.client().output(&kept.id).await, "kept\n");
}

#[tokio::test]
async fn on_postgres_its_own_tools_are_named() {
    let database = PostgresDatabase::create().await;
    let fixture = Fixture::new().with("RDEV_DATABASE_URL", database.url());
    for (args, tool) in [(["backup", "x"], "pg_dump"), (["restore", "x"], "pg_restore")] {
        let refused = says(&fixture, false, &args).await;
        assert!(refused.contains(tool), "{refused}");
    }
}
