//! Has commands go on that wait for a place, once it tells that it is ready.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures_util::StreamExt;
use rdev_domain::Home;
use rdev_ports::Site;

use crate::executor::Executor;

/// Sites that are told to the queue at once.
const SITES_MAX: usize = 256;

/// Goes on until it is dropped.
pub(crate) async fn wake(executor: Arc<Executor>) {
    let mut ready = executor.pods.became_ready().ready_chunks(SITES_MAX);
    while let Some(sites) = ready.next().await {
        let homes: BTreeSet<Home> = sites.into_iter().map(home).collect();
        let homes: Vec<Home> = homes.into_iter().collect();
        match executor.queue.hurry(&homes).await {
            Ok(0) => {}
            Ok(_) => executor.live.work_came(),
            // They are looked at again anyway, some seconds later.
            Err(error) => tracing::warn!(?error, "commands whose places are ready were not told"),
        }
    }
}

/// The home of the commands that run at a site.
fn home(site: Site) -> Home {
    match site {
        Site::Project(id) => Home::Project(id),
        Site::Worker(_) => Home::Pool,
    }
}
