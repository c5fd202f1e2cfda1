//! The peers that run on Node, through peers.mjs.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::Context;
use async_trait::async_trait;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::contender::{CONNECTIONS, Contender, Mode};
use crate::graphile::KEEP;
use crate::postgres::run;

const PROGRAM: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/peers.mjs");

/// A peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Peer {
    Graphile,
    GraphileDeleting,
    Boss,
}

pub(crate) struct Node {
    peer: Peer,
    url: String,
    stdin: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
    /// Ends with this value.
    _child: Child,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Answer {
    Ok(Value),
    Error(String),
}

impl Node {
    pub(crate) async fn open(url: String, peer: Peer, modules: &Path) -> anyhow::Result<Self> {
        let mut child = Command::new("node")
            .arg(PROGRAM)
            .env("PEERS", modules)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("cannot start node")?;
        let stdin = child.stdin.take().context("no stdin")?;
        let answers = BufReader::new(child.stdout.take().context("no stdout")?).lines();
        let mut node = Self { peer, url, stdin, answers, _child: child };
        let name = if peer == Peer::Boss { "pg-boss" } else { "graphile-worker" };
        node.call(json!({ "call": "open", "peer": name, "url": node.url, "pool": CONNECTIONS })).await?;
        if peer == Peer::Graphile {
            run(&node.url, KEEP).await?;
        }
        Ok(node)
    }

    async fn call(&mut self, call: Value) -> anyhow::Result<Value> {
        self.stdin.write_all(format!("{call}\n").as_bytes()).await?;
        let line = self.answers.next_line().await?.context("the peer has ended")?;
        match serde_json::from_str(&line).with_context(|| line.clone())? {
            Answer::Ok(value) => Ok(value),
            Answer::Error(error) => anyhow::bail!("{:?}: {error}", self.peer),
        }
    }

    async fn timed(&mut self, call: Value) -> anyhow::Result<Duration> {
        let seconds = self.call(call).await?;
        Ok(Duration::from_secs_f64(seconds.as_f64().context("no time was told")?))
    }

    /// The times of `count` claims, in milliseconds.
    pub(crate) async fn claims(&mut self, count: u64, batch: u64) -> anyhow::Result<Vec<f64>> {
        let times = self.call(json!({ "call": "claims", "count": count, "batch": batch })).await?;
        serde_json::from_value(times).map_err(Into::into)
    }
}

#[async_trait]
impl Contender for Node {
    fn name(&self) -> &str {
        match self.peer {
            Peer::Graphile => "graphile-worker (Node)",
            Peer::GraphileDeleting => "graphile-worker (Node), deleting",
            Peer::Boss => "pg-boss",
        }
    }

    fn keeps(&self) -> &str {
        match self.peer {
            Peer::Graphile => {
                "by itself nothing; here its row, copied by a trigger on the deleting statement"
            }
            Peer::GraphileDeleting => "nothing",
            Peer::Boss => "the job's row, which it archives after twelve hours",
        }
    }

    fn database(&self) -> &str {
        &self.url
    }

    fn tables(&self) -> &str {
        match self.peer {
            Peer::Graphile => "graphile_worker._private_jobs, kept",
            Peer::GraphileDeleting => "graphile_worker._private_jobs",
            Peer::Boss => "pgboss.job, pgboss.archive",
        }
    }

    async fn enqueue(&mut self, count: u64, mode: Mode) -> anyhow::Result<Duration> {
        let (at_once, batch) = (mode.senders(), mode.batch());
        self.timed(json!({ "call": "enqueue", "count": count, "atOnce": at_once, "batch": batch })).await
    }

    async fn fill(&mut self, count: u64) -> anyhow::Result<()> {
        self.enqueue(count, Mode::Batched).await.map(drop)
    }

    async fn run(&mut self, count: u64, mode: Mode) -> anyhow::Result<Duration> {
        let (at_once, batch) = (mode.at_once(), mode.batch());
        self.timed(json!({ "call": "run", "count": count, "atOnce": at_once, "batch": batch })).await
    }

    async fn latency(&mut self, rate: u64, seconds: u64) -> anyhow::Result<Vec<f64>> {
        let at_once = Mode::Single.at_once();
        let lags =
            self.call(json!({ "call": "latency", "rate": rate, "seconds": seconds, "atOnce": at_once }));
        serde_json::from_value(lags.await?).map_err(Into::into)
    }

    async fn idle(&mut self, time: Duration) -> anyhow::Result<()> {
        let at_once = Mode::Single.at_once();
        let idle = json!({ "call": "idle", "seconds": time.as_secs_f64(), "atOnce": at_once });
        self.call(idle).await.map(drop)
    }
}
