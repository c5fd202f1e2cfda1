//! Kubernetes API server for tests, over a real socket, with real processes behind exec.
//!
//! ```no_run
//! # async fn story() -> anyhow::Result<()> {
//! use rdev_kube_double::{Cluster, NewPod};
//!
//! let cluster = Cluster::start().await?;
//! let pod = cluster.add_pod(NewPod::new("dev", "demo-0").label("app", "demo"))?;
//! let kubeconfig = cluster.kubeconfig(); // for any client
//! pod.set_ready(false)?;
//! # Ok(())
//! # }
//! ```
//!
//! The double implements the protocol: lists, watches, exec and access reviews of pods, and the failures
//! of each. It schedules nothing and isolates nothing: "containers" are processes of this user in a
//! folder per pod, all killed with the [`Cluster`]. It must not be used outside of tests.

mod access;
mod clock;
mod cluster;
mod config;
mod exec;
mod faults;
mod http;
mod identities;
mod inner;
mod listener;
mod new_pod;
mod own_runtime;
mod pod;
mod pod_folder;
mod processes;
mod render;
mod requests;
mod runtimes;
mod selector;
mod service_account;
mod state;
mod store;
mod tls;

pub use crate::access::{Access, rule};
pub use crate::cluster::Cluster;
pub use crate::config::{Config, ExecProtocol, ExecVerbs};
pub use crate::faults::{Cut, How, Refusal, Times};
pub use crate::new_pod::NewPod;
pub use crate::pod::PodHandle;
pub use crate::requests::Request;
pub use crate::service_account::ServiceAccount;
