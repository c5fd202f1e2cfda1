//! `openapi.json`: generated from the handlers, committed, so that a change of the API shows in review.

use std::path::Path;
use std::process::Command;

use anyhow::Context;

/// Compares the committed document with that of rdev-api, which is built first unless `rdev_api` names the program.
pub(crate) fn check(root: &Path, rdev_api: Option<&Path>) -> anyhow::Result<Vec<String>> {
    let committed = std::fs::read(root.join("openapi.json")).context("it cannot be read")?;
    let current = committed == generate(root, rdev_api)?;
    let message = "openapi.json is not what the code gives: run `cargo xtask openapi`, and review the change";
    Ok(if current { Vec::new() } else { vec![message.to_owned()] })
}

/// Writes the document.
pub(crate) fn write(root: &Path) -> anyhow::Result<()> {
    Ok(std::fs::write(root.join("openapi.json"), generate(root, None)?)?)
}

fn generate(root: &Path, rdev_api: Option<&Path>) -> anyhow::Result<Vec<u8>> {
    let mut command = match rdev_api {
        Some(program) => Command::new(program),
        None => {
            let mut cargo = Command::new(env!("CARGO"));
            cargo.args(["run", "--quiet", "--package", "rdev-api", "--"]).current_dir(root);
            cargo
        }
    };
    let output = command.arg("openapi").output().with_context(|| format!("{command:?}"))?;
    anyhow::ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(output.stdout)
}
