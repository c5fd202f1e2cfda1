//! The manifests are the architecture: which crate may depend on which.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use anyhow::Context;
use serde::Deserialize;

/// A crate, and the crates of this workspace that it may depend on.
type Allowed<'a> = (&'a str, &'a [&'a str]);

/// Every crate of this workspace. A crate that is not here is refused, and so is an allowance that no manifest uses.
const ALLOWED: [Allowed<'static>; 15] = [
    ("rdev-domain", &[]),
    ("rdev-ports", &["rdev-domain"]),
    ("rdev-engine", &["rdev-domain", "rdev-ports", "rdev-runner"]),
    ("rdev-services", &["rdev-domain", "rdev-ports", "rdev-engine"]),
    ("rdev-runner", &[]),
    ("rdev-sql", &["rdev-domain", "rdev-ports"]),
    ("rdev-local", &["rdev-domain", "rdev-ports"]),
    ("rdev-kube", &["rdev-domain", "rdev-ports"]),
    ("rdev-claude", &["rdev-domain", "rdev-ports"]),
    (
        "rdev-api",
        &[
            "rdev-api-types",
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
    ("rdev-api-types", &[]),
    ("rdev-client", &["rdev-api-types"]),
    ("rdev-kube-double", &[]),
    // The server is measured through its client, the queue at its ports: a server around it would hide its price.
    ("rdev-bench", &["rdev-client", "rdev-domain", "rdev-ports", "rdev-sql"]),
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

impl Package {
    /// Returns the crates of this workspace that its program or library is built from.
    fn inside(&self) -> impl Iterator<Item = &str> {
        let inside = |dependency: &&Dependency| dependency.path.is_some() && dependency.kind.is_none();
        self.dependencies.iter().filter(inside).map(|dependency| dependency.name.as_str())
    }
}

/// Returns the edges that the table does not allow, and what the table allows in vain.
pub(crate) fn check(root: &Path) -> anyhow::Result<Vec<String>> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--format-version", "1"])
        .current_dir(root)
        .output()
        .context("cargo metadata")?;
    let metadata: Metadata = serde_json::from_slice(&output.stdout)?;
    Ok(compare(&metadata.packages, &ALLOWED))
}

fn compare(packages: &[Package], allowed: &[Allowed<'_>]) -> Vec<String> {
    let mut wrong = Vec::new();
    let table: BTreeMap<&str, &[&str]> = allowed.iter().copied().collect();
    for package in packages {
        let Some(may) = table.get(package.name.as_str()) else {
            wrong.push(format!("crate {} is not in the table of crates/xtask/src/edges.rs", package.name));
            continue;
        };
        let refused = package.inside().filter(|name| !may.contains(name));
        wrong.extend(refused.map(|name| format!("{} must not depend on {name}", package.name)));
    }
    for (name, may) in allowed {
        let Some(package) = packages.iter().find(|package| package.name == *name) else {
            wrong
                .push(format!("crates/xtask/src/edges.rs names {name}, which is no crate of this workspace"));
            continue;
        };
        let stale = may.iter().filter(|may| !package.inside().any(|name| name == **may));
        wrong.extend(stale.map(|may| {
            format!("crates/xtask/src/edges.rs lets {name} depend on {may}, which its manifest does not: remove it")
        }));
    }
    wrong
}

#[cfg(test)]
mod tests {
    use super::{Package, compare};

    fn packages(manifests: &str) -> Vec<Package> {
        serde_json::from_str(manifests).unwrap()
    }

    const API: &str = r#"[{"name": "domain", "dependencies": []}, {"name": "api", "dependencies": [
        {"name": "domain", "path": "/crates/domain", "kind": null},
        {"name": "double", "path": "/crates/double", "kind": "dev"},
        {"name": "tokio", "path": null, "kind": null}]}]"#;

    #[test]
    fn edges_of_the_table_pass_and_those_of_tests_are_free() {
        assert!(compare(&packages(API), &[("domain", &[]), ("api", &["domain"])]).is_empty());
    }

    #[test]
    fn other_edges_and_unknown_crates_are_refused() {
        assert_eq!(
            compare(&packages(API), &[("domain", &[]), ("api", &[])]),
            ["api must not depend on domain"]
        );
        assert_eq!(
            compare(&packages(API), &[("domain", &[])]),
            ["crate api is not in the table of crates/xtask/src/edges.rs"]
        );
    }

    #[test]
    fn an_allowance_that_no_manifest_uses_is_refused() {
        let wrong =
            compare(&packages(API), &[("domain", &[]), ("api", &["domain", "double"]), ("gone", &[])]);
        assert_eq!(
            wrong,
            [
                "crates/xtask/src/edges.rs lets api depend on double, which its manifest does not: remove it",
                "crates/xtask/src/edges.rs names gone, which is no crate of this workspace"
            ]
        );
    }
}
