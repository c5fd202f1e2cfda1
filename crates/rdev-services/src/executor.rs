//! Ports and helpers of every execution, and the questions that all of its steps ask of them.

use std::sync::Arc;
use std::time::Duration;

use rdev_domain::{Result, Timestamp, Trouble};
use rdev_ports::{Artefacts, Chance, Claim, Clock, EventLog, Fate, Pods, PoolQueue, Site, TaskQueue};

use crate::janitor::Janitor;
use crate::live::Live;
use crate::patience::until_available;

/// Ports and helpers of every execution.
pub(crate) struct Executor {
    pub(crate) pods: Arc<dyn Pods>,
    pub(crate) queue: Arc<dyn TaskQueue>,
    pub(crate) pool: Arc<dyn PoolQueue>,
    pub(crate) artefacts: Arc<dyn Artefacts>,
    pub(crate) log: Arc<dyn EventLog>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) chance: Arc<dyn Chance>,
    pub(crate) live: Live,
    pub(crate) janitor: Janitor,
    /// How long a command waits for its place to be ready.
    pub(crate) place_patience: Duration,
}

impl Executor {
    /// Fate of what has run in a place since then.
    pub(crate) async fn fate(&self, claim: &Claim, place: (&Site, &str, Timestamp)) -> Result<Fate> {
        let (site, uid, since) = place;
        until_available(&claim.fence.id, || self.pods.fate(site, uid, since)).await
    }

    /// Why what has run in a place since then is gone; `trouble` where nothing else is known.
    pub(crate) async fn why_gone(
        &self,
        claim: &Claim,
        place: (&Site, &str, Timestamp),
        trouble: Trouble,
    ) -> Result<Trouble> {
        Ok(match self.fate(claim, place).await? {
            Fate::Gone(trouble) | Fate::Interrupted(trouble) => trouble,
            Fate::Unknown | Fate::Undisturbed => trouble,
        })
    }
}
