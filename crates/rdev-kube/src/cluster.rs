//! The cluster that is talked to, and the namespace in it.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use hyper_util::client::proxy::matcher::Matcher;
use k8s_openapi::api::core::v1::Pod;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client};
use rdev_ports::EXEC_START_TIMEOUT;
use tokio::time::{Instant, timeout, timeout_at};

use crate::exec::{Channel, ExecError, Target, start};
use crate::proxy;

/// Longest time that the API server may take to accept a connection, and to answer a short question.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
pub(crate) const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// Longest time for which a program is fed.
const FEED_TIMEOUT: Duration = Duration::from_secs(900);
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

    /// Whether the cluster has forgotten the version from which it was asked.
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
}

impl Cluster {
    /// The cluster of this kubeconfig, else the one of KUBECONFIG, else the one around this pod. Nothing is
    /// sent yet.
    pub(crate) async fn find(namespace: &str, kubeconfig: Option<&Path>) -> anyhow::Result<Self> {
        let config = configuration(kubeconfig).await?;
        let address = config.cluster_url.to_string();
        let client = Arc::new(RwLock::new(client(config)?));
        let (namespace, kubeconfig) = (namespace.to_owned(), kubeconfig.map(Path::to_owned));
        Ok(Self { client, kubeconfig, namespace, address })
    }

    /// Builds the client anew from where it was found: certificates and tokens may have been replaced there.
    ///
    /// # Errors
    /// When that cannot be read; then the client stays as it was.
    pub(crate) async fn renew(&self) -> anyhow::Result<()> {
        // Reading it may run a program that gives a token.
        let reading = timeout(ANSWER_TIMEOUT, configuration(self.kubeconfig.as_deref()));
        let config = reading.await.context("the cluster's configuration was not read in time")??;
        *self.client.write().unwrap_or_else(PoisonError::into_inner) = client(config)?;
        Ok(())
    }

    pub(crate) fn client(&self) -> Client {
        self.client.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn pods(&self) -> Api<Pod> {
        Api::namespaced(self.client(), &self.namespace)
    }

    pub(crate) fn target(&self, pod: &str, container: &str) -> Target {
        Target { namespace: self.namespace.clone(), pod: pod.to_owned(), container: container.to_owned() }
    }

    /// Starts a program in a pod, within the time that the port promises.
    pub(crate) async fn start(
        &self,
        target: &Target,
        argv: &[String],
        stdin: &[u8],
    ) -> Result<Channel, ExecError> {
        within(start(&self.client(), target, argv, stdin)).await
    }

    /// Runs a short program in a pod to its end: what it wrote.
    pub(crate) async fn run(
        &self,
        target: &Target,
        argv: &[String],
        stdin: &[u8],
        bytes_max: usize,
    ) -> Result<String, ExecError> {
        within(async { start(&self.client(), target, argv, stdin).await?.whole(bytes_max).await }).await
    }
}

impl Cluster {
    /// Runs a program in a pod that reads long input, and says meanwhile how far it has come: it may take its time while
    /// it does, over however slow a way.
    pub(crate) async fn feed(&self, target: &Target, argv: &[String], stdin: &[u8]) -> Result<(), ExecError> {
        let feed = async {
            let mut channel = start(&self.client(), target, argv, stdin).await?;
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
    let read = match kubeconfig {
        Some(file) => Some(Kubeconfig::read_from(file)?),
        None => match Kubeconfig::read() {
            Ok(read) => Some(read),
            Err(error) => {
                tracing::debug!(%error, "no kubeconfig");
                None
            }
        },
    };
    let mut config = match read {
        Some(read) => {
            let named = proxy::named(&read);
            let mut config =
                kube::Config::from_custom_kubeconfig(read, &KubeConfigOptions::default()).await?;
            config.proxy_url = proxy::decide(named.as_deref(), &Matcher::from_env(), &config.cluster_url)?;
            config
        }
        None => kube::Config::incluster()
            .context("no cluster: set KUBECONFIG, or run in a pod that has a service account")?,
    };
    config.connect_timeout = Some(CONNECT_TIMEOUT);
    // Whoever asks here asks again by itself, and wants to know at once how it stands.
    config.default_retry = false;
    Ok(config)
}

fn client(config: kube::Config) -> anyhow::Result<Client> {
    Client::try_from(config).context("the cluster's client")
}

async fn within<T>(work: impl Future<Output = Result<T, ExecError>>) -> Result<T, ExecError> {
    match timeout(EXEC_START_TIMEOUT, work).await {
        Ok(done) => done,
        Err(_) => Err(ExecError::Cut(anyhow::anyhow!("not done within {EXEC_START_TIMEOUT:?}"))),
    }
}
