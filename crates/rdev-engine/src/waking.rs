//! Has commands go on that wait for a place, once it tells that it is ready.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures_util::StreamExt;
use rdev_domain::Target;
use rdev_ports::PodRef;

use crate::run::executor::Executor;

/// Sites that are told to the queue at once.
const SITES_MAX: usize = 256;

/// Goes on until it is dropped.
pub(crate) async fn wake(executor: Arc<Executor>) {
    let mut ready = executor.pods.became_ready().ready_chunks(SITES_MAX);
    while let Some(sites) = ready.next().await {
        let targets: BTreeSet<Target> = sites.into_iter().map(target).collect();
        let targets: Vec<Target> = targets.into_iter().collect();
        match executor.queue.hurry(&targets).await {
            Ok(0) => {}
            Ok(_) => executor.live.work_came(),
            // They are looked at again anyway, some seconds later.
            Err(error) => tracing::warn!(?error, "commands whose places are ready were not told"),
        }
    }
}

/// The home of the commands that run at a site.
fn target(pod_ref: PodRef) -> Target {
    match pod_ref {
        PodRef::Project(id) => Target::Project(id),
        PodRef::Worker(_) => Target::Pool,
    }
}
