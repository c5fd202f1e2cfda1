//! Ports and helpers of every execution, and the questions that all of its steps ask of them.

use std::sync::Arc;
use std::time::Duration;

use rdev_domain::{Failure, Result, Timestamp};
use rdev_ports::{Artefacts, Claim, Clock, Disruption, EventLog, PodRef, Pods, PoolQueue, Random, TaskQueue};

use crate::live::Live;
use crate::run::journal_gc::JournalGc;
use crate::run::retry::until_available;

/// Ports and helpers of every execution.
pub(crate) struct Executor {
    pub(crate) pods: Arc<dyn Pods>,
    pub(crate) queue: Arc<dyn TaskQueue>,
    pub(crate) pool: Arc<dyn PoolQueue>,
    pub(crate) artefacts: Arc<dyn Artefacts>,
    pub(crate) log: Arc<dyn EventLog>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) random: Arc<dyn Random>,
    pub(crate) live: Live,
    pub(crate) journal_gc: JournalGc,
    /// How long a command waits for its place to be ready.
    pub(crate) place_patience: Duration,
}

impl Executor {
    /// Fate of what has run in a place since then.
    pub(crate) async fn disruption(
        &self,
        claim: &Claim,
        pod: (&PodRef, &str, Timestamp),
    ) -> Result<Disruption> {
        let (pod_ref, uid, since) = pod;
        until_available(&claim.fence.id, || self.pods.disruption(pod_ref, uid, since)).await
    }

    /// Why what has run in a place since then is gone; `failure` where nothing else is known.
    pub(crate) async fn why_gone(
        &self,
        claim: &Claim,
        pod: (&PodRef, &str, Timestamp),
        failure: Failure,
    ) -> Result<Failure> {
        Ok(match self.disruption(claim, pod).await? {
            Disruption::Lost(failure) | Disruption::Restarted(failure) => failure,
            Disruption::Unknown | Disruption::None => failure,
        })
    }
}
