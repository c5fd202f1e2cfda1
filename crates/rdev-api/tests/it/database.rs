//! The database, as its operator sees it: migrations, the doctor, and what no log may show.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rdev_client::types::Status;
use rdev_sql::testing::PostgresDatabase;

use crate::support::{Fixture, Server, said};

const PASSWORD: &str = "s3cr3t-word";

/// The address with a password, which a server that trusts everybody does not look at.
fn with_password(database: &PostgresDatabase) -> String {
    database.url().replace("rdev@", &format!("rdev:{PASSWORD}@"))
}

async fn migrates(fixture: &Fixture) {
    for _ in 0..2 {
        let pending = fixture.run(&["migrate", "--check"]).await;
        assert_eq!(pending.status.code(), Some(1), "{}", said(&pending));
        let first = String::from_utf8_lossy(&pending.stdout).lines().next().map(str::to_owned);
        assert_eq!(first.as_deref(), Some("pending: 0001 tasks and events"));
    }
    let migrated = fixture.run(&["migrate"]).await;
    assert!(migrated.status.success(), "{}", said(&migrated));
    assert!(said(&migrated).starts_with("migrated: 0001 tasks and events\n"), "{}", said(&migrated));
    for args in [&["migrate", "--check"] as &[&str], &["migrate"]] {
        let done = fixture.run(args).await;
        assert!(done.status.success());
        assert_eq!(said(&done), "the schema is up to date\n");
    }
}

#[tokio::test]
async fn a_file_is_migrated_when_it_is_wanted() {
    let fixture = Fixture::new();
    std::fs::create_dir(fixture.data_dir()).unwrap();
    migrates(&fixture).await;
}

#[tokio::test]
async fn postgres_is_migrated_when_it_is_wanted() {
    let database = PostgresDatabase::create().await;
    migrates(&Fixture::new().with("RDEV_DATABASE_URL", database.url())).await;
}

#[tokio::test]
async fn the_doctor_looks_at_postgres() {
    let database = PostgresDatabase::create().await;
    let fixture = Fixture::new().with("RDEV_DATABASE_URL", with_password(&database));
    let found = fixture.run(&["doctor"]).await;
    assert!(found.status.success(), "{}", said(&found));
    assert!(said(&found).contains("warn  database: Postgres 1"), "{}", said(&found));
    fixture.run(&["migrate"]).await;
    let found = fixture.run(&["doctor"]).await;
    for line in ["ok    database: Postgres 1", "ok    database clock: ", "ok    database connections: "] {
        assert!(said(&found).contains(line), "{line}: {}", said(&found));
    }
    assert!(!said(&found).contains(PASSWORD));
}

#[tokio::test]
async fn a_server_that_is_not_there_is_named_without_its_password() {
    let unused = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let closed = unused.local_addr().unwrap();
    drop(unused);
    let url = format!("postgres://rdev:{PASSWORD}@{closed}/rdev");
    let fixture = Fixture::new().with("RDEV_DATABASE_URL", url).with("RDEV_LOG", "trace");
    for args in [&["doctor"] as &[&str], &["migrate"], &["migrate", "--check"], &[]] {
        let refused = fixture.run(args).await;
        assert!(!refused.status.success());
        assert!(said(&refused).contains(&closed.to_string()), "{args:?}: {}", said(&refused));
        assert!(!said(&refused).contains(PASSWORD), "{args:?}: {}", said(&refused));
    }
}

#[tokio::test]
async fn no_password_is_in_the_log_nor_seen_by_commands() {
    let database = PostgresDatabase::create().await;
    let fixture =
        Fixture::new().with("RDEV_DATABASE_URL", with_password(&database)).with("RDEV_LOG", "trace");
    let mut server = fixture.start().await;
    let (lines, _) = server.client().run("env; cat /proc/$PPID/environ | tr '\\0' '\\n'").await;
    assert!(!lines.iter().any(|line| line.contains(PASSWORD)), "{lines:?}");
    let log = server.whole_log().await;
    assert!(!log.is_empty() && !log.contains(PASSWORD), "the password is in the log");
    let help = server.fixture().run(&["--help"]).await;
    assert!(!said(&help).contains(PASSWORD), "{}", said(&help));
}

#[tokio::test]
async fn a_second_server_on_the_same_file_is_refused_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("shared.db");
    let url = |path: &Path| format!("sqlite://{}", path.display());
    // By whatever name it is called, also one that was there before the file.
    let link = folder.path().join("link.db");
    std::os::unix::fs::symlink(&file, &link).unwrap();
    let first = Fixture::new().with("RDEV_DATABASE_URL", url(&link)).start().await;
    let client = first.client();
    let accepted = client.shell("until [ -e go ]; do sleep 0.02; done; echo once >>effects").await;
    client.begun(&accepted.id).await;
    for name in [&file, &link] {
        let other = Fixture::new().with("RDEV_DATABASE_URL", url(name));
        let refusal = other.refused().await;
        let line = refusal.stderr.trim();
        assert!(!line.contains('\n') && line.contains("shared.db (RDEV_DATABASE_URL)"), "{line}");
        // Nobody migrates it meanwhile; a look disturbs nobody.
        let migrated = other.run(&["migrate"]).await;
        assert!(!migrated.status.success() && said(&migrated).contains("another rdev-api"), "{migrated:?}");
        let found = said(&other.run(&["doctor"]).await);
        assert!(found.contains("ok    database: SQLite"), "{found}");
    }
    first.touch("go").await;
    assert_eq!(client.ended(&accepted.id).await.accepted.status, Status::Completed);
    assert_eq!(first.file("effects").await.unwrap(), "once\n");
}

async fn is_kept_out_by_a_later_version(mut server: Server) {
    server.sql("UPDATE schema_compatibility SET oldest_program = 9999").await;
    server.terminate();
    server.wait().await;
    let refusal = server.fixture().refused().await;
    let line = refusal.stderr.trim();
    assert!(!line.contains('\n') && line.contains("RDEV_DATABASE_URL"), "{line}");
    assert!(line.contains("start that version, or restore a backup"), "{line}");
    let found = said(&server.fixture().run(&["doctor"]).await);
    assert!(found.contains("keeps out this older version"), "{found}");
    server.sql("UPDATE schema_compatibility SET oldest_program = 7").await;
    server.restart().await;
    assert_eq!(server.client().run("echo again").await.0, ["again"]);
}

#[tokio::test]
async fn a_file_that_a_later_version_has_closed_to_this_one_says_so() {
    is_kept_out_by_a_later_version(Server::start().await).await;
}

#[tokio::test]
async fn a_postgres_that_a_later_version_has_closed_to_this_one_says_so() {
    is_kept_out_by_a_later_version(Fixture::new().with_postgres().start().await).await;
}

#[tokio::test]
async fn stored_files_are_closed_to_other_users_whatever_was_there_before() {
    let fixture = Fixture::new();
    std::fs::create_dir(fixture.data_dir()).unwrap();
    let open = |path: &Path, mode| std::fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    open(&fixture.data_dir(), 0o755);
    let file = fixture.data_dir().join("rdev.db");
    std::fs::write(&file, "").unwrap();
    open(&file, 0o644);
    let server = fixture.start().await;
    server.client().run("echo private").await;
    let data = server.fixture().data_dir();
    for name in [".", "rdev.db", "rdev.db-wal", "rdev.db-shm", "rdev.db.lock", "admin.key", "master.key"] {
        let mode = std::fs::metadata(data.join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{name}: {mode:o}");
    }
}
