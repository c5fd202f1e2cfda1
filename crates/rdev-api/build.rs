//! Builds `rdev-runner` as a static program, to be embedded: rdev-api hands it to the places in which
//! commands run, so the two always speak the same protocol, and one file is all that is deployed.

use std::path::PathBuf;
use std::process::Command;
use std::{env, fs};

use sha2::{Digest, Sha256};

fn main() {
    // Relocations are read at each start, so they count as memory: this form of them is a hundredth as long.
    println!("cargo::rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    let runner = PathBuf::from(variable("CARGO_MANIFEST_DIR")).join("../rdev-runner");
    println!("cargo::rerun-if-changed={}", runner.join("src").display());
    println!("cargo::rerun-if-changed={}", runner.join("Cargo.toml").display());

    let (out, target) = (PathBuf::from(variable("OUT_DIR")), variable("TARGET"));
    // One for all profiles and for clippy, in the target folder, which lies above `<profile>/build/<package>/out`: each of
    // them would build the same program.
    let target_dir = out.ancestors().nth(4).unwrap_or(&out).join("runner");
    let status = Command::new(variable("CARGO"))
        .args(["build", "--quiet", "--locked", "--profile", "runner", "--bin", "rdev-runner"])
        .args(["--target", &target])
        .arg("--manifest-path")
        .arg(runner.join("Cargo.toml"))
        .arg("--target-dir")
        .arg(&target_dir)
        .env("RUSTFLAGS", "-C target-feature=+crt-static")
        // What was set for this crate must not reach the other build.
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .env_remove("CARGO_BUILD_TARGET")
        .env_remove("RUSTC_WORKSPACE_WRAPPER")
        .status()
        .expect("cargo, which runs this script, can be run");
    assert!(status.success(), "rdev-runner does not build for {target}");
    let built = target_dir.join(&target).join("runner").join("rdev-runner");
    let program = fs::read(&built).expect("the built rdev-runner can be read");
    // Known without reading 2 MB of the program that embeds it.
    let sum: String = Sha256::digest(&program).iter().map(|byte| format!("{byte:02x}")).collect();
    println!("cargo::rustc-env=RDEV_RUNNER_SHA256={sum}");
    fs::write(out.join("rdev-runner"), program).expect("the built rdev-runner can be copied");
}

fn variable(name: &str) -> String {
    #[expect(clippy::disallowed_methods, reason = "cargo speaks to build scripts by environment variables")]
    env::var(name).expect("cargo sets this variable for build scripts")
}
