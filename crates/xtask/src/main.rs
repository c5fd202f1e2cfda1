//! House rules as code: `cargo xtask tidy` checks them, `cargo xtask openapi` writes what is generated.

mod edges;
mod files;
mod openapi;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;

const USAGE: &str = "usage: cargo xtask tidy | openapi

tidy     checks crate edges, file lengths, section banners, and that openapi.json is current
openapi  writes openapi.json";

fn main() -> ExitCode {
    let task = std::env::args().nth(1).unwrap_or_default();
    let root = root();
    let done = match task.as_str() {
        "tidy" => tidy(&root),
        "openapi" => openapi::write(&root),
        other => Err(anyhow::anyhow!("{other:?} is no task\n{USAGE}")),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// Runs every check, and tells all that is wrong at once.
fn tidy(root: &Path) -> anyhow::Result<()> {
    let mut wrong = edges::check(root).context("crate edges")?;
    wrong.extend(files::check(root).context("files")?);
    wrong.extend(openapi::check(root).context("openapi.json")?);
    anyhow::ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

#[expect(clippy::print_stderr, reason = "this is a command line tool")]
fn report(text: &str) {
    eprintln!("{text}");
}
