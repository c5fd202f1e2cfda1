//! One pod, and every change of it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;

use crate::clock;
use crate::inner::Inner;
use crate::pod_folder::PodFolder;
use crate::state::{Container, Deletion, PodState, Running};
use crate::store::Key;

/// Handle of a pod by its name: after [`replace`](Self::replace) it refers to the new one. Every change
/// is reported to the watches; each call fails when no such pod exists.
#[derive(Clone)]
pub struct PodHandle {
    pub(crate) inner: Arc<Inner>,
    pub(crate) key: Key,
}

impl PodHandle {
    /// Returns the name.
    pub fn name(&self) -> &str {
        &self.key.1
    }

    /// Returns the namespace.
    pub fn namespace(&self) -> &str {
        &self.key.0
    }

    /// Returns the current uid.
    pub fn uid(&self) -> anyhow::Result<String> {
        self.inner.look(&self.key, |pod| pod.uid.clone())
    }

    /// Returns the id of a running container.
    pub fn container_id(&self, container: &str) -> anyhow::Result<Option<String>> {
        self.inner.look(&self.key, |pod| {
            pod.containers.iter().find(|one| one.name == container)?.id().map(str::to_owned)
        })
    }

    /// Returns the pod's folder, with `workspace`, `home` and `run` in it; creates it if it is missing.
    pub fn folder(&self) -> anyhow::Result<PathBuf> {
        let pod_folder = self.pod_folder()?;
        pod_folder.make().with_context(|| format!("cannot make {}", pod_folder.folder.display()))?;
        Ok(pod_folder.folder.clone())
    }

    /// Returns the working directory of its processes. It stays when the pod is replaced.
    pub fn workspace(&self) -> anyhow::Result<PathBuf> {
        Ok(self.folder()?.join("workspace"))
    }

    /// Returns the folder in `RDEV_RUNS_DIR` of its processes.
    pub fn run_folder(&self) -> anyhow::Result<PathBuf> {
        self.folder()?;
        Ok(self.pod_folder()?.run())
    }

    /// Starts the containers of a starting pod, not yet ready.
    pub fn run(&self) -> anyhow::Result<()> {
        self.change(|pod| {
            pod.node.get_or_insert_with(|| pod.home_node.clone());
            start_all(pod);
        })
    }

    /// Makes all containers ready, or not ready.
    pub fn set_ready(&self, ready: bool) -> anyhow::Result<()> {
        self.change(|pod| {
            for container in &mut pod.containers {
                container.ready = ready && container.id().is_some();
            }
        })
    }

    /// Makes one container ready, or not ready.
    pub fn set_container_ready(&self, container: &str, ready: bool) -> anyhow::Result<()> {
        self.container(container, |one| one.ready = ready && one.id().is_some())
    }

