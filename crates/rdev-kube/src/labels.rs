//! Labels and annotations of pods that rdev reads.

use std::collections::BTreeMap;
use std::path::Path;

use k8s_openapi::api::core::v1::{Container, Pod};
use rdev_domain::ProjectId;

/// Selector of pods that are projects.
pub const PROJECTS: &str = "rdev.orchard9.ai/project=true";
/// Selector of pods that are workers of the pool.
pub const WORKERS: &str = "rdev.orchard9.ai/role=worker";
/// Label with the project's id.
const PROJECT_ID: &str = "rdev.orchard9.ai/project-id";
/// Label for the id where that one is missing, after removal of [`APP_PREFIX`].
const APP: &str = "app";
const APP_PREFIX: &str = "claudebox-";

const REPOSITORY: &str = "rdev.orchard9.ai/repository";
const WORKSPACE: &str = "rdev.orchard9.ai/workspace-path";
const CONTAINER: &str = "rdev.orchard9.ai/container";
/// kubectl's annotation, used where rdev's own is missing.
const DEFAULT_CONTAINER: &str = "kubectl.kubernetes.io/default-container";
const DESCRIPTION: &str = "rdev.orchard9.ai/description";
const DEFAULT_AGENT: &str = "rdev.orchard9.ai/default-agent";
/// Number of tasks that a worker runs at once.
const CAPACITY: &str = "rdev.orchard9.ai/capacity";

/// Default folder of runs, and the variable that names another one.
const RUNS_DEFAULT: &str = "/run/rdev";
const RUNS_VARIABLE: &str = "RDEV_RUNS_DIR";
const WORKSPACE_DEFAULT: &str = "/workspace";
/// Most tasks that one worker runs at once.
const CAPACITY_MAX: u32 = 64;

/// Role of the pods of a registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// Projects.
    Project,
    /// Workers of the pool.
    Worker,
}

impl Role {
    /// Returns the label selector of the role.
    pub(crate) fn selector(self) -> &'static str {
        match self {
            Self::Project => PROJECTS,
            Self::Worker => WORKERS,
        }
    }

    /// Tells whether a pod has the label of the role.
    pub(crate) fn chooses(self, pod: &Pod) -> bool {
        let chosen = self.selector().split_once('=');
        chosen.is_some_and(|(name, wanted)| value(pod.metadata.labels.as_ref(), name) == Some(wanted))
    }
}

/// Details from a pod's labels and annotations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Details {
    pub(crate) role: Role,
    /// The project; for a worker the name of its pod, which follows the same rules.
    pub(crate) project: ProjectId,
    pub(crate) container: String,
    pub(crate) workspace: String,
    pub(crate) repository: Option<String>,
    pub(crate) description: Option<String>,
    pub(crate) default_agent: Option<String>,
    /// The folder of runs is on a volume that outlives the pod: the next pod gets its contents.
    pub(crate) runs_outlive: bool,
    /// Number of tasks that a worker runs at once, or why the annotation is unreadable.
    pub(crate) capacity: Result<u32, String>,
}

/// Reads the details of a pod, or returns why it cannot be a project, for its operator.
pub(crate) fn details(pod: &Pod, role: Role) -> Result<Details, String> {
    let labels = pod.metadata.labels.as_ref();
    let id = match role {
        Role::Project => value(labels, PROJECT_ID)
            .or_else(|| value(labels, APP).map(|app| app.strip_prefix(APP_PREFIX).unwrap_or(app)))
            .ok_or_else(|| format!("it has neither the label {PROJECT_ID} nor {APP}"))?,
        Role::Worker => pod.metadata.name.as_deref().unwrap_or_default(),
    };
    let project = id.parse().map_err(|error| format!("its id {id:?}: {error}"))?;
    details_as(pod, role, project)
}

/// Reads the details of a pod that is, or was, of this project.
pub(crate) fn details_as(pod: &Pod, role: Role, project: ProjectId) -> Result<Details, String> {
    let annotations = pod.metadata.annotations.as_ref();
    let containers = pod.spec.as_ref().map_or(&[][..], |spec| &spec.containers);
    let mut can_be_named = containers.iter().chain(sidecars(pod));
    let named = value(annotations, CONTAINER).or_else(|| value(annotations, DEFAULT_CONTAINER));
    let container = match named {
        Some(name) if can_be_named.any(|container| container.name == name) => name,
        Some(name) => return Err(format!("it has no container {name:?}, which its annotation names")),
        None => containers.first().map(|container| &*container.name).ok_or("it has no container")?,
    };
    let owned = |name| value(annotations, name).map(str::to_owned);
    Ok(Details {
        role,
        project,
        container: container.to_owned(),
        workspace: owned(WORKSPACE).unwrap_or_else(|| WORKSPACE_DEFAULT.to_owned()),
        repository: owned(REPOSITORY),
        description: owned(DESCRIPTION),
        default_agent: owned(DEFAULT_AGENT),
        runs_outlive: runs_outlive(pod, container),
        capacity: capacity(value(annotations, CAPACITY)),
    })
}

fn runs_outlive(pod: &Pod, container: &str) -> bool {
    let Some(spec) = &pod.spec else { return false };
    let mut containers = spec.containers.iter().chain(sidecars(pod));
    let Some(container) = containers.find(|one| one.name == container) else { return false };
    let named = container.env.iter().flatten().find(|variable| variable.name == RUNS_VARIABLE);
    let runs = Path::new(named.and_then(|variable| variable.value.as_deref()).unwrap_or(RUNS_DEFAULT));
    let mounts = container.volume_mounts.iter().flatten().filter(|mount| runs.starts_with(&mount.mount_path));
    let Some(mount) = mounts.max_by_key(|mount| mount.mount_path.len()) else { return false };
    let volume = spec.volumes.iter().flatten().find(|volume| volume.name == mount.name);
    volume.is_some_and(|volume| volume.empty_dir.is_none() && volume.ephemeral.is_none())
}

/// Returns init containers that run beside the others for as long as their pod.
pub(crate) fn sidecars(pod: &Pod) -> impl Iterator<Item = &Container> {
    let inits = pod.spec.iter().flat_map(|spec| spec.init_containers.iter().flatten());
    inits.filter(|init| init.restart_policy.as_deref() == Some("Always"))
}

fn capacity(annotation: Option<&str>) -> Result<u32, String> {
    let Some(text) = annotation else { return Ok(1) };
    let number = text.parse().ok().filter(|number| (1..=CAPACITY_MAX).contains(number));
    number.ok_or_else(|| {
        format!("its annotation {CAPACITY} is {text:?}: a number from 1 to {CAPACITY_MAX} is accepted")
    })
}

fn value<'a>(map: Option<&'a BTreeMap<String, String>>, name: &str) -> Option<&'a str> {
    map?.get(name).map(String::as_str).filter(|value| !value.is_empty())
}
