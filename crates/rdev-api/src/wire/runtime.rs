//! The runtime of commands: pods of a cluster, or folders of this machine.

use std::sync::Arc;

use anyhow::Context;
use rdev_kube::Kube;
use rdev_local::Local;
use rdev_ports::{Clock, Diagnosis, Pods, Workspaces};
use rdev_runner::frame::PROTOCOL_VERSION;
use tokio_util::sync::CancellationToken;

use crate::config::{Config, Runtime};
use crate::process::Inherited;
use crate::system::{SystemClock, UuidRandom, random};

/// The runner for this machine, built by the build script.
static RUNNER: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/rdev-runner"));
const RUNNER_SHA256: &str = env!("RDEV_RUNNER_SHA256");

/// Project that a start of the local runtime makes where it is missing: the greeting has a command for it.
const FIRST_PROJECT: &str = "demo";

/// The runtime of commands.
pub(super) struct RuntimePorts {
    /// Pods in which commands run.
    pub(super) pods: Arc<dyn Pods>,
    /// Workspaces of projects, where rdev makes and removes them.
    pub(super) workspaces: Option<Arc<dyn Workspaces>>,
    /// Cancelled when the runtime has failed for good.
    pub(super) failed: CancellationToken,
}

/// Opens the local runtime, where that is the configured one.
///
/// # Errors
/// When the data folder cannot be written.
pub(super) fn local(config: &Config, inherited: Inherited) -> anyhow::Result<Option<Arc<Local>>> {
    if config.runtime.kind() != Runtime::Local {
        return Ok(None);
    }
    let local = Local::open(rdev_local::Config {
        data_dir: config.store.data_dir.clone(),
        runner: RUNNER,
        runner_sha256: RUNNER_SHA256,
        env: std::env::vars_os().collect(),
        command_env: config.local.command_env.clone(),
        umask: inherited.umask,
        open_files: inherited.open_files,
        pool_slots: config.pool.pool_slots,
        new_uid: hex(&random::<16>()?),
    })?;
    Ok(Some(Arc::new(local)))
}

/// Makes the first project of the local runtime, where it is missing.
///
/// # Errors
/// When its folder cannot be made.
pub(super) async fn first_project(local: Option<&Local>) -> anyhow::Result<()> {
    let Some(local) = local else { return Ok(()) };
    Ok(local.make_first_project(&FIRST_PROJECT.parse()?).await?)
}

/// Opens the runtime: the local one, or the configured cluster.
///
/// # Errors
/// When the cluster cannot be reached.
pub(super) async fn pods(
    config: &Config,
    local: Option<Arc<Local>>,
    clock: Arc<dyn Clock>,
) -> anyhow::Result<RuntimePorts> {
    let Some(local) = local else { return kubernetes(&config.runtime.namespace, clock).await };
    Ok(RuntimePorts { pods: local.clone(), workspaces: Some(local), failed: CancellationToken::new() })
}

async fn kubernetes(namespace: &str, clock: Arc<dyn Clock>) -> anyhow::Result<RuntimePorts> {
    let runner = rdev_kube::Bundled {
        program: RUNNER,
        sha256: RUNNER_SHA256,
        protocol: PROTOCOL_VERSION,
        machine: std::env::consts::ARCH,
    };
    let config = rdev_kube::Config {
        namespace: namespace.to_owned(),
        kubeconfig: None,
        runner,
        clock,
        random: Arc::new(UuidRandom),
    };
    let kube = Kube::open(config).await.context("RDEV_RUNTIME=kubernetes")?;
    let failed = kube.failed();
    Ok(RuntimePorts { pods: Arc::new(kube), workspaces: None, failed })
}

/// Diagnoses the runtime, for an operator; makes no data folder where there is none.
///
/// # Errors
/// When the runtime cannot be opened.
pub(crate) async fn diagnose_runtime(
    config: &Config,
    inherited: Inherited,
) -> anyhow::Result<Vec<Diagnosis>> {
    let folder = &config.store.data_dir;
    if config.runtime.kind() == Runtime::Local && !folder.exists() {
        let seen = format!("{} is not there yet", folder.display());
        return Ok(vec![Diagnosis::warning("data folder", seen, "the first start of rdev-api makes it")]);
    }
    let runtime = pods(config, local(config, inherited)?, Arc::new(SystemClock)).await?;
    Ok(runtime.pods.diagnose().await)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
