//! Builds `rdev-runner` as a static program, to be embedded: rdev-api hands it to the places in which
//! commands run, so the two always speak the same protocol, and one file is all that is deployed. Compresses the files of the
//! API reference, and names the commit of the source.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use flate2::Compression;
use flate2::write::GzEncoder;
use sha2::{Digest, Sha256};

fn main() {
    println!("cargo::rustc-env=RDEV_COMMIT={}", commit());
    build_docs(Path::new(&variable("OUT_DIR")));
    build_runner();
}

fn build_runner() {
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
    println!("cargo::rustc-env=RDEV_RUNNER_SHA256={}", sha256(&program));
    fs::write(out.join("rdev-runner"), program).expect("the built rdev-runner can be copied");
}

/// Writes the page and the script of the API reference, and both compressed. The path of the script has the hash of its content,
/// so browsers keep it for good.
fn build_docs(out: &Path) {
    const PAGE: &str = "src/routes/page.html";
    println!("cargo::rerun-if-changed={PAGE}");
    let script = scalar_api_reference::get_asset("scalar.js").expect("Scalar brings its script");
    let path = format!("/docs/scalar-{:.16}.js", sha256(&script));
    let page = fs::read_to_string(PAGE).expect("the page can be read").replace("__SCRIPT__", &path);
    println!("cargo::rustc-env=RDEV_DOCS_SCRIPT={path}");
    for (name, tag, content) in [
        ("docs.js", "RDEV_DOCS_SCRIPT_TAG", &script[..]),
        ("docs.html", "RDEV_DOCS_PAGE_TAG", page.as_bytes()),
    ] {
        println!("cargo::rustc-env={tag}={:.16}", sha256(content));
        fs::write(out.join(name), content).expect("a file of the reference can be written");
        let file = fs::File::create(out.join(format!("{name}.gz"))).expect("a compressed file can be made");
        let mut gzip = GzEncoder::new(file, Compression::best());
        gzip.write_all(content).and_then(|()| gzip.finish()).expect("a compressed file can be written");
    }
}

fn sha256(content: &[u8]) -> String {
    Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Returns the commit of the source: as `RDEV_COMMIT` says, for a build without the repository, else as git does.
/// Developers' builds are not asked: each commit would have them built again.
fn commit() -> String {
    const UNKNOWN: &str = "unknown";
    println!("cargo::rerun-if-env-changed=RDEV_COMMIT");
    #[expect(clippy::disallowed_methods, reason = "cargo speaks to build scripts by environment variables")]
    let given = env::var("RDEV_COMMIT").ok().filter(|commit| !commit.is_empty());
    if given.is_some() || variable("PROFILE") == "debug" {
        return given.unwrap_or_else(|| UNKNOWN.to_owned());
    }
    // Of a copy inside another repository git would tell that one's commit.
    if git(&["ls-files", "--error-unmatch", "build.rs"]).is_none() {
        return UNKNOWN.to_owned();
    }
    // The log of HEAD grows by each commit and each checkout.
    if let Some(log) = git(&["rev-parse", "--git-path", "logs/HEAD"]) {
        println!("cargo::rerun-if-changed={log}");
    }
    git(&["rev-parse", "--short=12", "HEAD"]).unwrap_or_else(|| UNKNOWN.to_owned())
}

fn git(args: &[&str]) -> Option<String> {
    let output = Command::new("git").args(args).output().ok().filter(|output| output.status.success())?;
    let text = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    (!text.is_empty()).then_some(text)
}

fn variable(name: &str) -> String {
    #[expect(clippy::disallowed_methods, reason = "cargo speaks to build scripts by environment variables")]
    env::var(name).expect("cargo sets this variable for build scripts")
}
