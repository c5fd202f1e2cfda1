//! `openapi.json`: generated from the handlers, committed, so that a change of the API shows in review.

use std::path::Path;
use std::process::Command;

use anyhow::Context;

/// Says so when the committed document is not what the code gives.
pub(crate) fn check(root: &Path) -> anyhow::Result<Vec<String>> {
    let committed = std::fs::read(root.join("openapi.json")).context("it cannot be read")?;
    let current = committed == generate(root)?;
    let message = "openapi.json is not what the code gives: run `cargo xtask openapi`, and review the change";
    Ok(if current { Vec::new() } else { vec![message.to_owned()] })
}

/// Writes the document.
pub(crate) fn write(root: &Path) -> anyhow::Result<()> {
    Ok(std::fs::write(root.join("openapi.json"), generate(root)?)?)
}

fn generate(root: &Path) -> anyhow::Result<Vec<u8>> {
    let output = Command::new(env!("CARGO"))
        .args(["run", "--quiet", "--package", "rdev-api", "--", "openapi"])
        .current_dir(root)
        .output()
        .context("cargo run")?;
    anyhow::ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(output.stdout)
}
