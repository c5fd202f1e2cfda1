//! The cluster that is talked to, and the namespace in it.

use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use http::Response;
use k8s_openapi::api::core::v1::Pod;
use kube::client::{ClientBuilder, DynBody};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client};
use rdev_ports::EXEC_START_TIMEOUT;
use tokio::time::timeout;
use tower::util::MapResponseLayer;

use crate::exec::{Channel, ExecError, Target, start};
use crate::pod::PodView;
use crate::starts::{Kind, Starts, Turn};

/// Longest time that the API server may take to accept a connection, and to answer a short question.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
pub(crate) const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// A client for one namespace.
#[derive(Clone)]
pub(crate) struct Cluster {
    pub(crate) client: Client,
    pub(crate) namespace: String,
    /// Where the API server is, for people.
    pub(crate) address: String,
    starts: Starts,
    /// Longest time that a short program may take.
    short: Duration,
}

impl Cluster {
    /// The cluster of this kubeconfig, else the one of KUBECONFIG, else the one around this pod. Nothing is
    /// sent yet.
    pub(crate) async fn find(namespace: &str, kubeconfig: Option<&Path>) -> anyhow::Result<Self> {
        let mut config = match kubeconfig {
            Some(file) => {
                let read = Kubeconfig::read_from(file)?;
                kube::Config::from_custom_kubeconfig(read, &KubeConfigOptions::default()).await?
            }
            None => kube::Config::infer()
                .await
                .context("no cluster: set KUBECONFIG, or run in a pod that has a service account")?,
        };
        config.connect_timeout = Some(CONNECT_TIMEOUT);
        // Whoever asks here asks again by itself, and wants to know at once how it stands.
        config.default_retry = false;
        let address = config.cluster_url.to_string();
        let starts = Starts::default();
        let heeding = starts.clone();
        let heed = MapResponseLayer::new(move |answer: Response<Box<DynBody>>| {
            heeding.heed(answer.status(), answer.headers());
            answer
        });
        let client = ClientBuilder::try_from(config).context("the cluster's client")?;
        let client = client.with_layer(&heed).build();
        Ok(Self { client, namespace: namespace.to_owned(), address, starts, short: EXEC_START_TIMEOUT })
    }

    /// The same, whose short programs have this time.
    pub(crate) fn with_limit(&self, short: Duration) -> Self {
        Self { short, ..self.clone() }
    }

    pub(crate) fn pods(&self) -> Api<Pod> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// The container of a pod in which commands run.
    pub(crate) fn target(&self, pod: &PodView) -> Target {
        Target {
            namespace: self.namespace.clone(),
            node: pod.node.clone(),
            pod: pod.name.clone(),
            container: pod.details.container.clone(),
        }
    }

    /// Starts a program in a pod when it is its turn, which ends with the program's first word, and within the time that
    /// the port promises.
    pub(crate) async fn start(
        &self,
        target: &Target,
        kind: Kind,
        argv: &[String],
        stdin: &[u8],
    ) -> Result<(Channel, Turn), ExecError> {
        let mut turn = self.starts.turn(&target.node, kind).await?;
        let starting = within(EXEC_START_TIMEOUT, start(&self.client, target, argv, stdin));
        let channel = turn.call(starting).await?;
        Ok((channel, turn))
    }

    /// Runs a short program in a pod to its end, when it is its turn: what it wrote.
    pub(crate) async fn run(
        &self,
        target: &Target,
        argv: &[String],
        stdin: &[u8],
        bytes_max: usize,
    ) -> Result<String, ExecError> {
        let mut turn = self.starts.turn(&target.node, Kind::Start).await?;
        within(self.short, async {
            let channel = turn.call(start(&self.client, target, argv, stdin)).await?;
            channel.whole(bytes_max).await
        })
        .await
    }
}

async fn within<T>(
    limit: Duration,
    work: impl Future<Output = Result<T, ExecError>>,
) -> Result<T, ExecError> {
    match timeout(limit, work).await {
        Ok(done) => done,
        Err(_) => Err(ExecError::Cut(anyhow::anyhow!("not done within {limit:?}"))),
    }
}
