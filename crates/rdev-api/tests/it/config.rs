//! Configuration: documented, refused, and hidden from commands.

use std::process::Command;

use crate::support::{Fixture, Server};

const VARIABLES: [&str; 27] = [
    "RDEV_BIND",
    "RDEV_PROBE_BIND",
    "RDEV_DATA_DIR",
    "RDEV_DATABASE_URL",
    "RDEV_DATABASE_URL_FILE",
    "RDEV_RUNTIME",
    "RDEV_NAMESPACE",
    "RDEV_ADMIN_KEY",
    "RDEV_ADMIN_KEY_FILE",
    "RDEV_MASTER_KEY",
    "RDEV_MASTER_KEY_FILE",
    "RDEV_WORKER_CONCURRENCY",
    "RDEV_POOL_SLOTS",
    "RDEV_HEARTBEAT_SECONDS",
    "RDEV_LEASE_SECONDS",
    "RDEV_COMMAND_TIMEOUT_SECONDS",
    "RDEV_POD_WAIT_SECONDS",
    "RDEV_JOURNAL_SEARCH_SECONDS",
    "RDEV_RETENTION_DAYS",
    "RDEV_RETENTION_LOG_MB",
    "RDEV_RATE_LIMIT_PER_MINUTE",
    "RDEV_STREAMS_PER_KEY",
    "RDEV_TRUSTED_PROXIES",
    "RDEV_CORS_ORIGINS",
    "RDEV_COMMAND_ENV",
    "RDEV_LOG",
    "RDEV_LOG_FORMAT",
];

/// Starts with one wrong value; the one line that it must say.
async fn refused(variable: &str, value: &str) -> String {
    let refusal = Fixture::new().with(variable, value).refused().await;
    assert_eq!(refusal.status.code(), Some(2), "{variable}={value}: {}", refusal.stderr);
    assert_eq!(refusal.stdout, "");
    let lines: Vec<&str> = refusal.stderr.lines().collect();
    let [line] = lines[..] else { panic!("{variable}={value}: {}", refusal.stderr) };
    assert!(line.contains(variable), "{variable}={value} is not named: {line}");
    line.to_owned()
}

#[tokio::test]
async fn a_wrong_value_stops_the_start_with_one_line() {
    let mut unclear = Vec::new();
    for (variable, value, accepted) in [
        ("RDEV_BIND", "somewhere", "IP:PORT"),
        ("RDEV_BIND", "127.0.0.1", "IP:PORT"),
        ("RDEV_BIND", "127.0.0.1:99999", "IP:PORT"),
        ("RDEV_BIND", "unix:rdev.sock", "absolute path"),
        ("RDEV_PROBE_BIND", "8081", "IP:PORT"),
        ("RDEV_PROBE_BIND", "unix:/rdev.sock", "IP:PORT"),
        ("RDEV_DATA_DIR", "/tmp/a:b", "without ':'"),
        ("RDEV_DATABASE_URL", "mysql://x", "sqlite://"),
        ("RDEV_DATABASE_URL", "sqlite://", "sqlite://"),
        ("RDEV_DATABASE_URL", "postgres://", "postgres://"),
        ("RDEV_DATABASE_URL", "postgres:rdev", "postgres://"),
        ("RDEV_RUNTIME", "docker", "local"),
        ("RDEV_NAMESPACE", "Not A Name", "a-z"),
        ("RDEV_WORKER_CONCURRENCY", "0", "1"),
        ("RDEV_WORKER_CONCURRENCY", "many", "1"),
        ("RDEV_WORKER_CONCURRENCY", "1025", "1024"),
        ("RDEV_HEARTBEAT_SECONDS", "0", "1"),
        ("RDEV_HEARTBEAT_SECONDS", "-1", "1"),
        ("RDEV_LEASE_SECONDS", "1", "3"),
        ("RDEV_COMMAND_TIMEOUT_SECONDS", "0", "1"),
        ("RDEV_COMMAND_TIMEOUT_SECONDS", "604801", "604800"),
        ("RDEV_JOURNAL_SEARCH_SECONDS", "0", "1"),
        ("RDEV_RETENTION_DAYS", "-1", "36500"),
        ("RDEV_RETENTION_DAYS", "1.5", "36500"),
        ("RDEV_RETENTION_LOG_MB", "10G", "1000000000"),
        ("RDEV_RATE_LIMIT_PER_MINUTE", "0", "1"),
        ("RDEV_RATE_LIMIT_PER_MINUTE", "1.5", "1"),
        ("RDEV_TRUSTED_PROXIES", "10.0.0.0/99", "10.0.0.0/8"),
        ("RDEV_TRUSTED_PROXIES", "10.0.0.0/8,example.org", "10.0.0.0/8"),
        ("RDEV_CORS_ORIGINS", "*", "https://app.example.org"),
        ("RDEV_CORS_ORIGINS", "https://app.example.org,https://app.example.org/", "no path"),
        ("RDEV_COMMAND_ENV", "CARGO_HOME,A B", "names of variables"),
        ("RDEV_COMMAND_ENV", "RDEV_LOG", "begins with RDEV_"),
        ("RDEV_LOG", "rdev=loud", "info"),
        ("RDEV_LOG", "verbose", "off, error, warn, info, debug, trace"),
        ("RDEV_LOG", "info,warning", "off, error, warn, info, debug, trace"),
        ("RDEV_LOG_FORMAT", "xml", "json"),
    ] {
        let line = refused(variable, value).await;
        let wrong = value.rsplit(',').next().unwrap();
        assert!(line.contains(wrong), "{variable}={value}: the value is not named: {line}");
        if !line.contains(accepted) {
            unclear.push(line);
        }
    }
    assert!(unclear.is_empty(), "what is accepted is not named: {unclear:#?}");
}

