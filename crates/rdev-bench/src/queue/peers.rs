//! The peers: programs that take calls from standard input, an object a line. Those on Node are in peers.mjs, the Rust crate in
//! benches/graphile.

use std::process::Stdio;
use std::time::Duration;

use anyhow::Context;
use async_trait::async_trait;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::postgres::run;
use crate::queue::Peers;
use crate::queue::contender::{CONNECTIONS, Contender, Mode};

const ON_NODE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/peers.mjs");

/// Finished jobs are deleted; this keeps what is deleted, as cheaply as Postgres can.
const KEEP: &str = "
    CREATE TABLE kept (LIKE graphile_worker._private_jobs, PRIMARY KEY (id));
    CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN INSERT INTO kept SELECT * FROM gone; RETURN NULL; END $$;
    CREATE TRIGGER keep AFTER DELETE ON graphile_worker._private_jobs
        REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION keep();";

/// A peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Peer {
    GraphileRust,
    GraphileRustDeleting,
    GraphileNode,
    GraphileNodeDeleting,
    Boss,
}

/// A call. Times are in seconds.
#[derive(Debug, Serialize)]
#[serde(tag = "call", rename_all = "lowercase", rename_all_fields = "camelCase")]
enum Call<'a> {
    Open { peer: &'static str, url: &'a str, pool: u32 },
    Enqueue { count: u64, at_once: u64, batch: u64 },
    Run { count: u64, at_once: u64, batch: u64 },
    Latency { rate: u64, seconds: u64, at_once: u64 },
    Idle { seconds: f64, at_once: u64 },
    Claims { count: u64, batch: u64 },
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Answer<T> {
    Ok(T),
    Error(String),
}

/// The running program of a peer.
pub(crate) struct Program {
    peer: Peer,
    url: String,
    stdin: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
    /// Ends with this value.
    _child: Child,
}

impl Program {
    pub(crate) async fn open(url: String, peer: Peer, peers: &Peers) -> anyhow::Result<Self> {
        let mut command = match peer {
            Peer::GraphileRust | Peer::GraphileRustDeleting => Command::new(&peers.graphile),
            Peer::GraphileNode | Peer::GraphileNodeDeleting | Peer::Boss => {
                let mut node = Command::new("node");
                node.arg(ON_NODE).env("PEERS", &peers.modules);
                node
            }
        };
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot start the program of {peer:?}"))?;
        let stdin = child.stdin.take().context("no stdin")?;
        let answers = BufReader::new(child.stdout.take().context("no stdout")?).lines();
        let mut program = Self { peer, url: url.clone(), stdin, answers, _child: child };
        let name = if peer == Peer::Boss { "pg-boss" } else { "graphile-worker" };
        program.call::<Option<f64>>(Call::Open { peer: name, url: &url, pool: CONNECTIONS }).await?;
        if matches!(peer, Peer::GraphileRust | Peer::GraphileNode) {
            run(&url, KEEP).await?;
        }
        Ok(program)
    }

    async fn call<T: DeserializeOwned>(&mut self, call: Call<'_>) -> anyhow::Result<T> {
        self.stdin.write_all(format!("{}\n", serde_json::to_string(&call)?).as_bytes()).await?;
        let line = self.answers.next_line().await?.context("the peer has ended")?;
        match serde_json::from_str(&line).with_context(|| line.clone())? {
            Answer::Ok(value) => Ok(value),
            Answer::Error(error) => anyhow::bail!("{:?}: {error}", self.peer),
        }
    }

    async fn timed(&mut self, call: Call<'_>) -> anyhow::Result<Duration> {
        self.call(call).await.map(Duration::from_secs_f64)
    }

    /// Returns the times of `count` claims, in milliseconds.
    pub(crate) async fn claims(&mut self, count: u64, batch: u64) -> anyhow::Result<Vec<f64>> {
        self.call(Call::Claims { count, batch }).await
    }
}

#[async_trait]
impl Contender for Program {
    fn name(&self) -> &str {
        match self.peer {
            Peer::GraphileRust => "graphile_worker (Rust)",
            Peer::GraphileRustDeleting => "graphile_worker (Rust), deleting",
            Peer::GraphileNode => "graphile-worker (Node)",
            Peer::GraphileNodeDeleting => "graphile-worker (Node), deleting",
            Peer::Boss => "pg-boss",
        }
    }

    fn keeps(&self) -> &str {
        match self.peer {
            Peer::GraphileRust | Peer::GraphileNode => {
                "by itself nothing; here its row, copied by a trigger on the deleting statement"
            }
            Peer::GraphileRustDeleting | Peer::GraphileNodeDeleting => "nothing",
            Peer::Boss => "the job's row, which it archives after twelve hours",
        }
    }

    fn database(&self) -> &str {
        &self.url
    }

    fn tables(&self) -> &str {
        match self.peer {
            Peer::GraphileRust | Peer::GraphileNode => "graphile_worker._private_jobs, kept",
            Peer::GraphileRustDeleting | Peer::GraphileNodeDeleting => "graphile_worker._private_jobs",
            Peer::Boss => "pgboss.job, pgboss.archive",
        }
    }

    async fn enqueue(&mut self, count: u64, mode: Mode) -> anyhow::Result<Duration> {
        self.timed(Call::Enqueue { count, at_once: mode.senders(), batch: mode.batch() }).await
    }

    async fn fill(&mut self, count: u64) -> anyhow::Result<()> {
        self.enqueue(count, Mode::Batched).await.map(drop)
    }

    async fn run(&mut self, count: u64, mode: Mode) -> anyhow::Result<Duration> {
        self.timed(Call::Run { count, at_once: mode.at_once(), batch: mode.batch() }).await
    }

    async fn latency(&mut self, rate: u64, seconds: u64) -> anyhow::Result<Vec<f64>> {
        self.call(Call::Latency { rate, seconds, at_once: Mode::Single.at_once() }).await
    }

    async fn idle(&mut self, time: Duration) -> anyhow::Result<()> {
        let idle = Call::Idle { seconds: time.as_secs_f64(), at_once: Mode::Single.at_once() };
        self.call::<Option<f64>>(idle).await.map(drop)
    }
}
