//! The lists of the suites' macros and the promises cannot drift apart.

use std::fs;
use std::path::{Path, PathBuf};

/// Every source file of the suites.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { sources(&path) } else { vec![path] }).collect()
}

#[test]
fn every_promise_is_in_the_list_of_its_macro_once() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/testing/contract");
    let (mut promises, mut listed) = (Vec::new(), Vec::new());
    for file in sources(&folder) {
        let text = fs::read_to_string(file).unwrap();
        let functions = text.lines().filter_map(|line| line.strip_prefix("pub async fn "));
        promises.extend(functions.filter_map(|line| Some(line.split_once('(')?.0.to_owned())));
        // A name by itself on a line stands in the list of a macro.
        let is_name = |line: &&str| line.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
        let names = text.lines().map(str::trim).filter(|line| !line.is_empty()).filter(is_name);
        listed.extend(names.map(str::to_owned));
    }
    promises.sort();
    listed.sort();
    assert!(promises.len() > 100, "{promises:?}");
    assert_eq!(listed, promises);
}