#[tokio::test]
async fn a_wrong_secret_is_not_shown() {
    for (variable, value) in [
        ("RDEV_ADMIN_KEY", "sh0rt'ForK"),
        ("RDEV_ADMIN_KEY", "a key with spaces in it, long enough"),
        ("RDEV_DATABASE_URL", "postgres://rdev:s3cr3t-word@a b/rdev"),
        ("RDEV_DATABASE_URL", "mysql://rdev:s3cr3t-word@db/rdev"),
        ("RDEV_MASTER_KEY", "bm90IDMyIGJ5dGVz"),
        ("RDEV_MASTER_KEY", "n0t-a-key at all!"),
    ] {
        let line = refused(variable, value).await;
        for piece in
            value.split([' ', '\'']).filter(|piece| piece.len() > 3 && piece.contains(char::is_numeric))
        {
            assert!(!line.contains(piece), "{variable} is shown: {line}");
        }
        assert!(!line.contains(value), "{variable} is shown: {line}");
        assert!(line.contains("accepted"), "{line}");
    }
}

#[tokio::test]
async fn a_value_that_only_the_system_refuses_is_one_line_too() {
    let taken = Server::start().await;
    let address = taken.client().address.to_string();
    for (variable, value) in [
        ("RDEV_BIND", address.as_str()),
        ("RDEV_DATA_DIR", "/proc/nothing"),
        ("RDEV_DATABASE_URL", "sqlite:///proc/x.db"),
    ] {
        let refusal = Fixture::new().with(variable, value).refused().await;
        assert_eq!(refusal.stderr.lines().count(), 1, "{}", refusal.stderr);
        let place = value.trim_start_matches("sqlite://");
        assert!(refusal.stderr.contains(place), "{variable}={value}: {}", refusal.stderr);
        assert_eq!(refusal.stdout, "", "it must not look as if it had started");
    }
}

#[test]
fn help_documents_every_variable() {
    let output = Command::new(env!("CARGO_BIN_EXE_rdev-api")).arg("--help").output().unwrap();
    assert!(output.status.success());
    let help = String::from_utf8(output.stdout).unwrap();
    for variable in VARIABLES {
        assert!(help.contains(variable), "{variable} is not documented in\n{help}");
    }
    for default in ["127.0.0.1:8080", "./.rdev", "3600", "600", "30"] {
        assert!(help.contains(default), "{default} is not documented in\n{help}");
    }
}

