//! Change of the admin key, and secrets in files.

use std::fs;

use crate::support::{Fixture, Server};

const OLD: &str = "rdev_ops_0123456789abcdef0123456789";
const NEW: &str = "rdev_ops_fedcba9876543210fedcba9876";

async fn answers(server: &Server, key: &str) -> u16 {
    server.client().with_key(Some(key)).get("/projects").send().await.status.as_u16()
}

#[tokio::test]
async fn the_admin_key_is_changed_without_a_refused_request() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("admin-key");
    // As a mounted Secret has it, and as an editor leaves it.
    fs::write(&file, OLD).unwrap();
    let mut server = Fixture::new().with("RDEV_ADMIN_KEY_FILE", file.to_str().unwrap()).start().await;
    assert_eq!((answers(&server, OLD).await, answers(&server, NEW).await), (200, 401));
    for (keys, expected) in [(format!("{NEW},{OLD}\n"), (200, 200)), (format!("{NEW}\n"), (401, 200))] {
        fs::write(&file, keys).unwrap();
        server.terminate();
        server.wait().await;
        server.restart().await;
        assert_eq!((answers(&server, OLD).await, answers(&server, NEW).await), expected);
    }
    assert!(!server.fixture().data_dir().join("admin.key").exists());
}

#[tokio::test]
async fn secrets_can_be_files() {
    let folder = tempfile::tempdir().unwrap();
    let [url, key] = ["url", "master-key"].map(|name| folder.path().join(name));
    let database = folder.path().join("elsewhere.db");
    fs::write(&url, format!("sqlite://{}", database.display())).unwrap();
    fs::write(&key, "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n").unwrap();
    let fixture = Fixture::new()
        .with("RDEV_DATABASE_URL_FILE", url.to_str().unwrap())
        .with("RDEV_MASTER_KEY_FILE", key.to_str().unwrap());
    let server = fixture.start().await;
    assert_eq!(server.client().run("echo hello").await.0, ["hello"]);
    assert!(database.exists() && !server.fixture().data_dir().join("master.key").exists());
}

#[tokio::test]
async fn a_file_without_its_secret_is_refused_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("secret");
    fs::write(&file, "sh0rt").unwrap();
    let missing = folder.path().join("missing");
    for variable in ["RDEV_ADMIN_KEY", "RDEV_MASTER_KEY", "RDEV_DATABASE_URL"] {
        let of_file = format!("{variable}_FILE");
        for (path, why) in [(&file, "accepted"), (&missing, "cannot be read")] {
            let path = path.to_str().unwrap();
            let refusal = Fixture::new().with(&of_file, path).refused().await;
            let line = refusal.stderr.trim();
            assert_eq!(refusal.status.code(), Some(2), "{line}");
            assert!(!line.contains('\n') && !line.contains("sh0rt"), "{line}");
            assert!(line.contains(&of_file) && line.contains(path) && line.contains(why), "{line}");
        }
        let both = Fixture::new().with(variable, "sqlite:///x").with(&of_file, file.to_str().unwrap());
        let refusal = both.refused().await;
        assert!(refusal.stderr.contains(variable), "{}", refusal.stderr);
    }
}
