//! The database, as its operator sees it: migrations, the doctor, and what no log may show.

use std::process::Output;

use rdev_sql::testing::PostgresDatabase;

use crate::support::{Fixture, within};

const PASSWORD: &str = "s3cr3t-word";

async fn rdev(fixture: &Fixture, args: &[&str]) -> Output {
    within("the program's end", fixture.program().args(args).output()).await.expect("rdev-api can be run")
}

fn said(output: &Output) -> String {
    [&output.stdout[..], &output.stderr[..]].map(String::from_utf8_lossy).concat()
}

/// The address with a password, which a server that trusts everybody does not look at.
fn with_password(database: &PostgresDatabase) -> String {
    database.url().replace("rdev@", &format!("rdev:{PASSWORD}@"))
}

async fn migrates(fixture: &Fixture) {
    for _ in 0..2 {
        let pending = rdev(fixture, &["migrate", "--check"]).await;
        assert_eq!(pending.status.code(), Some(1), "{}", said(&pending));
        let first = String::from_utf8_lossy(&pending.stdout).lines().next().map(str::to_owned);
        assert_eq!(first.as_deref(), Some("pending: 0001 tasks and events"));
    }
    let migrated = rdev(fixture, &["migrate"]).await;
    assert!(migrated.status.success(), "{}", said(&migrated));
    assert!(said(&migrated).starts_with("migrated: 0001 tasks and events\n"), "{}", said(&migrated));
    for args in [&["migrate", "--check"] as &[&str], &["migrate"]] {
        let done = rdev(fixture, args).await;
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
    let found = rdev(&fixture, &["doctor"]).await;
    assert!(found.status.success(), "{}", said(&found));
    assert!(said(&found).contains("warn  database: Postgres 1"), "{}", said(&found));
    rdev(&fixture, &["migrate"]).await;
    let found = rdev(&fixture, &["doctor"]).await;
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
        let refused = rdev(&fixture, args).await;
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
    let server = fixture.start().await;
    let (lines, _) = server.client().run("env; cat /proc/$PPID/environ | tr '\\0' '\\n'").await;
    assert!(!lines.iter().any(|line| line.contains(PASSWORD)), "{lines:?}");
    assert!(!server.log().is_empty() && !server.log().contains(PASSWORD), "the password is in the log");
    let help = rdev(server.fixture(), &["--help"]).await;
    assert!(!said(&help).contains(PASSWORD), "{}", said(&help));
}
