//! The volume on which a pod has its folder of runs.

use k8s_openapi::api::core::v1::{Container, Pod, PodSpec, Volume};

/// The folder of runs, unless this variable of the container names another.
const RUNS: &str = "/run/rdev";
const RUNS_VARIABLE: &str = "RDEV_RUNS_DIR";

/// Tells whether the folder of runs of a container is on a volume that outlives the pod.
pub(crate) fn keep_runs(pod: &Pod, container: &str) -> bool {
    let Some(spec) = &pod.spec else { return false };
    let container = spec.containers.iter().find(|one| one.name == container);
    container.and_then(|container| volume_of_runs(spec, container)).is_some_and(outlives)
}

fn volume_of_runs<'a>(spec: &'a PodSpec, container: &Container) -> Option<&'a Volume> {
    let variable = container.env.iter().flatten().find(|variable| variable.name == RUNS_VARIABLE);
    let runs = variable.and_then(|variable| variable.value.as_deref()).unwrap_or(RUNS);
    let is_below = |mount: &str| {
        runs.strip_prefix(mount.trim_end_matches('/'))
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    let mounts = container.volume_mounts.iter().flatten().filter(|mount| is_below(&mount.mount_path));
    let mount = mounts.max_by_key(|mount| mount.mount_path.len())?;
    spec.volumes.iter().flatten().find(|volume| volume.name == mount.name)
}

fn outlives(volume: &Volume) -> bool {
    volume.persistent_volume_claim.is_some() || volume.host_path.is_some() || volume.nfs.is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_innermost_volume_above_the_folder_of_runs_counts() {
        let pod = |env: &str, mounts: &str| -> Pod {
            let text = format!(
                r#"{{"spec": {{"containers": [{{"name": "main", "env": [{env}], "volumeMounts": [{mounts}]}}],
                "volumes": [{{"name": "claim", "persistentVolumeClaim": {{"claimName": "a"}}}}, {{"name": "empty", "emptyDir": {{}}}},
                {{"name": "host", "hostPath": {{"path": "/run/rdev"}}}}]}}}}"#
            );
            serde_json::from_str(&text).unwrap()
        };
        let mount = |name: &str, path: &str| format!(r#"{{"name": "{name}", "mountPath": "{path}"}}"#);
        let elsewhere = r#"{"name": "RDEV_RUNS_DIR", "value": "/home/rdev/runs"}"#;
        for (env, mounts, keeps) in [
            ("", String::new(), false),
            ("", mount("claim", "/run/rdev"), true),
            ("", mount("host", "/run/rdev/"), true),
            ("", mount("empty", "/run/rdev"), false),
            ("", mount("claim", "/run/rdev-other"), false),
            ("", format!("{}, {}", mount("claim", "/run"), mount("empty", "/run/rdev")), false),
            (elsewhere, mount("claim", "/home/rdev"), true),
            (elsewhere, mount("claim", "/run/rdev"), false),
        ] {
            assert_eq!(keep_runs(&pod(env, &mounts), "main"), keeps, "{env} {mounts}");
        }
        assert!(!keep_runs(&pod("", &mount("claim", "/run/rdev")), "other"));
    }
}
