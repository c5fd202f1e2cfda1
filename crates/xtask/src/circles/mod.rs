//! Circles between the files of a crate: files that import each other, directly or through others.
//!
//! A file imports another one when its code names an item that the other file defines, by whatever path. Declaring a
//! module and re-exporting its items are no imports: a `mod.rs` that does only this stands beside its children and not
//! above them. Tests (`#[cfg(test)]`) may import what they like.

mod graph;
mod names;
mod sources;
#[cfg(test)]
mod tests;

use std::fmt::Write;
use std::path::Path;

use anyhow::Context;

pub(crate) use graph::Circle;

/// The crates in which a circle is refused; those that are not there yet are passed over.
const CRATES: [&str; 7] =
    ["rdev-api", "rdev-client", "rdev-engine", "rdev-kube", "rdev-kube-double", "rdev-services", "rdev-sql"];

/// Returns one line for each circle of the crates that must have none.
pub(crate) fn check(root: &Path) -> anyhow::Result<Vec<String>> {
    let mut wrong = Vec::new();
    for name in CRATES {
        let folder = root.join("crates").join(name);
        if !folder.is_dir() {
            continue;
        }
        for circle in of_crate(&folder)? {
            let files = circle.files.join(", ");
            wrong.push(format!("{name}: files import each other (`cargo xtask circles`): {files}"));
        }
    }
    Ok(wrong)
}

/// Returns the circles of every crate under `crates/` with the names that tie them, as text for people.
pub(crate) fn report(root: &Path) -> anyhow::Result<String> {
    let mut text = String::new();
    let crates = root.join("crates");
    let mut folders = Vec::new();
    for entry in std::fs::read_dir(&crates).with_context(|| crates.display().to_string())? {
        folders.push(entry?.path());
    }
    folders.sort();
    for folder in folders.iter().filter(|folder| folder.join("Cargo.toml").is_file()) {
        let name = folder.file_name().unwrap_or_default().to_string_lossy();
        let circles = of_crate(folder)?;
        if circles.is_empty() {
            writeln!(text, "{name}: none")?;
        }
        for circle in circles {
            writeln!(text, "{name}: {} files", circle.files.len())?;
            for tie in circle.ties {
                writeln!(text, "  {} -> {}: {}", tie.from, tie.to, tie.names.join(", "))?;
            }
        }
    }
    Ok(text)
}

/// Returns the circles among the files of the library and of the program of a crate.
fn of_crate(folder: &Path) -> anyhow::Result<Vec<Circle>> {
    let mut circles = Vec::new();
    let read = |file: &Path| std::fs::read_to_string(folder.join(file)).ok();
    for top in ["src/lib.rs", "src/main.rs"] {
        if folder.join(top).is_file() {
            let tree =
                sources::Tree::read(Path::new(top), &read).with_context(|| folder.display().to_string())?;
            circles.extend(graph::circles(&tree));
        }
    }
    Ok(circles)
}
