//! One pod, and all that can happen to it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;

use crate::clock;
use crate::inner::Inner;
use crate::place::Place;
use crate::state::{Container, Deletion, PodState, Running};
use crate::store::Key;

/// A pod of a cluster, by its name: after [`replace`](Self::replace) it is the new one. Every change is told
/// to the watches; each fails if there is no such pod.
#[derive(Clone)]
pub struct PodHandle {
    pub(crate) inner: Arc<Inner>,
    pub(crate) key: Key,
}

impl PodHandle {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.key.1
    }

    /// Its namespace.
    pub fn namespace(&self) -> &str {
        &self.key.0
    }

    /// The uid that it has now.
    pub fn uid(&self) -> anyhow::Result<String> {
        self.inner.look(&self.key, |pod| pod.uid.clone())
    }

    /// The id of a container that runs.
    pub fn container_id(&self, container: &str) -> anyhow::Result<Option<String>> {
        self.inner.look(&self.key, |pod| {
            pod.containers.iter().find(|one| one.name == container)?.id().map(str::to_owned)
        })
    }

    /// Its folder, made if it is missing, with `workspace`, `home` and `run` in it.
    pub fn folder(&self) -> anyhow::Result<PathBuf> {
        let place = self.place()?;
        place.make().with_context(|| format!("cannot make {}", place.folder.display()))?;
        Ok(place.folder.clone())
    }

    /// Where its processes start. It stays when the pod is replaced.
    pub fn workspace(&self) -> anyhow::Result<PathBuf> {
        Ok(self.folder()?.join("workspace"))
    }

    /// What its processes have as `RDEV_RUNS_DIR`.
    pub fn run_folder(&self) -> anyhow::Result<PathBuf> {
        self.folder()?;
        Ok(self.place()?.run())
    }

    /// The containers of a pod that was still starting run from now on, not yet ready.
    pub fn run(&self) -> anyhow::Result<()> {
        self.change(|pod| {
            pod.node.get_or_insert_with(|| pod.home_node.clone());
            start_all(pod);
        })
    }

    /// All its containers are ready from now on, or are not.
    pub fn set_ready(&self, ready: bool) -> anyhow::Result<()> {
        self.change(|pod| {
            for container in &mut pod.containers {
                container.ready = ready && container.id().is_some();
            }
        })
    }

    /// One container is ready from now on, or is not.
    pub fn set_container_ready(&self, container: &str, ready: bool) -> anyhow::Result<()> {
        self.container(container, |one| one.ready = ready && one.id().is_some())
    }

    /// All its containers end and wait: `ImagePullBackOff`, `CrashLoopBackOff`.
    pub fn set_waiting(&self, reason: &str, message: &str) -> anyhow::Result<()> {
        let (place, uid) = self.inner.look(&self.key, |pod| (Arc::clone(&pod.place), pod.uid.clone()))?;
        place.end_all(&uid);
        self.change(|pod| {
            for container in &mut pod.containers {
                container.terminate("Error", 1);
                if let Running::Ended(terminated) = &container.state {
                    container.last = Some(terminated.clone());
                }
                container.state =
                    Running::Waiting { reason: reason.to_owned(), message: Some(message.to_owned()) };
            }
        })
    }

    /// Sets an annotation, or takes it away.
    pub fn annotate(&self, key: &str, value: Option<&str>) -> anyhow::Result<()> {
        self.change(|pod| match value {
            Some(value) => pod.annotations.insert(key.to_owned(), value.to_owned()),
            None => pod.annotations.remove(key),
        })?;
        Ok(())
    }

    /// Sets a label, or takes it away.
    pub fn set_label(&self, key: &str, value: Option<&str>) -> anyhow::Result<()> {
        self.change(|pod| match value {
            Some(value) => pod.labels.insert(key.to_owned(), value.to_owned()),
            None => pod.labels.remove(key),
        })?;
        Ok(())
    }

    /// A container ends, its processes with it, and starts again: three events, as from a real node. Its
    /// runs folder is emptied unless `keep_run`; workspace and home stay.
    pub fn restart_container(
        &self,
        container: &str,
        keep_run: bool,
        reason: &str,
        exit_code: i32,
    ) -> anyhow::Result<()> {
        let place = self.place()?;
        let was_ready = self.container(container, |one| one.ready)?;
        place.end(container);
        self.container(container, |one| one.terminate(reason, exit_code))?;
        if !keep_run {
            place.wipe(&[place.run()]).context("cannot empty the runs folder")?;
        }
        self.container(container, |one| {
            if let Running::Ended(terminated) = &one.state {
                one.last = Some(terminated.clone());
            }
            one.restarts += 1;
            one.run(&place);
        })?;
        if was_ready {
            self.container(container, |one| one.ready = true)?;
        }
        Ok(())
    }

    /// A container takes too much memory. Its runs folder stays.
    pub fn oom_kill(&self, container: &str) -> anyhow::Result<()> {
        self.restart_container(container, true, "OOMKilled", 137)
    }

    /// The kubelet ends the pod for the sake of its node. The object stays, failed.
    pub fn evict(&self, message: &str) -> anyhow::Result<()> {
        let (place, uid) = self.inner.look(&self.key, |pod| (Arc::clone(&pod.place), pod.uid.clone()))?;
        place.end_all(&uid);
        self.change(|pod| {
            pod.evicted = Some(message.to_owned());
            for container in &mut pod.containers {
                container.terminate("Error", 137);
            }
        })
    }

    /// Its node is silent: the pod is not ready, its containers are still called ready, exec fails. What
    /// runs in it runs on.
    pub fn node_lost(&self) -> anyhow::Result<()> {
        self.change(|pod| pod.node_lost = true)
    }

    /// The node is back.
    pub fn node_back(&self) -> anyhow::Result<()> {
        self.change(|pod| pod.node_lost = false)
    }

    /// Nothing starts in it from now on, and nothing says so: its node's runtime is stuck, and the pod as ready as
    /// ever. An exec is accepted and stays without an answer. What runs in it runs on.
    pub fn hang_execs(&self) {
        self.inner.runtimes.hang(&self.key);
    }

    /// Takes [`Self::hang_execs`] back. What hangs starts now, also where its client has gone.
    pub fn release_execs(&self) {
        self.inner.runtimes.release(&self.key);
    }

    /// What a StatefulSet does: the pod goes, and one of the same name comes, with another uid, and with
    /// empty runs and home folders; the workspace is the same.
    pub fn replace(&self) -> anyhow::Result<()> {
        let (place, uid) = self.inner.look(&self.key, |pod| (Arc::clone(&pod.place), pod.uid.clone()))?;
        place.end_all(&uid);
        let old = self.inner.remove(&self.key, &uid).context("the pod was deleted meanwhile")?;
        place.wipe(&[place.run(), place.home()]).context("cannot empty the pod's folders")?;
        self.inner.add(|_| successor(old))?;
        Ok(())
    }

    /// Deletes it: it is marked at once; after the grace its processes are killed and it is gone. Without a
    /// grace, when this returns.
    pub fn delete(&self, grace: Duration) -> anyhow::Result<()> {
        let uid = self.uid()?;
        if grace.is_zero() {
            self.finish(&uid);
            return Ok(());
        }
        let seconds = i64::try_from(grace.as_secs_f64().ceil() as u64).unwrap_or(i64::MAX);
        self.change(|pod| {
            pod.deletion = Some(Deletion { at: clock::later(seconds), grace: seconds });
        })?;
        let pod = self.clone();
        self.inner.runtime.spawn(async move {
            tokio::time::sleep(grace).await;
            tokio::task::spawn_blocking(move || pod.finish(&uid)).await.ok();
        });
        Ok(())
    }

    /// Waits until there is no pod of this name.
    pub async fn gone(&self) {
        let mut bell = self.inner.bell();
        while self.inner.look(&self.key, |_| ()).is_ok() && bell.changed().await.is_ok() {}
    }

    fn finish(&self, uid: &str) {
        let place = self.inner.look(&self.key, |pod| (pod.uid == uid).then(|| Arc::clone(&pod.place)));
        if let Ok(Some(place)) = place {
            place.end_all(uid);
            self.inner.remove(&self.key, uid);
        }
    }

    fn change<T>(&self, change: impl FnOnce(&mut PodState) -> T) -> anyhow::Result<T> {
        self.inner.change(&self.key, change)
    }

    fn container<T>(&self, name: &str, change: impl FnOnce(&mut Container) -> T) -> anyhow::Result<T> {
        self.change(|pod| {
            let container = pod.containers.iter_mut().find(|container| container.name == name);
            container.map(change).with_context(|| format!("the pod has no container {name}"))
        })?
    }

    fn place(&self) -> anyhow::Result<Arc<Place>> {
        self.inner.look(&self.key, |pod| Arc::clone(&pod.place))
    }
}

fn start_all(pod: &mut PodState) {
    for container in &mut pod.containers {
        if container.id().is_none() {
            container.run(&pod.place);
        }
    }
}

fn successor(old: PodState) -> PodState {
    let container = |old: Container| Container {
        name: old.name,
        sidecar: old.sidecar,
        restarts: 0,
        ready: true,
        state: Running::Waiting { reason: "ContainerCreating".to_owned(), message: None },
        last: None,
    };
    let mut pod = PodState {
        uid: clock::new_uid(),
        created: clock::now(),
        deletion: None,
        containers: old.containers.into_iter().map(container).collect(),
        node: Some(old.home_node.clone()),
        evicted: None,
        node_lost: false,
        ready_since: clock::now(),
        ..old
    };
    start_all(&mut pod);
    pod
}
