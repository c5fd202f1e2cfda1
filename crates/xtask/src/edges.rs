//! The manifests are the architecture: which crate may depend on which.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use anyhow::Context;
use serde::Deserialize;

/// A crate, and the crates of this workspace that it may depend on. A crate that is not here is refused.
const ALLOWED: [(&str, &[&str]); 12] = [
    ("rdev-domain", &[]),
    ("rdev-ports", &["rdev-domain"]),
    ("rdev-engine", &["rdev-domain", "rdev-ports", "rdev-runner"]),
    ("rdev-services", &["rdev-domain", "rdev-ports", "rdev-engine"]),
    ("rdev-runner", &[]),
    ("rdev-sql", &["rdev-domain", "rdev-ports"]),
    ("rdev-local", &["rdev-domain", "rdev-ports", "rdev-runner"]),
    ("rdev-kube", &["rdev-domain", "rdev-ports"]),
    ("rdev-claude", &["rdev-domain", "rdev-ports"]),
    (
        "rdev-api",
        &[
            "rdev-domain",
            "rdev-ports",
            "rdev-engine",
            "rdev-services",
            "rdev-runner",
            "rdev-sql",
            "rdev-local",
            "rdev-kube",
            "rdev-claude",
        ],
    ),
    ("rdev-kube-double", &[]),
    ("rdev-bench", &[]),
    ("xtask", &[]),
];

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    dependencies: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    name: String,
    path: Option<String>,
    /// `null` for a normal dependency, else `dev` or `build`: tests may use what they like.
    kind: Option<String>,
}

/// The edges that the table does not allow.
pub(crate) fn check(root: &Path) -> anyhow::Result<Vec<String>> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--format-version", "1"])
        .current_dir(root)
        .output()
        .context("cargo metadata")?;
    let metadata: Metadata = serde_json::from_slice(&output.stdout)?;
    let allowed: BTreeMap<&str, &[&str]> = ALLOWED.into_iter().collect();
    let mut wrong = Vec::new();
    for package in &metadata.packages {
        let Some(may) = allowed.get(package.name.as_str()) else {
            wrong.push(format!("crate {} is not in the table of crates/xtask/src/edges.rs", package.name));
            continue;
        };
        let inside = |dependency: &&Dependency| dependency.path.is_some() && dependency.kind.is_none();
        for dependency in package.dependencies.iter().filter(inside) {
            if !may.contains(&dependency.name.as_str()) {
                wrong.push(format!("{} must not depend on {}", package.name, dependency.name));
            }
        }
    }
    Ok(wrong)
}