    /// Ends all containers; they wait for this reason: `ImagePullBackOff`, `CrashLoopBackOff`.
    pub fn set_waiting(&self, reason: &str, message: &str) -> anyhow::Result<()> {
        let (pod_folder, uid) =
            self.inner.look(&self.key, |pod| (Arc::clone(&pod.pod_folder), pod.uid.clone()))?;
        pod_folder.end_all(&uid);
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

    /// Sets or removes an annotation.
    pub fn annotate(&self, key: &str, value: Option<&str>) -> anyhow::Result<()> {
        self.change(|pod| match value {
            Some(value) => pod.annotations.insert(key.to_owned(), value.to_owned()),
            None => pod.annotations.remove(key),
        })?;
        Ok(())
    }

    /// Sets or removes a label.
    pub fn set_label(&self, key: &str, value: Option<&str>) -> anyhow::Result<()> {
        self.change(|pod| match value {
            Some(value) => pod.labels.insert(key.to_owned(), value.to_owned()),
            None => pod.labels.remove(key),
        })?;
        Ok(())
    }

    /// Restarts a container: its processes end, and three events follow, as from a real node. The runs
    /// folder is emptied unless `keep_run`; workspace and home stay.
    pub fn restart_container(
        &self,
        container: &str,
        keep_run: bool,
        reason: &str,
        exit_code: i32,
    ) -> anyhow::Result<()> {
        let pod_folder = self.pod_folder()?;
        let was_ready = self.container(container, |one| one.ready)?;
        pod_folder.end(container);
        self.container(container, |one| one.terminate(reason, exit_code))?;
        if !keep_run {
            pod_folder.wipe(&[pod_folder.run()]).context("cannot empty the runs folder")?;
        }
        self.container(container, |one| {
            if let Running::Ended(terminated) = &one.state {
                one.last = Some(terminated.clone());
            }
            one.restarts += 1;
            one.run(&pod_folder);
        })?;
        if was_ready {
            self.container(container, |one| one.ready = true)?;
        }
        Ok(())
    }

    /// Restarts a container as after a lack of memory. Its runs folder stays.
    pub fn oom_kill(&self, container: &str) -> anyhow::Result<()> {
        self.restart_container(container, true, "OOMKilled", 137)
    }

    /// Evicts the pod, as the kubelet does for its node. The object stays, failed.
    pub fn evict(&self, message: &str) -> anyhow::Result<()> {
        let (pod_folder, uid) =
            self.inner.look(&self.key, |pod| (Arc::clone(&pod.pod_folder), pod.uid.clone()))?;
        pod_folder.end_all(&uid);
        self.change(|pod| {
            pod.evicted = Some(message.to_owned());
            for container in &mut pod.containers {
                container.terminate("Error", 137);
            }
        })
    }

    /// Silences its node: the pod is not ready, its containers are still called ready, exec fails. Its
    /// processes go on.
    pub fn node_lost(&self) -> anyhow::Result<()> {
        self.change(|pod| pod.node_lost = true)
    }

    /// Restores its node.
    pub fn node_back(&self) -> anyhow::Result<()> {
        self.change(|pod| pod.node_lost = false)
    }

    /// Hangs every start in the pod without a report: its node's runtime is stuck, and the pod stays
    /// ready. An exec is accepted and gets no answer. Running processes go on.
    pub fn hang_execs(&self) {
        self.inner.runtimes.hang(&self.key);
    }

    /// Reverts [`Self::hang_execs`]. Hanging starts proceed, also those whose client has disconnected.
    pub fn release_execs(&self) {
        self.inner.runtimes.release(&self.key);
    }

    /// Replaces the pod like a StatefulSet: a pod of the same name follows, with another uid and empty
    /// runs and home folders; the workspace is the same.
    pub fn replace(&self) -> anyhow::Result<()> {
        let (pod_folder, uid) =
            self.inner.look(&self.key, |pod| (Arc::clone(&pod.pod_folder), pod.uid.clone()))?;
        pod_folder.end_all(&uid);
        let old = self.inner.remove(&self.key, &uid).context("the pod was deleted meanwhile")?;
        pod_folder.wipe(&[pod_folder.run(), pod_folder.home()]).context("cannot empty the pod's folders")?;
        self.inner.add(|_| successor(old))?;
        Ok(())
    }

    /// Deletes the pod: it is marked at once; after the grace its processes are killed and it is removed.
    /// Without a grace, before this returns.
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

    /// Waits until no pod of this name exists.
    pub async fn gone(&self) {
        let mut changes = self.inner.changes();
        while self.inner.look(&self.key, |_| ()).is_ok() && changes.changed().await.is_ok() {}
    }

    fn finish(&self, uid: &str) {
        let pod_folder =
            self.inner.look(&self.key, |pod| (pod.uid == uid).then(|| Arc::clone(&pod.pod_folder)));
        if let Ok(Some(pod_folder)) = pod_folder {
            pod_folder.end_all(uid);
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

    fn pod_folder(&self) -> anyhow::Result<Arc<PodFolder>> {
        self.inner.look(&self.key, |pod| Arc::clone(&pod.pod_folder))
    }
}

fn start_all(pod: &mut PodState) {
    for container in &mut pod.containers {
        if container.id().is_none() {
            container.run(&pod.pod_folder);
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
