//! Variables that look like settings of rdev-api and are none.

use std::ffi::OsString;

use clap::CommandFactory;

use super::Config;

/// Beginning of the names of all settings.
const PREFIX: &str = "RDEV_";
/// Beginnings of names that others set: Kubernetes for the Service `rdev-api`, clients, and the tests.
const OF_OTHERS: [&str; 2] = ["RDEV_API_", "RDEV_TEST_"];
/// Names that programs beside rdev-api read: its scripts and benches, and what a command finds in its environment.
const NAMES_OF_OTHERS: [&str; 12] = [
    "RDEV_API",
    "RDEV_CGROUP_DIR",
    "RDEV_CHAOS_SEED",
    "RDEV_FUZZ_SEED",
    "RDEV_KUBE_CONTEXT",
    "RDEV_MEMORY_GUARD",
    "RDEV_POWER_SEED",
    "RDEV_PROJECTS_NAMESPACE",
    "RDEV_REGISTRY",
    "RDEV_RUNS_DIR",
    "RDEV_RUN_ID",
    "RDEV_TASK_ID",
];

/// A variable that rdev-api does not read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownVariable {
    /// Name of the variable.
    pub name: String,
    /// The setting with the most similar name.
    pub nearest: String,
}

impl UnknownVariable {
    /// Returns the unknown ones of this process's environment, sorted.
    pub fn all() -> Vec<Self> {
        Self::among(std::env::vars_os().map(|(name, _)| name))
    }

    /// Returns the unknown ones of these names, sorted.
    fn among(names: impl Iterator<Item = OsString>) -> Vec<Self> {
        let command = Config::command();
        let known: Vec<&str> =
            command.get_arguments().filter_map(|setting| setting.get_env()?.to_str()).collect();
        let is_unknown = |name: &String| {
            name.starts_with(PREFIX)
                && !known.contains(&name.as_str())
                && !NAMES_OF_OTHERS.contains(&name.as_str())
                && !OF_OTHERS.iter().any(|prefix| name.starts_with(prefix))
        };
        let names = names.filter_map(|name| name.into_string().ok()).filter(is_unknown);
        let mut unknown: Vec<Self> =
            names.map(|name| Self { nearest: nearest(&name, &known), name }).collect();
        unknown.sort_by(|one, other| one.name.cmp(&other.name));
        unknown
    }
}

/// Returns the known name that is most similar to this one.
fn nearest(name: &str, known: &[&str]) -> String {
    let rest = |name: &str| name.trim_start_matches(PREFIX).to_owned();
    let likeness = |known: &str| strsim::jaro_winkler(&rest(name), &rest(known));
    let most = known.iter().max_by(|one, other| likeness(one).total_cmp(&likeness(other)));
    most.map(|most| (*most).to_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_setting_is_found_with_the_one_that_was_meant() {
        let set = [
            "RDEV_WORKER_CONCURENCY",
            "RDEV_LOG_LEVEL",
            "RDEV_BIND",
            "RDEV_API_SERVICE_HOST",
            "RDEV_TEST_POSTGRES",
            "RDEV_KUBE_CONTEXT",
            "KUBERNETES_SERVICE_HOST",
            "PATH",
        ];
        let unknown = UnknownVariable::among(set.into_iter().map(OsString::from));
        let named: Vec<_> =
            unknown.iter().map(|unknown| (unknown.name.as_str(), unknown.nearest.as_str())).collect();
        assert_eq!(
            named,
            [("RDEV_LOG_LEVEL", "RDEV_LOG"), ("RDEV_WORKER_CONCURENCY", "RDEV_WORKER_CONCURRENCY")]
        );
    }
}
