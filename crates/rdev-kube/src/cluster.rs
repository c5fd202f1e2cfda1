//! The cluster that is talked to, and the namespace in it.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use futures_util::Stream;
use futures_util::stream::try_unfold;
use http::Response;
use hyper_util::client::proxy::matcher::Matcher;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{ListParams, ObjectList};
use kube::client::{ClientBuilder, DynBody};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client};
use rdev_ports::EXEC_START_TIMEOUT;
use tokio::time::{Instant, timeout, timeout_at};
use tower::util::MapResponseLayer;

use crate::exec::{Channel, ExecError, Target, start};
use crate::pod::PodView;
use crate::proxy;
use crate::starts::{Kind, Starts, Turn};

/// Longest time that the API server may take to accept a connection, and to answer a short question.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
pub(crate) const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// Longest time for which a program is fed.
const FEED_TIMEOUT: Duration = Duration::from_secs(900);
/// Pods that one answer to a list carries.
const PAGE: u32 = 500;

/// Why a call was in vain.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CallError {
    /// The API server does not know who asks.
    #[error("the API server does not accept rdev's token or certificate")]
    Unauthorized,
    /// Any other answer, or none.
    #[error(transparent)]
    Kube(kube::Error),
    /// Nothing was heard in all of the time that it may take.
    #[error("the API server did not answer in {0:?}")]
    Silent(Duration),
    /// A watch has ended as soon as it had begun.
    #[error("the API server ends a watch as soon as it has begun")]
    Ended,
}

impl From<kube::Error> for CallError {
    fn from(error: kube::Error) -> Self {
        match error {
            kube::Error::Api(status) if status.code == 401 => Self::Unauthorized,
            other => Self::Kube(other),
        }
    }
}

impl CallError {
    /// A call that may take so long.
    pub(crate) async fn within<T>(
        limit: Duration,
        call: impl Future<Output = kube::Result<T>>,
    ) -> Result<T, Self> {
        Ok(timeout(limit, call).await.map_err(|_| Self::Silent(limit))??)
    }

    /// Tells whether the cluster has forgotten the version from which it was asked.
    pub(crate) fn is_gone(&self) -> bool {
        matches!(self, Self::Kube(kube::Error::Api(status)) if status.code == 410)
    }
}

/// A client for one namespace.
#[derive(Clone)]
pub(crate) struct Cluster {
    /// It reads its certificates, and some tokens, once: see [`Cluster::renew`].
    client: Arc<RwLock<Client>>,
    kubeconfig: Option<PathBuf>,
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
        let config = configuration(kubeconfig).await?;
        let address = config.cluster_url.to_string();
        let starts = Starts::default();
        let client = Arc::new(RwLock::new(client(config, &starts)?));
        let (namespace, kubeconfig) = (namespace.to_owned(), kubeconfig.map(Path::to_owned));
        Ok(Self { client, kubeconfig, namespace, address, starts, short: EXEC_START_TIMEOUT })
    }

    /// The same, whose short programs have this time.
    pub(crate) fn with_limit(&self, short: Duration) -> Self {
        Self { short, ..self.clone() }
    }

    /// Builds the client anew from where it was found: certificates and tokens may have been replaced there.
    ///
    /// # Errors
    /// When that cannot be read; then the client stays as it was.
    pub(crate) async fn renew(&self) -> anyhow::Result<()> {
        // Reading it may run a program that gives a token.
        let reading = timeout(ANSWER_TIMEOUT, configuration(self.kubeconfig.as_deref()));
        let config = reading.await.context("the cluster's configuration was not read in time")??;
        *self.client.write().unwrap_or_else(PoisonError::into_inner) = client(config, &self.starts)?;
        Ok(())
    }

    pub(crate) fn client(&self) -> Client {
        self.client.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn pods(&self) -> Api<Pod> {
        Api::namespaced(self.client(), &self.namespace)
    }

    /// Lists the pods with these labels, in pages.
    pub(crate) fn pages(&self, labels: &str) -> impl Stream<Item = kube::Result<ObjectList<Pod>>> {
        let first = ListParams::default().labels(labels).limit(PAGE);
        try_unfold(Some(first), async |params| {
            let Some(params) = params else { return Ok(None) };
            let page = self.pods().list(&params).await?;
            let token = page.metadata.continue_.clone().filter(|token| !token.is_empty());
            Ok(Some((page, token.map(|token| params.continue_token(&token)))))
        })
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
        let client = self.client();
        let starting = within(EXEC_START_TIMEOUT, start(&client, target, argv, stdin));
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
        let client = self.client();
        within(self.short, async {
            let channel = turn.call(start(&client, target, argv, stdin)).await?;
            channel.whole(bytes_max).await
        })
        .await
    }

    /// Runs a program in a pod that reads long input, and says meanwhile how far it has come: it may take its time while
    /// it does, over however slow a way.
    pub(crate) async fn feed(&self, target: &Target, argv: &[String], stdin: &[u8]) -> Result<(), ExecError> {
        let feed = async {
            let mut turn = self.starts.turn(&target.node, Kind::Start).await?;
            let mut channel = turn.call(start(&self.client(), target, argv, stdin)).await?;
            // It has started, and may take its time beside others.
            drop(turn);
            let mut last = Bytes::new();
            let mut until = Instant::now() + EXEC_START_TIMEOUT;
            loop {
                match timeout_at(until, channel.next()).await {
                    Ok(Ok(None)) => return Ok(()),
                    Ok(Ok(Some(word))) if word == last => {}
                    Ok(Ok(Some(word))) => (last, until) = (word, Instant::now() + EXEC_START_TIMEOUT),
                    Ok(Err(error)) => return Err(error),
                    Err(_) => {
                        let message = format!("it has come no further in {EXEC_START_TIMEOUT:?}");
                        return Err(ExecError::Cut(anyhow::Error::msg(message)));
                    }
                }
            }
        };
        timeout(FEED_TIMEOUT, feed)
            .await
            .unwrap_or_else(|_| Err(ExecError::Cut(anyhow::anyhow!("not done within {FEED_TIMEOUT:?}"))))
    }
}

async fn configuration(kubeconfig: Option<&Path>) -> anyhow::Result<kube::Config> {
    let read = kubeconfig.map_or_else(Kubeconfig::read, Kubeconfig::read_from);
    let mut config = match read {
        Ok(read) => {
            let named = proxy::named(&read);
            let mut config =
                kube::Config::from_custom_kubeconfig(read, &KubeConfigOptions::default()).await?;
            config.proxy_url = proxy::decide(named.as_deref(), &Matcher::from_env(), &config.cluster_url)?;
            config
        }
        Err(why) if kubeconfig.is_some() => return Err(why.into()),
        Err(why) => kube::Config::incluster().with_context(|| {
            format!("no cluster: set KUBECONFIG ({why}), or run in a pod that has a service account")
        })?,
    };
    config.connect_timeout = Some(CONNECT_TIMEOUT);
    // Whoever asks here asks again by itself, and wants to know at once how it stands.
    config.default_retry = false;
    Ok(config)
}

/// A client whose answers the starts heed.
fn client(config: kube::Config, starts: &Starts) -> anyhow::Result<Client> {
    let starts = starts.clone();
    let heed = MapResponseLayer::new(move |answer: Response<Box<DynBody>>| {
        starts.heed(answer.status(), answer.headers());
        answer
    });
    let client = ClientBuilder::try_from(config).context("the cluster's client")?;
    Ok(client.with_layer(&heed).build())
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
