//! Connection to the cluster, and the namespace in it.

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

use crate::exec::{Channel, ExecError, ExecTarget, start};
use crate::pod::PodView;
use crate::proxy;
use crate::start_limiter::{Kind, StartLimiter, StartPermit};

/// Longest time in which the API server accepts a connection, and answers a short request.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
pub(crate) const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// Longest time to send a program its input.
const FEED_TIMEOUT: Duration = Duration::from_secs(900);
/// Pods in one page of a list.
const PAGE: u32 = 500;

/// Failure of a call to the API server.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CallError {
    /// The API server does not accept rdev's credentials.
    #[error("the API server does not accept rdev's token or certificate")]
    Unauthorized,
    /// Any other error of the client.
    #[error(transparent)]
    Kube(kube::Error),
    /// No answer within this limit.
    #[error("the API server did not answer in {0:?}")]
    Silent(Duration),
    /// A watch ended as soon as it had begun.
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
    /// Runs a call with a time limit.
    pub(crate) async fn within<T>(
        limit: Duration,
        call: impl Future<Output = kube::Result<T>>,
    ) -> Result<T, Self> {
        Ok(timeout(limit, call).await.map_err(|_| Self::Silent(limit))??)
    }

    /// Tells whether the cluster has discarded the requested version (410).
    pub(crate) fn is_gone(&self) -> bool {
        matches!(self, Self::Kube(kube::Error::Api(status)) if status.code == 410)
    }
}

/// Client for one namespace.
#[derive(Clone)]
pub(crate) struct Cluster {
    /// Reads its certificates, and some tokens, once: see [`Cluster::renew`].
    client: Arc<RwLock<Client>>,
    kubeconfig: Option<PathBuf>,
    pub(crate) namespace: String,
    /// Address of the API server, for people.
    pub(crate) address: String,
    starts: StartLimiter,
    /// Longest time of a short program.
    short: Duration,
}

impl Cluster {
    /// Connects to the cluster of this kubeconfig, else to that of KUBECONFIG, else to the one around
    /// this pod. Sends nothing yet.
    pub(crate) async fn find(namespace: &str, kubeconfig: Option<&Path>) -> anyhow::Result<Self> {
        let config = configuration(kubeconfig).await?;
        let address = config.cluster_url.to_string();
        let starts = StartLimiter::default();
        let client = Arc::new(RwLock::new(client(config, &starts)?));
        let (namespace, kubeconfig) = (namespace.to_owned(), kubeconfig.map(Path::to_owned));
        Ok(Self { client, kubeconfig, namespace, address, starts, short: EXEC_START_TIMEOUT })
    }

    /// Returns the same cluster with another limit for short programs.
    pub(crate) fn with_limit(&self, short: Duration) -> Self {
        Self { short, ..self.clone() }
    }

    /// Rebuilds the client from its configuration: certificates and tokens may have been replaced there.
    ///
    /// # Errors
    /// When the configuration cannot be read; the old client stays in use.
    pub(crate) async fn renew(&self) -> anyhow::Result<()> {
        // Reading may run a program that returns a token.
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

    /// Returns the container of a pod in which jobs run.
    pub(crate) fn target(&self, pod: &PodView) -> ExecTarget {
        ExecTarget {
            namespace: self.namespace.clone(),
            node: pod.node.clone(),
            pod: pod.name.clone(),
            container: pod.details.container.clone(),
        }
    }

    /// Starts a program in a pod under a start permit, which is held until the program's first output,
    /// within the time that the port promises.
    pub(crate) async fn start(
        &self,
        target: &ExecTarget,
        kind: Kind,
        argv: &[String],
        stdin: &[u8],
    ) -> Result<(Channel, StartPermit), ExecError> {
        let mut permit = self.starts.acquire(&target.node, kind).await?;
        let client = self.client();
        let starting = within(EXEC_START_TIMEOUT, start(&client, target, argv, stdin));
        let channel = permit.call(starting).await?;
        Ok((channel, permit))
    }

    /// Runs a short program in a pod to its end under a start permit; returns its output.
    pub(crate) async fn run(
        &self,
        target: &ExecTarget,
        argv: &[String],
        stdin: &[u8],
        bytes_max: usize,
    ) -> Result<String, ExecError> {
        let mut permit = self.starts.acquire(&target.node, Kind::Start).await?;
        let client = self.client();
        within(self.short, async {
            let channel = permit.call(start(&client, target, argv, stdin)).await?;
            channel.collect(bytes_max).await
        })
        .await
    }

    /// Runs a program in a pod that reads long input and reports its progress: it may take its time over
    /// a slow connection while it makes progress.
    pub(crate) async fn feed(
        &self,
        target: &ExecTarget,
        argv: &[String],
        stdin: &[u8],
    ) -> Result<(), ExecError> {
        let feed = async {
            let mut permit = self.starts.acquire(&target.node, Kind::Start).await?;
            let mut channel = permit.call(start(&self.client(), target, argv, stdin)).await?;
            // The program has started: it may run beside others.
            drop(permit);
            let mut last = Bytes::new();
            let mut until = Instant::now() + EXEC_START_TIMEOUT;
            loop {
                match timeout_at(until, channel.next()).await {
                    Ok(Ok(None)) => return Ok(()),
                    Ok(Ok(Some(word))) if word == last => {}
                    Ok(Ok(Some(word))) => (last, until) = (word, Instant::now() + EXEC_START_TIMEOUT),
                    Ok(Err(error)) => return Err(error),
                    Err(_) => {
                        let message = format!("no progress within {EXEC_START_TIMEOUT:?}");
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
    // Callers here retry by themselves, and need each failure at once.
    config.default_retry = false;
    Ok(config)
}

/// Builds a client whose answers the start limiter observes.
fn client(config: kube::Config, starts: &StartLimiter) -> anyhow::Result<Client> {
    let starts = starts.clone();
    let observe = MapResponseLayer::new(move |answer: Response<Box<DynBody>>| {
        starts.observe(answer.status(), answer.headers());
        answer
    });
    let client = ClientBuilder::try_from(config).context("the cluster's client")?;
    Ok(client.with_layer(&observe).build())
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
