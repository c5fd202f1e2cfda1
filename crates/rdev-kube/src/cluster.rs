//! The cluster that is talked to, and the namespace in it.

use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use k8s_openapi::api::core::v1::Pod;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client};
use rdev_ports::EXEC_START_TIMEOUT;
use tokio::time::{Instant, timeout, timeout_at};

use crate::exec::{Channel, ExecError, Target, start};

/// Longest time that the API server may take to accept a connection, and to answer a short question.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
pub(crate) const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// Longest time for which a program is fed.
const FEED_TIMEOUT: Duration = Duration::from_secs(900);

/// A client for one namespace.
#[derive(Clone)]
pub(crate) struct Cluster {
    pub(crate) client: Client,
    pub(crate) namespace: String,
    /// Where the API server is, for people.
    pub(crate) address: String,
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
        let client = Client::try_from(config).context("the cluster's client")?;
        Ok(Self { client, namespace: namespace.to_owned(), address })
    }

    pub(crate) fn pods(&self) -> Api<Pod> {
        Api::namespaced(self.client.clone(), &self.namespace)
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
        within(start(&self.client, target, argv, stdin)).await
    }

    /// Runs a short program in a pod to its end: what it wrote.
    pub(crate) async fn run(
        &self,
        target: &Target,
        argv: &[String],
        stdin: &[u8],
        bytes_max: usize,
    ) -> Result<String, ExecError> {
        within(async { start(&self.client, target, argv, stdin).await?.whole(bytes_max).await }).await
    }
}

impl Cluster {
    /// Runs a program in a pod that reads long input, and says meanwhile how far it has come: it may take its time while
    /// it does, over however slow a way.
    pub(crate) async fn feed(&self, target: &Target, argv: &[String], stdin: &[u8]) -> Result<(), ExecError> {
        let feed = async {
            let mut channel = start(&self.client, target, argv, stdin).await?;
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

async fn within<T>(work: impl Future<Output = Result<T, ExecError>>) -> Result<T, ExecError> {
    match timeout(EXEC_START_TIMEOUT, work).await {
        Ok(done) => done,
        Err(_) => Err(ExecError::Cut(anyhow::anyhow!("not done within {EXEC_START_TIMEOUT:?}"))),
    }
}
