//! Waking of postponed jobs whose pod has become ready.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures_util::StreamExt;
use rdev_domain::Target;
use rdev_ports::{PodRef, Pods, TaskQueue};

use crate::Wakeups;

/// Most pods of one call to the queue.
const PODS_MAX: usize = 256;

/// Makes the jobs of pods due that have become ready; goes on until it is dropped.
pub(crate) async fn wake(pods: Arc<dyn Pods>, leases: Arc<dyn TaskQueue>, wakeups: Wakeups) {
    let mut ready = pods.became_ready().ready_chunks(PODS_MAX);
    while let Some(pods) = ready.next().await {
        let targets: BTreeSet<Target> = pods.into_iter().map(target).collect();
        let targets: Vec<Target> = targets.into_iter().collect();
        match leases.hurry(&targets).await {
            Ok(0) => {}
            Ok(_) => wakeups.notify_work(),
            // The jobs are due by themselves some seconds later.
            Err(error) => tracing::warn!(?error, "waking the jobs of ready pods failed"),
        }
    }
}

/// Returns the target of the jobs that run in a pod.
fn target(pod_ref: PodRef) -> Target {
    match pod_ref {
        PodRef::Project(id) => Target::Project(id),
        PodRef::Worker(_) => Target::Pool,
    }
}
