//! House rules as code: `cargo xtask tidy` checks them, `cargo xtask openapi` writes what is generated.

mod circles;
mod edges;
mod files;
mod openapi;
mod routes;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;

const USAGE: &str = "usage: cargo xtask tidy [--rdev-api PROGRAM] | circles | openapi

tidy     checks crate edges, heads and lengths of files, section banners, circles between files, places of routes, and that
         openapi.json is current; --rdev-api names a program that is built already, else tidy builds one
circles  prints the circles between files of each crate, with the names that tie them
openapi  writes openapi.json";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let root = root();
    let done = match arguments.as_slice() {
        ["tidy"] => tidy(&root, None),
        ["tidy", "--rdev-api", program] => tidy(&root, Some(Path::new(program))),
        ["circles"] => circles::report(&root).map(|text| print(&text)),
        ["openapi"] => openapi::write(&root),
        other => Err(anyhow::anyhow!("{:?} is no task\n{USAGE}", other.join(" "))),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// Runs every check, and reports all that is wrong at once.
fn tidy(root: &Path, rdev_api: Option<&Path>) -> anyhow::Result<()> {
    let mut wrong = edges::check(root).context("crate edges")?;
    wrong.extend(files::check(root).context("files")?);
    wrong.extend(circles::check(root).context("circles")?);
    wrong.extend(routes::check(root).context("routes")?);
    wrong.extend(openapi::check(root, rdev_api).context("openapi.json")?);
    anyhow::ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

#[expect(clippy::print_stdout, reason = "this is a command line tool")]
fn print(text: &str) {
    print!("{text}");
}

#[expect(clippy::print_stderr, reason = "this is a command line tool")]
fn report(text: &str) {
    eprintln!("{text}");
}
