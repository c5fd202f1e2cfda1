//! The scripted stand-in for a model service, one for each story that needs one.

use std::net::SocketAddr;
use std::process::Stdio;

use serde::Deserialize;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use super::Client;
use super::cluster::Cluster;
use super::{Fixture, Runtime, eventually, tools, within};

/// A model service whose answers the prompt writes: see the head of the script.
pub(crate) struct Model {
    runtime: Runtime,
    address: SocketAddr,
    /// Killed when dropped.
    _process: Child,
}

/// One request that the agent has made.
#[derive(Debug, Deserialize)]
pub(crate) struct Occurrence {
    pub(crate) verb: String,
    pub(crate) outcome: String,
    pub(crate) messages: u32,
}

impl Model {
    /// A model service that commands on this runtime can reach.
    pub(crate) async fn start(on: Runtime) -> Self {
        let host = match on {
            Runtime::Local | Runtime::LocalOnPostgres | Runtime::Double => "127.0.0.1".to_owned(),
            Runtime::Cluster => Cluster::host(),
        };
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/stub-model-server.py");
        let mut process = Command::new("python3")
            .args([script, "--port", "0", "--host", &host])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("python3 can be run: scripts/test.sh installs what the tests need");
        let mut lines = BufReader::new(process.stdout.take().expect("a pipe")).lines();
        let line = within("the model service", lines.next_line()).await;
        let line = line.expect("its output can be read").expect("it says where it listens");
        let address = line.strip_prefix("listening on http://").and_then(|address| address.parse().ok());
        Self { runtime: on, address: address.expect("an address"), _process: process }
    }

    /// A server whose `claude` asks this model service.
    pub(crate) fn fixture(&self) -> Fixture {
        let fixture = match self.runtime {
            Runtime::Local | Runtime::LocalOnPostgres | Runtime::Double => {
                self.runtime.fixture().with_program(&tools::claude())
            }
            // The image has one.
            Runtime::Cluster => self.runtime.fixture(),
        };
        fixture
            .for_commands("ANTHROPIC_BASE_URL", format!("http://{}", self.address))
            .for_commands("ANTHROPIC_API_KEY", "a-key-for-the-stub")
            .for_commands("CLAUDE_CODE_MAX_RETRIES", "0")
            .for_commands("DISABLE_AUTOUPDATER", "1")
            .for_commands("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1")
    }

    /// Requests so far.
    pub(crate) async fn asked(&self) -> Vec<Occurrence> {
        let client = Client::new(self.address, None);
        client.get("/__stub/requests").send().await.part(200)
    }

    /// Waits for a request of this verb with this outcome.
    pub(crate) async fn saw(&self, verb: &str, outcome: &str) -> Occurrence {
        let wanted = |asked: &Occurrence| asked.verb == verb && asked.outcome == outcome;
        eventually(outcome, async || self.asked().await.into_iter().find(wanted)).await
    }
}
