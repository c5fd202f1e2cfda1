//! Programs that the stories need and rdev does not bring along.

use std::path::{Path, PathBuf};

/// The test's own PATH.
pub(super) fn path() -> String {
    variable("PATH").unwrap_or_default()
}

/// Claude Code: as named by RDEV_TEST_CLAUDE, on PATH, or where scripts/test.sh puts it.
pub(crate) fn claude() -> PathBuf {
    let named = variable("RDEV_TEST_CLAUDE").map(PathBuf::from);
    let installed = target_dir().join("test-tools/node_modules/.bin/claude");
    named
        .or_else(|| on_path("claude"))
        .or_else(|| installed.is_file().then_some(installed))
        .expect("claude is not installed: run scripts/test.sh, which installs what the tests need")
}

/// Chromium, for pages.
pub(crate) fn chromium() -> PathBuf {
    on_path("chromium")
        .expect("chromium is not installed: run scripts/test.sh, which installs what the tests need")
}

/// nginx: as named by RDEV_TEST_NGINX, where Debian has it, or where scripts/test.sh puts it.
pub(crate) fn nginx() -> PathBuf {
    let unpacked = target_dir().join("test-tools/nginx/usr/sbin/nginx");
    let found = [PathBuf::from("/usr/sbin/nginx"), unpacked].into_iter().find(|file| file.is_file());
    variable("RDEV_TEST_NGINX")
        .map(PathBuf::from)
        .or(found)
        .expect("nginx is not installed: run scripts/test.sh, which installs what the tests need")
}

/// The library that gives a program another time of day.
pub(crate) fn faketime() -> PathBuf {
    let folders = std::fs::read_dir("/usr/lib").expect("/usr/lib can be read").flatten();
    let library = |folder: PathBuf| folder.join("faketime/libfaketimeMT.so.1");
    folders
        .map(|folder| library(folder.path()))
        .chain([library("/usr/lib64".into())])
        .find(|file| file.is_file())
        .expect("libfaketime is not installed: run scripts/test.sh, which installs what the tests need")
}

/// Cargo's target folder, for what tests leave for people to look at.
pub(crate) fn target_dir() -> PathBuf {
    // target/<profile>/rdev-api
    let profile = Path::new(env!("CARGO_BIN_EXE_rdev-api")).parent();
    profile.and_then(Path::parent).expect("the program is in a target folder").to_owned()
}

fn on_path(program: &str) -> Option<PathBuf> {
    path().split(':').map(|folder| Path::new(folder).join(program)).find(|file| file.is_file())
}

pub(crate) fn variable(name: &str) -> Option<String> {
    #[expect(clippy::disallowed_methods, reason = "tests are told by variables where their tools are")]
    std::env::var(name).ok()
}
