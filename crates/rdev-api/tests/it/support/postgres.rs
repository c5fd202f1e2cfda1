//! A Postgres server of a story's own, for interventions that the shared one must not suffer.

use std::fmt;
use std::path::Path;
use std::process::{Command, Output};

use super::{tools, within};

/// The folder with `scripts/`, which know how a server is set up without a system's help.
const PROJECT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

/// A server that runs; with its folder gone when dropped.
pub(crate) struct PrivatePostgres {
    url: String,
    folder: String,
    user: String,
}

/// Manner of a restart.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Restart {
    /// In good order: connections are cut, and everything is written.
    Fast,
    /// As after a crash: it finds in its log what was committed.
    Immediate,
}

impl PrivatePostgres {
    /// Starts one that flushes what it commits: what is told after a commit must be true after a crash, and
    /// commits that wait for the flush meet one another in another order than those that do not.
    pub(crate) async fn start() -> Self {
        let script = "unset RDEV_TEST_POSTGRES; export RDEV_TEST_POSTGRES_FSYNC=on; start_postgres
            printf '%s\\n' \"$RDEV_TEST_POSTGRES\" \"$POSTGRES_FOLDER\" \"$POSTGRES_USER\"";
        let told = run(script, &[]).await;
        let mut lines = told.lines().rev().map(str::to_owned);
        let mut last = || lines.next().unwrap_or_else(|| panic!("it tells where it is: {told:?}"));
        let (user, folder, url) = (last(), last(), last());
        Self { url, folder, user }
    }

    /// Address of the server, where databases can be made.
    pub(crate) fn url(&self) -> String {
        self.url.clone()
    }

    /// Restarts it; when this returns, it takes connections again.
    pub(crate) async fn restart(&self, how: Restart) {
        run(&format!("restart_postgres {how}"), &self.env()).await;
    }

    fn env(&self) -> [(&'static str, String); 2] {
        [("POSTGRES_FOLDER", self.folder.clone()), ("POSTGRES_USER", self.user.clone())]
    }
}

impl fmt::Display for Restart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Fast => "fast",
            Self::Immediate => "immediate",
        })
    }
}

impl Drop for PrivatePostgres {
    fn drop(&mut self) {
        // A test that has failed says why by itself.
        if let Err(error) = scripted("stop_postgres", &self.env()) {
            println!("the private Postgres in {} was left behind: {error}", self.folder);
        }
    }
}

async fn run(script: &str, env: &[(&'static str, String)]) -> String {
    let (script, env) = (script.to_owned(), env.to_vec());
    let running = tokio::task::spawn_blocking(move || scripted(&script, &env));
    let output = within("a script about Postgres", running).await.expect("nothing in it panics");
    let output = output.expect("bash can be run");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn scripted(script: &str, env: &[(&'static str, String)]) -> std::io::Result<Output> {
    let sourced = "set -eu; source scripts/lib/tools.sh; source scripts/lib/postgres.sh";
    Command::new("bash")
        .args(["-c", &format!("{sourced}; {script}")])
        .env("PATH", tools::path())
        .envs(env.iter().map(|(name, value)| (name, value)))
        .current_dir(Path::new(PROJECT))
        .output()
}