#[test]
fn help_shows_no_secret() {
    let output = Command::new(env!("CARGO_BIN_EXE_rdev-api"))
        .arg("--help")
        .env("RDEV_ADMIN_KEY", "rdev_ops_very-secret-indeed")
        .output()
        .unwrap();
    assert!(!String::from_utf8_lossy(&output.stdout).contains("very-secret"));
}

#[tokio::test]
async fn commands_see_nothing_of_the_servers_own_variables() {
    const ADMIN: &str = "rdev_ops_0123456789abcdef0123456789";
    const MASTER: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
    let server = Fixture::new()
        .with("RDEV_ADMIN_KEY", ADMIN)
        .with("RDEV_MASTER_KEY", MASTER)
        .with("RDEV_LOG", "warn")
        .with("SOME_SECRET", "of-the-server")
        .start()
        .await;
    let client = server.client();
    let (lines, _) = client.run("env; cat /proc/$PPID/environ | tr '\\0' '\\n'").await;
    let names: Vec<&str> = lines.iter().filter_map(|line| Some(line.split_once('=')?.0)).collect();
    assert!(names.contains(&"PATH") && names.contains(&"HOME"), "{names:?}");
    // By these the runner knows its run's processes.
    let of_the_runner = ["RDEV_RUNS_DIR", "RDEV_RUN_ID"];
    let own: Vec<&&str> =
        names.iter().filter(|name| name.starts_with("RDEV_") && !of_the_runner.contains(name)).collect();
    assert!(own.is_empty(), "{own:?}");
    for secret in [ADMIN, MASTER, "of-the-server"] {
        assert!(!lines.iter().any(|line| line.contains(secret)));
    }
    // With keys of its own it writes none.
    assert!(!server.fixture().data_dir().join("admin.key").exists());
    assert!(!server.fixture().data_dir().join("master.key").exists());
}

#[tokio::test]
async fn no_key_is_in_the_log() {
    let mut server = Fixture::new().with("RDEV_LOG", "trace").start().await;
    let client = server.client();
    client.run("echo hello").await;
    client.with_key(Some("rdev_x_a-wrong-key-of-somebody")).get("/projects").send().await;
    let log = server.whole_log().await;
    assert!(log.contains("/projects"), "{log}");
    assert!(!log.contains(client.key.as_deref().unwrap()), "the key is in the log");
    assert!(!log.contains("a-wrong-key-of-somebody"), "a key is in the log");
}

#[tokio::test]
async fn the_log_can_be_json() {
    #[derive(serde::Deserialize)]
    struct Line {
        level: String,
    }
    let mut server = Fixture::new().with("RDEV_LOG_FORMAT", "json").start().await;
    let log = server.whole_log().await;
    assert!(!log.is_empty());
    for line in log.lines() {
        let line: Line = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error} in {line}"));
        assert_eq!(line.level, "INFO");
    }
}

#[tokio::test]
async fn the_doctor_makes_nothing_and_says_what_is_missing() {
    let fixture = Fixture::new();
    let examine = async || {
        let output = fixture.program().arg("doctor").output().await.unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let text = examine().await;
    assert!(text.contains("warn  database:") && text.contains("warn  data folder:"), "{text}");
    assert!(!fixture.data_dir().exists());
    let server = fixture.start().await;
    let output = server.fixture().program().arg("doctor").output().await.unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        output.status.success() && text.contains("ok    database:") && text.contains("ok    git:"),
        "{text}"
    );
}

#[tokio::test]
async fn pods_need_a_cluster_and_a_master_key() {
    let fixture = Fixture::new().with("RDEV_RUNTIME", "kubernetes");
    let refusal = fixture.refused().await;
    assert!(refusal.stderr.contains("RDEV_MASTER_KEY"), "{}", refusal.stderr);
    let key = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
    let refusal = fixture.with("RDEV_MASTER_KEY", key).refused().await;
    assert!(refusal.stderr.contains("KUBECONFIG"), "{}", refusal.stderr);
}
