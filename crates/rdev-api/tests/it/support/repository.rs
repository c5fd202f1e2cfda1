//! A bare repository of this machine that pods can clone and push to.

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::Stdio;

use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use super::{eventually, within};

/// Served by `git daemon`; gone when dropped.
pub(crate) struct Repository {
    folder: TempDir,
    address: SocketAddr,
    /// Killed when dropped.
    _daemon: Child,
}

impl Repository {
    /// One with a branch `main` of one commit, in which `file` holds `one`.
    pub(crate) async fn serve(host: &str) -> Self {
        let folder = tempfile::Builder::new().prefix("rdev-it-git-").tempdir().expect("a temporary folder");
        let free = TcpListener::bind((host, 0)).and_then(|free| free.local_addr());
        let address = free.unwrap_or_else(|error| panic!("nothing can listen on {host}: {error}"));
        // `git daemon` would start it as another process, which does not go with `git`.
        let programs = within("git", Command::new("git").arg("--exec-path").output()).await;
        let programs = String::from_utf8(programs.expect("git can be run").stdout).expect("a path is text");
        let daemon = Command::new(PathBuf::from(programs.trim()).join("git-daemon"))
            .args(["--export-all", "--enable=receive-pack", "--reuseaddr"])
            .arg(format!("--listen={}", address.ip()))
            .arg(format!("--port={}", address.port()))
            .arg(format!("--base-path={}", folder.path().display()))
            .arg(folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("git-daemon can be run: it comes with git");
        let served = Self { folder, address, _daemon: daemon };
        std::fs::create_dir(served.path()).expect("a folder can be made");
        served.git(&["init", "--quiet", "--bare", "--initial-branch=main", "."]).await;
        served.git(&["config", "user.name", "somebody"]).await;
        served.git(&["config", "user.email", "somebody@localhost"]).await;
        std::fs::write(served.path().join("one"), "one\n").expect("a file can be written");
        let blob = served.git(&["hash-object", "-w", "one"]).await;
        served.git(&["update-index", "--add", "--cacheinfo", &format!("100644,{},file", blob.trim())]).await;
        let tree = served.git(&["write-tree"]).await;
        let commit = served.git(&["commit-tree", "-m", "first", tree.trim()]).await;
        served.git(&["update-ref", "refs/heads/main", commit.trim()]).await;
        let listens = async || TcpStream::connect(served.address).await.ok();
        eventually("git daemon", listens).await;
        served
    }

    pub(crate) fn url(&self) -> String {
        format!("git://{}/repository.git", self.address)
    }

    /// Runs git in the repository; what it wrote.
    pub(crate) async fn git(&self, args: &[&str]) -> String {
        let running = Command::new("git").args(args).current_dir(self.path()).kill_on_drop(true).output();
        let output = within("git", running).await.expect("git can be run");
        assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("repository.git")
    }
}
