//! systemd: the service file, and what the server tells.

use std::os::unix::net::UnixDatagram;
use std::process::Command;
use std::time::Duration;

use crate::support::Fixture;

const SERVICE: &str = include_str!("../../../../deployments/systemd/rdev-api.service");

/// Receives one message of the server.
fn told(socket: &UnixDatagram) -> String {
    let mut bytes = [0; 1024];
    let length = socket.recv(&mut bytes).expect("a message");
    String::from_utf8_lossy(&bytes[..length]).trim().to_owned()
}

#[tokio::test]
async fn the_service_manager_is_told_of_readiness_and_of_the_stop() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let mut server = Fixture::new().with("NOTIFY_SOCKET", path.to_str().unwrap()).start().await;
    assert_eq!(told(&socket), "READY=1");
    let (lines, _) = server.client().run("echo ${NOTIFY_SOCKET:-unknown}").await;
    assert_eq!(lines, ["unknown"], "a command could tell systemd of a stop");
    server.terminate();
    assert_eq!(told(&socket), "STOPPING=1");
    assert!(server.wait().await.success());
}

#[test]
fn systemd_accepts_the_service_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("rdev-api.service");
    // It looks for the program and the user, which an installation makes.
    let here = SERVICE
        .replace("/usr/local/bin/rdev-api", env!("CARGO_BIN_EXE_rdev-api"))
        .replace("=rdev\nGroup=rdev", "=root\nGroup=root");
    std::fs::write(&file, here).unwrap();
    let verified = Command::new("systemd-analyze").arg("verify").arg("--man=no").arg(&file).output().unwrap();
    let said = String::from_utf8_lossy(&verified.stderr);
    assert!(verified.status.success() && !said.contains("rdev-api.service"), "{said}");
}
